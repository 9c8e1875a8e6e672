"""`cloister contract fill`: what was measured, written into a contract that people read; nobody pastes digits."""

from __future__ import annotations

import os
from pathlib import Path

import click

from cloister.cli.contract_files import contract_argument, read_contract
from cloister.cli.local.fit import filled
from cloister.cli.local.keys import seed_path
from cloister.cli.local.measurement import measure_in_child
from cloister.cli.local.settings import LocalSettings, engine_options, read_settings
from cloister.cli.local.terms import Found, found_by
from cloister.cli.machines import read_measurement
from cloister.cli.state_folder import StateFolder, state_option
from cloister.cli.terminal import say
from cloister.client.durable import replace_file
from cloister.contract.draft import comment_of, still_open
from cloister.errors import UsageError
from cloister.formats.contract import Contract
from cloister.formats.contract_file import format_contract_file
from cloister.storage.key_file import read_signing_key

EPILOG = """\b
Examples:
  cloister contract fill contract.toml                             what a gateway of this machine would run
  cloister contract fill contract.toml --measured gateway.json     what cloister workload measure --json said there
  cloister contract fill next.toml --beside                        keep the code that it names, and name this too
  cloister contract fill contract.toml --engine transformers --model ./sealed      and the sealed model that it serves

Code, settings, sandbox, engine and model are written as measured; endpoints and the appraisal of evidence only where
the contract has none yet: they are the parties' choice. Whoever signs it measures for itself first: cloister workload
measure prints the same digests for the same code. Comments of your own are not kept.
"""


@click.command(epilog=EPILOG)
@contract_argument
@state_option
@engine_options
@click.option(
    "--measured",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="What cloister workload measure --json said where the gateway runs.  [default: what runs here]",
)
@click.option("--beside", is_flag=True, help="Keep the measurements that it has: both may run.")
def fill(
    path: Path, *, state: StateFolder, engine: str | None, model: Path | None, measured: Path | None, beside: bool
) -> None:
    """Write into CONTRACT, a TOML file, what was measured of the code that is to run under it."""
    found = read_contract(path)
    if found.entry is not None:
        raise UsageError(f"{path} is signed: cloister contract amend {path} prints a successor that can be filled in")
    settings = read_settings(state, os.environ, engine=engine, model=model)  # noqa: TID251 - read here, once
    key = seed_path(state, "platform")
    platform = read_signing_key(key).public if measured is None and key.exists() else None
    after = filled(found.contract, _found(state, settings, measured), platform=platform, beside=beside)
    replace_file(path, format_contract_file(after, comment=comment_of).encode())
    _tell(path, after)


def _found(state: StateFolder, settings: LocalSettings, measured: Path | None) -> Found:
    if measured is not None:
        return found_by(read_measurement(measured), settings)
    return found_by(measure_in_child(state, settings.engine, settings.model, settings.held), settings)


def _tell(path: Path, contract: Contract) -> None:
    task = contract.serving
    say(f"{path}: filled in as measured")
    for node in task.nodes:
        say(f"  {node.role}: {len(node.workloads)} workloads, the last {node.workloads[-1].hex()[:16]}…")
    say(f"  engine {task.engine.name} {task.engine.digest.hex()[:16]}…, {len(task.endpoints)} endpoints")
    if contract.appraisal.unsafe:
        say(f"  accepted by name: {', '.join(contract.appraisal.unsafe)}")
    for one in still_open(contract):
        say(f"  still open: {one}")
