"""`cloister machines`: prepares a folder for each role that is to run on a machine of its own."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from cloister.cli.local.agreed import contract_option
from cloister.cli.local.machines import AUTHORITY, CERTIFICATE, KEY, Deployment, read_machines
from cloister.cli.local.measurement import Measurement
from cloister.cli.local.settings import engine_options, read_settings
from cloister.cli.local.system import exclusive
from cloister.cli.local.system import prepare as prepare_system
from cloister.cli.state_folder import StateFolder, state_option
from cloister.cli.terminal import say
from cloister.errors import UsageError
from cloister.hosting.core_dumps import forbid_core_dumps

EPILOG = f"""\b
Examples:
  cloister machines prepare machines.toml ./deploy
  cloister machines prepare machines.toml ./deploy --measured gateway.json

FILE has a table for each role, with its url as the others call it (https://kms.example:7103) and the address that it
listens on; docs/howto/each-role-on-its-own-machine.md has one whole. Constitution and contract are made and signed in
the state folder, with the keys of both parties, which stay there: a folder in DIR has what its role needs, and nothing
of another's. What is not made here are certificates: each role's folder needs {CERTIFICATE}, {KEY} and {AUTHORITY}.

The terms name what was measured on this machine. Where KMS and gateway run another build, measure there, as the user
that the gateway runs as: cloister workload measure --json > gateway.json
"""


@click.group()
def machines() -> None:
    """Each role on a machine of its own: prepare the folder that it needs there."""


@machines.command(epilog=EPILOG, short_help="Sign the terms, and prepare a folder for each role.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@state_option
@engine_options
@click.option(
    "--measured",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="What cloister workload measure --json said where the roles run.  [default: what runs here]",
)
@contract_option
def prepare(
    file: Path,
    target: Path,
    *,
    state: StateFolder,
    measured: Path | None,
    contract: tuple[Path, ...],
    **flags: Any,
) -> None:
    """Sign constitution and contract, and write a folder for each role into DIR: settings, keys, signed entries."""
    forbid_core_dumps()  # it holds the seeds of both parties' keys
    placed = read_machines(file)
    settings = read_settings(state, os.environ, **flags)  # noqa: TID251 - read here, once
    found = None if measured is None else read_measurement(measured)
    with exclusive(state):
        system = prepare_system(state, settings, say, clock=time.time, measured=found, contract=contract)  # noqa: TID251
        Deployment(placed, state, system.tables(), system.served.file).write(target)
    for folder, machine in placed.folders().items():
        say(f"{target / folder}: copy it to {placed.etc}/{folder} on the machine of {machine.url}")


def read_measurement(path: Path) -> Measurement:
    """What `cloister workload measure --json` said.

    Raises:
        UsageError: the file cannot be read, or says something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Measurement)
    except OSError as error:
        raise UsageError(f"the measurement {path} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not what cloister workload measure --json says: {error}") from error
