"""`cloister sandbox`: what confines engines on this machine, and whether it holds."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import click
import msgspec
from rich.progress import Progress

from cloister.cli.chain import console
from cloister.errors import CloisterError
from cloister.formats.contract import TIERS, Tier
from cloister.sandbox.devices import UNTESTED, Devices
from cloister.sandbox.escapes.launcher import seconds_to_end
from cloister.sandbox.escapes.suite import Outcome, SampleModel, attempts, try_all
from cloister.sandbox.escapes.sysctls import changed, settings
from cloister.sandbox.plan import Choice, Plan, plan
from cloister.sandbox.profile import Confinement, SandboxProfile, Tool
from cloister.sandbox.sizes import Sizes

TEST_EPILOG = """\b
Examples:
  cloister sandbox test
  cloister sandbox test --all           every attempt, and what stopped it
  cloister sandbox test --confinement server --model
  cloister sandbox test --tool gvisor   in the sandbox that a gateway with `sandbox = "gvisor"` would use
  cloister sandbox test --tier kernel   in one of this tier at least, as a contract may want it
  cloister sandbox test --json | jq '.outcomes[] | select(.verdict != "denied")'

Attempts that any user may make outside the sandbox are made there too, and have to succeed there: so it is the sandbox
that stops them. Nothing of the machine is changed. docs/sandbox.md says what each layer denies.
"""


class SandboxDoesNotHold(CloisterError):
    """Something got out, or an attempt showed nothing."""

    exit_code = 3


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that was tried, and what the machine shows of it."""

    profile: str  # SHA-256 of the sandbox profile, as a contract names it
    tool: Tool
    tier: Tier
    held: bool
    outcomes: list[Outcome]
    changed_settings: list[str]  # below /proc/sys
    end_milliseconds: float  # from the launcher's kill to the end of the engine's last process


_DENIED: Mapping[Confinement, str] = {
    "worker": "no socket, process, program, mount, tracing, io_uring",
    "server": "unix sockets, programs of its own; no network, mount, tracing, io_uring",
    "loopback": "unix sockets, TCP in an empty network, programs of its own; no mount, tracing, io_uring",
}
_CONFINEMENT = click.option(
    "--confinement",
    type=click.Choice(list(_DENIED)),
    default="worker",
    show_default=True,
    help="What the engine's program may do: Cloister's own is a worker, an upstream a server.",
)


@click.group()
def sandbox() -> None:
    """Show and test what engines are confined in."""


def chosen(command: Callable[..., None]) -> Callable[..., None]:
    """The options that choose a sandbox."""
    named = click.Choice(get_args(Choice))
    for option in (
        click.option(
            "--tier", type=click.Choice(TIERS), default=TIERS[0], help="The tier that it has to be of at least."
        ),
        click.option("--tool", type=named, default="auto", show_default=True, help="What confines, as in settings."),
    ):
        command = option(command)
    return command


@sandbox.command()
@_CONFINEMENT
@click.option("--json", "as_json", is_flag=True, help="Print the whole profile as JSON.")
@chosen
@click.option(
    "--devices",
    type=click.Choice(get_args(Devices)),
    default="none",
    show_default=True,
    help=f"Which of the machine's it is given, as in settings. nvidia: {UNTESTED}.",
)
def show(tool: Choice, tier: Tier, devices: Devices, *, confinement: Confinement, as_json: bool) -> None:
    """Say what confines an engine on this machine: layers, limits, digest."""
    profile = plan(confinement=confinement, devices=devices, tool=tool, floor=tier).profile
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(profile)).decode())
        return
    limits = profile.limits
    rows = {
        "profile": f"{profile.digest.hex()}  (contracts name it)",
        "tier": f"{profile.tier}, by {profile.tool}{_open(profile.tier)}",
        "started by": ", ".join(starter.name for starter in profile.starters),
        "user": {"dropped": "one for each start, root is given up", "own": "this user, in a namespace of its own"}[
            profile.user
        ],
        "seccomp": f"{len(profile.inner_filter) // 8} steps: {_DENIED[confinement]}",
        "Landlock": _landlock(profile),
        "devices": f"{', '.join(profile.devices)} ({UNTESTED})" if profile.devices else "none of the machine's",
        "memory": f"{limits.memory_bytes // 2**20} MiB and {limits.tasks} tasks, held by {limits.held_by}",
        "scratch": f"{limits.scratch_bytes // 2**20} MiB in memory, {limits.open_files} open files",
    }
    for name, value in rows.items():
        click.echo(f"{name:<11} {value}")


@sandbox.command(epilog=TEST_EPILOG)
@_CONFINEMENT
@click.option("--model", "on_model", is_flag=True, help="Fill a model in, and try to change it too.")
@click.option("--json", "as_json", is_flag=True, help="Print every outcome as JSON.")
@click.option("--all", "show_all", is_flag=True, help="List every attempt, not only what went wrong.")
@chosen
def test(tool: Choice, tier: Tier, *, confinement: Confinement, on_model: bool, as_json: bool, show_all: bool) -> None:
    """Try to get out of the sandbox in every way we know (about 5 s).

    Sockets of every family, the host's files and devices, other processes, namespaces and mounts, kernel interfaces,
    uncounted memory: each has to be stopped. Then a launcher is killed, and its engine has to end with it.
    """
    sizes = Sizes().holding(SampleModel.files) if on_model else None
    planned = plan(sizes, confinement=confinement, tool=tool, floor=tier)
    with _folder() as folder:
        before = settings()
        outcomes = asyncio.run(_tried(planned, folder, quiet=as_json))
        after = settings()
        milliseconds = round(seconds_to_end(folder, planned.profile.tool) * 1000, 1)
    changes = changed(before, after)
    held = not changes and all(outcome.held for outcome in outcomes)
    report = Report(
        profile=planned.profile.digest.hex(),
        tool=planned.profile.tool,
        tier=planned.profile.tier,
        held=held,
        outcomes=outcomes,
        changed_settings=changes,
        end_milliseconds=milliseconds,
    )
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        _show(report, show_all=show_all)
    if not held:
        wrong = [f"{outcome.name} ({outcome.room})" for outcome in outcomes if not outcome.held]
        raise SandboxDoesNotHold(f"the sandbox does not hold here: {', '.join(wrong + changes)}")


async def _tried(planned: Plan, folder: Path, *, quiet: bool) -> list[Outcome]:
    outcomes, trying = [], attempts(on_model=planned.profile.limits.model_bytes > 0)
    with Progress(console=console(), transient=True, disable=quiet or not sys.stdout.isatty()) as progress:
        task = progress.add_task("trying to get out", total=len(trying))
        async for outcome in try_all(planned, folder, trying):
            outcomes.append(outcome)
            progress.advance(task)
    return outcomes


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that the sandbox's own user can traverse, unlike most temporary ones; removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="cloister-sandbox-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _show(report: Report, *, show_all: bool) -> None:
    for outcome in report.outcomes:
        if show_all or not outcome.held:
            mark = "✗" if not outcome.held else "✓" if outcome.due else "·"
            worked = {None: "", True: "; works outside", False: "; does not work outside either: nothing shown"}
            ended = f"{outcome.verdict}, {outcome.how}{worked[outcome.outside]}"
            click.echo(f"{mark} {outcome.room:<9} {outcome.name}: {ended}")
    due = [outcome for outcome in report.outcomes if outcome.due]
    tried, held = Counter(o.room for o in due), Counter(o.room for o in due if o.held)
    for room, number in tried.items():
        click.echo(f"{room:<11} {held[room]} of {number} attempts ended as they should")
    if allowed := sum(outcome.verdict == "allowed" for outcome in report.outcomes):
        click.echo(f"{'left':<11} {allowed} of them are left to an engine of this confinement (docs/sandbox.md)")
    outside = sum(outcome.outside is True for outcome in report.outcomes)
    click.echo(f"{'outside':<11} {outside} of them were tried without the sandbox too, and worked there")
    click.echo(f"{'tier':<11} {report.tier}, by {report.tool}{_open(report.tier)}")
    click.echo(f"{'machine':<11} {len(report.changed_settings)} settings changed")
    click.echo(f"{'launcher':<11} killed; its engine was gone {report.end_milliseconds:g} ms later")


def _open(tier: Tier) -> str:
    """What a tier does not deny, of what is tried."""
    names = [attempt.name for attempt in attempts() if TIERS.index(attempt.denied_from) > TIERS.index(tier)]
    return f"; it does not deny to {', to '.join(names)}" if names else ""


def _landlock(profile: SandboxProfile) -> str:
    if profile.tool == "gvisor":
        return "none: the kernel that the engine speaks to is gVisor's own, and has none"
    return f"ABI {profile.landlock.abi}: {', '.join(profile.landlock.denies) or 'none on this kernel'}"
