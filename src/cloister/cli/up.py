"""`cloister up`: a whole local system, supervised, until it is told to end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cloister.cli.exit_codes import EXIT_CODES
from cloister.cli.local.agreed import contract_option
from cloister.cli.local.endpoints import AUDIO, endpoints_of
from cloister.cli.local.followed_log import FollowedLog
from cloister.cli.local.model_key import model_key_option
from cloister.cli.local.served_model import require_served
from cloister.cli.local.settings import LocalSettings, engine_options, proxy_options, read_settings
from cloister.cli.local.stopping import end_on_signals, stop_requested, unless
from cloister.cli.local.supervisor import Role
from cloister.cli.local.system import System, exclusive, prepare
from cloister.cli.state_folder import StateFolder, state_option
from cloister.cli.system_record import RoleRecord, SystemRecord, read_record
from cloister.cli.terminal import say
from cloister.errors import CloisterError
from cloister.hosting.core_dumps import forbid_core_dumps
from cloister.services.gateway.engine_choice import engine_named
from cloister.tee.launch import ENVIRONMENT
from cloister.tee.software import SENTENCE

DETACHED_SECONDS = 180.0
_POLL_SECONDS = 0.1
_UNUSABLE = ("artifact.", "the engine did not become ready")  # what a wait says where nothing is lacking
_ASSETS = "sections (cloister section seal, then submit), the key of a sealed model (cloister secret put)"

EPILOG = """\b
Examples:
  cloister up                     in the foreground; ctrl-C ends everything
  cloister up --detach            in the background; cloister down ends everything
  cloister up --state ./try       keys, log and receipts in a folder of its own
  cloister up --prepare           a constitution that parties can name in a contract of theirs; nothing is started
  cloister up --contract contract.signed      under a contract that its parties signed
  cloister up --engine transformers --model ./sealed --model-key model.key      cloister serve is this, in short

Every role of the design is a process of its own, and every check is real; but all of it is this machine's, and the
software TEE protects nothing from this machine's owner. The state folder keeps keys, the log and receipts; when the
code or the settings have changed since, successors of constitution and contract are signed, and that is said.
Settings of your own go into settings.toml in the state folder: engine, model, sandbox, port, privacy, and the tables
sizes, kms and gateway.
"""


class NotDetached(CloisterError):
    """The system did not come up in the background."""


@click.command(epilog=EPILOG)
@state_option
@click.option("--detach", is_flag=True, help="Run in the background once everything is ready.")
@engine_options
@model_key_option
@proxy_options
@contract_option
@click.option("--prepare", "only_prepare", is_flag=True, help="Make keys, constitution and settings; start nothing.")
def up(
    state: StateFolder,
    *,
    detach: bool,
    model_key: Path | None,
    contract: tuple[Path, ...],
    only_prepare: bool,
    **flags: Any,
) -> None:
    """Start a whole local system and keep it running.

    Witness, ledger, KMS, gateway with its engine in a sandbox, relay and proxy: a service that dies is named and
    started again; ctrl-C ends them all.
    """
    settings = read_settings(state, os.environ, **flags)  # noqa: TID251 - read here, once
    asked = Asked(state, settings, contract, model_key)
    if only_prepare:
        with exclusive(state):
            prepare(state, settings, say, clock=time.time, contract=contract)  # noqa: TID251 - it starts here
    else:
        bring_up(asked, detach=detach)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person wants to have running."""

    state: StateFolder
    settings: LocalSettings
    contract: tuple[Path, ...]
    model_key: Path | None

    @property
    def of_parties(self) -> bool:
        """Whether a contract of several parties is served, in place of one of this machine's own."""
        return bool(self.contract) or self.state.agreed.exists()


def bring_up(asked: Asked, *, detach: bool) -> None:
    """Start it: in the foreground until it is told to end, or in the background."""
    forbid_core_dumps()  # it holds the seeds of all local keys
    key = require_served(asked.state, asked.settings, asked.model_key, of_parties=asked.of_parties)
    if detach:
        own = {name: value for name, value in os.environ.items() if name.startswith("CLOISTER_UP__")}  # noqa: TID251
        _detached(asked, own)
        return
    started = time.monotonic()
    end_on_signals()
    with exclusive(asked.state):
        clock = time.time  # noqa: TID251 - it starts here
        prepared = prepare(asked.state, asked.settings, say, clock=clock, contract=asked.contract)
        asyncio.run(_run(System(prepared, say, model_key=key), started))


async def _run(system: System, started: float) -> None:
    with stop_requested() as stop:
        try:
            if not await unless(stop, _start(system)):
                return
            prepared = system.prepared
            seconds, waiting = time.monotonic() - started, waits(system.supervisor.roles)
            tell_ready(prepared.state, prepared.base_url, seconds, engine=prepared.found.engine, waiting=waiting)
            await stop.wait()
        finally:
            say("ending")
            await system.stop()


async def _start(system: System) -> None:
    await system.start()
    examination = await system.examine()
    examination.require()
    say(f"examined as a client does: {len(examination.steps)} steps passed (cloister verify shows them)")
    system.tell_ready()


def waits(roles: Iterable[Role | RoleRecord]) -> str:
    """What of a system that was started cannot serve, and for want of what; empty where all can.

    The first alone: a relay waits for a gateway, and says the same once more.
    """
    return next((f"{role.name} waits for {role.missing}" for role in roles if not role.ready), "")


def tell_ready(
    state: StateFolder, base_url: str, seconds: float, *, engine: str, waiting: str, detached: bool = False
) -> None:
    """Say where it is and what to do with it; and never that it is ready while it waits for something."""
    hears = any(endpoint in AUDIO for endpoint in endpoints_of(engine))
    commands = {
        f'eval "$({state.command("env")})"': "point OpenAI clients of a shell here",
        f"{state.command('transcribe')} speech.wav" if hears else f"{state.command('exec')} python ask.py": (
            "or send a file yourself" if hears else "or run one program so"
        ),
        state.command("verify"): "see every check",
        state.command("down" if detached else "status"): "end it" if detached else "see what runs",
    }
    width = max(map(len, commands))
    if waiting:
        say(f"started in {seconds:.1f} s, and serves nothing yet: {waiting}")
        if any(sign in waiting for sign in _UNUSABLE):
            say("What was given cannot be used, and nobody has to give more: end it, mend that, and start it again")
        else:
            say(f"It goes on as soon as that is given by the contract's parties: {_ASSETS}")
        say(f"{state.command('status')} tells when. It will be at {base_url}\n")
    else:
        say(f"ready in {seconds:.1f} s: {base_url}\n")
    for command, does in commands.items():
        say(f"  {command:<{width}}  {does}")
    say(f"\n{SENTENCE}")
    if not detached:
        say("ctrl-C ends everything")


def _detached(asked: Asked, environ: Mapping[str, str]) -> None:
    """Start this command again in the background, and wait until it is ready; ctrl-C and SIGTERM end it."""
    started, state = time.monotonic(), asked.state
    end_on_signals()
    state.prepare()
    arguments = _again(asked)
    told = FollowedLog(state.logs / "up.log")
    with told.path.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-I", "-m", "cloister", *arguments],
            env={**ENVIRONMENT, **environ},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            record = _until_ready(state, process, started + _patience(asked), told)
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    if record is None:
        click.echo(told.rest(), err=True, nl=False)
        if process.returncode not in {one.code for one in EXIT_CODES} or not told.path.stat().st_size:
            raise NotDetached(
                f"the system ended while it started (exit code {process.returncode}) without a word why: is there room"
                f" in {state.logs}? {state.command('up')}, without --detach, shows more"
            )
        raise click.exceptions.Exit(process.returncode)
    waiting, seconds = waits(record.roles), time.monotonic() - started
    told.follow()
    tell_ready(state, record.base_url, seconds, engine=asked.settings.engine, waiting=waiting, detached=True)


def _patience(asked: Asked) -> float:
    """How many seconds it may take until all is ready."""
    return DETACHED_SECONDS + engine_named(asked.settings.engine).ready_seconds


def _again(asked: Asked) -> list[str]:
    """The words by which it is started in the background."""
    settings, key = asked.settings, asked.model_key
    words = ["up", "--state", str(asked.state.root), "--engine", settings.engine]
    words += ["--privacy", settings.privacy]
    words += [] if settings.port is None else ["--port", str(settings.port)]
    words += [] if settings.model is None else ["--model", str(settings.model)]
    words += [] if key is None else ["--model-key", str(key.absolute())]
    return words + [word for path in asked.contract for word in ("--contract", str(path.absolute()))]


def _until_ready(
    state: StateFolder, process: subprocess.Popen[bytes], deadline: float, told: FollowedLog
) -> SystemRecord | None:
    """The system once it is started, whatever it still waits for; None where it has ended.

    Raises:
        NotDetached: it is neither at the `deadline`.
    """
    while time.monotonic() < deadline:
        told.follow()
        if process.poll() is not None:
            return None
        record = read_record(state)
        if record is not None and record.phase == "ready" and record.supervisor.pid == process.pid:
            return record
        time.sleep(_POLL_SECONDS)
    raise NotDetached(
        "the system is not ready yet and goes on starting:"
        f" {state.command('status')} shows it, {state.command('down')} ends it"
    )
