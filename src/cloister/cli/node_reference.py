"""`cloister node reference`: by which code and settings a contract names nodes for programs of others."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from cloister.cli.local.measurement import measure_in_child
from cloister.cli.state_folder import StateFolder, state_option
from cloister.cli.terminal import say_json, say_result
from cloister.hosting.settings import load
from cloister.node.entries_file import read_entries
from cloister.node.service import NodeSettings, node_security
from cloister.services.gateway.contract import open_contract
from cloister.services.gateway.engine_choice import Held, SandboxSizes

EPILOG: Final = """\b
Examples:
  cloister node reference
  cloister node reference --config node.toml --json

Put the table below [[tasks]] of the contract, beside that of the gateway: its parties then sign that such nodes may
speak with each other under it. The code is this install's, as `cloister workload measure` finds it; the settings are
those of [security], and the exceptions that the contract of the settings accepts.
"""


@click.command(epilog=EPILOG)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The node's settings, TOML.  [default: those that cloister up wrote]",
)
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def reference(config: Path | None, state: StateFolder, *, as_json: bool) -> None:
    """Print the table by which a contract names nodes with these settings, in the role service."""
    path = state.config / "node.toml" if config is None else config
    settings = load(NodeSettings, service="node", config=path, environ={}, flags={})
    contract = open_contract(read_entries(settings.contract)).current
    workload = measure_in_child(state, "echo", None, Held(SandboxSizes())).workload
    digest = node_security(settings.security, unsafe=contract.appraisal.unsafe).digest().hex()
    if as_json:
        say_json({"role": "service", "workloads": [workload], "settings": [digest]})
        return
    say_result(f'[[tasks.nodes]]\nrole = "service"\nworkloads = ["{workload}"]\nsettings = ["{digest}"]')
