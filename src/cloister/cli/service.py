"""`cloister service NAME`: one service by itself, as `cloister up` and any other supervisor start it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

import click

from cloister.errors import UsageError
from cloister.formats.node_manifest import MEASURED
from cloister.hosting.core_dumps import forbid_core_dumps
from cloister.hosting.settings import load
from cloister.services.places import SERVICES, command_of, imported
from cloister.tee.launch import ENVIRONMENT, loads_no_bytecode

LOCAL_SETTINGS: Final = "cloister.cli.local.settings:LocalSettings"
NODE: Final = "node"  # what `cloister node identity` runs as, which is no service
NODE_SETTINGS: Final = "cloister.node.service:NodeSettings"

EPILOG: Final = """\b
Examples:
  cloister service relay --config relay.toml
  CLOISTER_RELAY__PORT=8400 cloister service relay --config relay.toml

Settings come from the file, and over it from variables CLOISTER_NAME__SETTING. Unknown ones stop the start. The
files that cloister up writes, in the state folder's config/, are good examples. Every service listens on 127.0.0.1.
"""


@click.command(epilog=EPILOG)
@click.argument("name", metavar="NAME", type=click.Choice(list(SERVICES)))
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Its settings, TOML.")
def service(name: str, config: Path | None) -> None:
    """Run one service until SIGTERM: witness, ledger, kms, verifier, gateway, relay, proxy or deployment."""
    forbid_core_dumps()
    if config is not None and not config.is_file():
        raise UsageError(f"there is no settings file {config}")
    environ = os.environ  # noqa: TID251 - settings are read here, once
    record, run = settings_record(name), imported(name, SERVICES[name].run)
    settings = load(record, service=name, config=config, environ=environ, flags={})
    if name in MEASURED and not loads_no_bytecode():
        start_measured(name, config, environ)
    run(settings)


def settings_record(name: str) -> type[object]:
    """The record of the settings of a service, of `up`, or of a node for programs of others.

    Raises:
        UsageError: this install lacks a library that the service needs.
    """
    places = {"up": LOCAL_SETTINGS, NODE: NODE_SETTINGS}
    record: type[object] = imported(name, places.get(name) or SERVICES[name].settings)
    return record


def start_measured(name: str, config: Path | None, environ: Mapping[str, str]) -> NoReturn:
    """Become the same service, started as what is measured must be: no bytecode, and an environment of its own."""
    prefix = f"CLOISTER_{name.upper()}__"
    own = {variable: value for variable, value in environ.items() if variable.startswith(prefix)}
    given = [] if config is None else ["--config", str(config)]
    command = command_of(name, *given)
    os.execve(command[0], command, {**ENVIRONMENT, **own})  # noqa: S606 - our own interpreter
