"""`cloister up`: a whole local system, supervised, until it is told to end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from cloister.cli.exit_codes import EXIT_CODES
from cloister.cli.local.agreed import contract_option
from cloister.cli.local.measurement import service_command
from cloister.cli.local.settings import LocalSettings, read_settings
from cloister.cli.local.stopping import end_on_signals, stop_requested, unless
from cloister.cli.local.system import System, exclusive, prepare
from cloister.cli.state_folder import StateFolder, state_option
from cloister.cli.system_record import read_record
from cloister.cli.terminal import say
from cloister.errors import CloisterError
from cloister.hosting.core_dumps import forbid_core_dumps
from cloister.tee.launch import ENVIRONMENT
from cloister.tee.software import SENTENCE

DETACHED_SECONDS = 180.0
_POLL_SECONDS = 0.1
_SECTIONS = "cloister section seal, then submit"

EPILOG = """\b
Examples:
  cloister up                     in the foreground; ctrl-C ends everything
  cloister up --detach            in the background; cloister down ends everything
  cloister up --state ./try       keys, log and receipts in a folder of its own
  cloister up --prepare           a constitution that parties can name in a contract of theirs; nothing is started
  cloister up --contract contract.signed      under a contract that its parties signed

Every role of the design is a process of its own, and every check is real; but all of it is this machine's, and the
software TEE protects nothing from this machine's owner. The state folder keeps keys, the log and receipts; when the
code or the settings have changed since, successors of constitution and contract are signed, and that is said.
Settings of your own go into settings.toml in the state folder: engine, port, and the tables kms and gateway.
"""


class NotDetached(CloisterError):
    """The system did not come up in the background."""


@click.command(epilog=EPILOG)
@state_option
@click.option("--detach", is_flag=True, help="Run in the background once everything is ready.")
@click.option("--engine", type=click.Choice(["speech", "echo"]), help="The engine.  [default: speech]")
@click.option("--port", type=click.IntRange(1, 65_535), help="The proxy's port.  [default: a free one, then the same]")
@contract_option
@click.option("--prepare", "only_prepare", is_flag=True, help="Make keys, constitution and settings; start nothing.")
def up(
    state: StateFolder,
    *,
    detach: bool,
    engine: str | None,
    port: int | None,
    contract: tuple[Path, ...],
    only_prepare: bool,
) -> None:
    """Start a whole local system and keep it running.

    Witness, ledger, KMS, gateway with its engine in a sandbox, relay and proxy: a service that dies is named and
    started again; ctrl-C ends them all.
    """
    forbid_core_dumps()  # it holds the seeds of all local keys
    settings = read_settings(state, os.environ, engine=engine, port=port)  # noqa: TID251 - read here, once
    if detach and not only_prepare:
        own = {name: value for name, value in os.environ.items() if name.startswith("CLOISTER_UP__")}  # noqa: TID251
        _detached(state, settings, contract, own)
        return
    started = time.monotonic()
    end_on_signals()
    with exclusive(state):
        prepared = prepare(state, settings, say, clock=time.time, contract=contract)  # noqa: TID251 - it starts here
        if not only_prepare:
            asyncio.run(_run(System(prepared, say), started))


async def _run(system: System, started: float) -> None:
    with stop_requested() as stop:
        try:
            if not await unless(stop, _start(system)):
                return
            tell_ready(system.prepared.state, system.prepared.base_url, time.monotonic() - started)
            await stop.wait()
        finally:
            say("ending")
            await system.stop()


async def _start(system: System) -> None:
    await system.start()
    examination = await system.examine()
    examination.require()
    say(f"examined as a client does: {len(examination.steps)} steps passed (cloister verify shows them)")
    if waiting := [role.name for role in system.supervisor.roles if not role.ready]:
        say(f"{' and '.join(waiting)} will serve when the contract's parties have given their sections: {_SECTIONS}")
    system.tell_ready()


def tell_ready(state: StateFolder, base_url: str, seconds: float, *, detached: bool = False) -> None:
    """Say where it is and what to do with it."""
    commands = {
        f'eval "$({state.command("env")})"': "point OpenAI clients of a shell here",
        f"{state.command('transcribe')} speech.wav": "or send a file yourself",
        state.command("verify"): "see every check",
        state.command("down" if detached else "status"): "end it" if detached else "see what runs",
    }
    width = max(map(len, commands))
    say(f"ready in {seconds:.1f} s: {base_url}\n")
    for command, does in commands.items():
        say(f"  {command:<{width}}  {does}")
    say(f"\n{SENTENCE}")
    if not detached:
        say("ctrl-C ends everything")


def _detached(
    state: StateFolder, settings: LocalSettings, contract: Sequence[Path], environ: Mapping[str, str]
) -> None:
    """Start this command again in the background, and wait until it is ready; ctrl-C and SIGTERM end it."""
    started = time.monotonic()
    end_on_signals()
    state.prepare()
    arguments = ["up", "--state", str(state.root), "--engine", settings.engine]
    arguments += [] if settings.port is None else ["--port", str(settings.port)]
    arguments += [word for path in contract for word in ("--contract", str(path.absolute()))]
    with (state.logs / "up.log").open("w+b") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            service_command(*arguments),
            env={**ENVIRONMENT, **environ},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            base_url = _until_ready(state, process, started + DETACHED_SECONDS)
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
        log.seek(0)
        said = log.read().decode(errors="replace")
    if base_url is None:
        click.echo(said, err=True, nl=False)
        if process.returncode not in {one.code for one in EXIT_CODES} or not said:
            raise NotDetached(
                f"the system ended while it started (exit code {process.returncode}) without a word why: is there room"
                f" in {state.logs}? {state.command('up')}, without --detach, shows more"
            )
        raise click.exceptions.Exit(process.returncode)
    say(said.partition("ready in ")[0].rstrip())
    tell_ready(state, base_url, time.monotonic() - started, detached=True)


def _until_ready(state: StateFolder, process: subprocess.Popen[bytes], deadline: float) -> str | None:
    """The proxy's URL once the system is ready; None where it has ended.

    Raises:
        NotDetached: it is neither at the `deadline`.
    """
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return None
        record = read_record(state)
        if record is not None and record.phase == "ready" and record.supervisor.pid == process.pid:
            return record.base_url
        time.sleep(_POLL_SECONDS)
    raise NotDetached(
        f"the system was not ready in {DETACHED_SECONDS:.0f} s and goes on starting:"
        f" {state.command('status')} shows it, {state.command('down')} ends it"
    )
