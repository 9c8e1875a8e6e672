"""`cloister node identity`: an attested node's certificate, in files for programs that speak TLS, renewed in time."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

import click

from cloister.cli.node_command import SIGNALS, run_beside
from cloister.cli.node_kept import keep_identity
from cloister.cli.state_folder import StateFolder, state_option
from cloister.errors import UsageError
from cloister.hosting.core_dumps import forbid_core_dumps
from cloister.hosting.settings import load
from cloister.node.service import NodeSettings
from cloister.tee.launch import ENVIRONMENT, loads_no_bytecode, measured_python

PREFIX: Final = "CLOISTER_NODE__"
EPILOG: Final = """\b
Examples:
  cloister node identity --folder /dev/shm/identity                  keep one there until ctrl-C
  cloister node identity --folder /dev/shm/identity --once --json    get one, and end
  cloister node identity --config node.toml --folder /run/identity --signal HUP -- postgres -D data

\b
The folder holds, readable by its owner alone and replaced all at once:
  certificate.pem   X.509, valid for an hour, named spiffe://CONTRACT/NUMBER/service/NODE and service.CONTRACT
  key.pem           its private key (P-256), made anew with each certificate
  identity.pem      both in one file
  authority.pem     who vouches for nodes of this contract: what a program trusts, and nothing else

It must be on a tmpfs that is not swapped out. PROGRAM finds the names of the files in CLOISTER_IDENTITY_CERTIFICATE,
CLOISTER_IDENTITY_KEY and CLOISTER_IDENTITY_AUTHORITY, gets the signal when they were replaced, and ends the command
when it ends; the exit code is then its own. The certificate is renewed at half of its life; while the KMS gives none
it is asked again, later each time, and the one of before is good until it ends.

The KMS gives one to a node that its contract names in the role service: `cloister node reference` prints what to
write into it. The settings are those that cloister up writes, config/node.toml of the state folder; a variable
CLOISTER_NODE__SETTING counts for more. Programs should check host name service.CONTRACT or role and contract in the
URI: every certificate of the authority is of this one contract. docs/formats/identity.md says how each clock counts.
"""


@click.command(epilog=EPILOG, context_settings={"allow_interspersed_args": False})
@click.argument("program", metavar="[-- PROGRAM [ARG...]]", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where to keep the files: on a tmpfs, mode 700; made if missing.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The node's settings, TOML.  [default: those that cloister up wrote]",
)
@state_option
@click.option("--once", is_flag=True, help="End when the first one is there; its files stay.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each certificate.")
@click.option(
    "--signal",
    "sent",
    type=click.Choice(SIGNALS),
    default="HUP",
    show_default=True,
    help="What PROGRAM gets when the files were replaced.",
)
@click.option("--measured", is_flag=True, hidden=True)
@click.option("--while-fed", is_flag=True, hidden=True, help="End with standard input.")
def identity(
    program: Sequence[str],
    *,
    folder: Path,
    config: Path | None,
    state: StateFolder,
    sent: str,
    **flags: bool,
) -> int:
    """Get this node a certificate from its contract's KMS, by its evidence, and keep it renewed."""
    forbid_core_dumps()
    path = state.config / "node.toml" if config is None else config
    if not path.is_file():
        raise UsageError(f"there is no settings file {path}: name one with --config, or start a system (cloister up)")
    environ = os.environ  # noqa: TID251 - settings are read here, once
    once, as_json = flags["once"], flags["as_json"] or bool(program)
    if flags["measured"] and loads_no_bytecode():
        settings = load(NodeSettings, service="node", config=path, environ=environ, flags={})
        asyncio.run(keep_identity(settings, folder, once=once, as_json=as_json, while_fed=flags["while_fed"]))
        return 0
    if program and once:
        raise UsageError("--once ends with the first certificate: a program beside it would lose its next one")
    asked = [name for name, given in (("--once", once), ("--json", as_json)) if given]
    given = ["--folder", str(folder.absolute()), "--config", str(path.absolute()), *asked]
    command = [*measured_python(), "-m", "cloister", "node", "identity", "--measured", *given]
    own = {**ENVIRONMENT, **{name: value for name, value in environ.items() if name.startswith(PREFIX)}}
    if not program:
        _become(command, own)
    number = signal.Signals[f"SIG{sent}"]
    return asyncio.run(run_beside([*command, "--while-fed"], own, program, folder.absolute(), number))


def _become(command: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """The same, started as what is measured must be: no bytecode, and an environment of its own."""
    os.execve(command[0], list(command), dict(environ))  # noqa: S606 - our own interpreter
