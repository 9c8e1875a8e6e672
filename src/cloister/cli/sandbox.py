"""`cloister sandbox`: what confines engines on this machine, and whether it holds."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
from rich.progress import Progress

from cloister.cli.chain import console
from cloister.errors import CloisterError
from cloister.sandbox.escapes.launcher import seconds_to_end
from cloister.sandbox.escapes.suite import Outcome, attempts, try_all
from cloister.sandbox.escapes.sysctls import changed, settings
from cloister.sandbox.plan import Plan, plan

TEST_EPILOG = """\b
Examples:
  cloister sandbox test
  cloister sandbox test --all           every attempt, and what stopped it
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
    held: bool
    outcomes: list[Outcome]
    changed_settings: list[str]  # below /proc/sys
    end_milliseconds: float  # from the launcher's kill to the end of the engine's last process


@click.group()
def sandbox() -> None:
    """Show and test what engines are confined in."""


@sandbox.command()
@click.option("--json", "as_json", is_flag=True, help="Print the whole profile as JSON.")
def show(*, as_json: bool) -> None:
    """Say what confines an engine on this machine: layers, limits, digest."""
    profile = plan().profile
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(profile)).decode())
        return
    limits = profile.limits
    rows = {
        "profile": f"{profile.digest.hex()}  (contracts name it)",
        "started by": ", ".join(starter.name for starter in profile.starters),
        "user": {"dropped": "60001, root is given up", "own": "this user, in a namespace of its own"}[profile.user],
        "seccomp": f"{len(profile.inner_filter) // 8} steps: no socket, process, program, mount, tracing, io_uring",
        "Landlock": f"ABI {profile.landlock.abi}: {', '.join(profile.landlock.denies) or 'none on this kernel'}",
        "memory": f"{limits.memory_bytes // 2**20} MiB and {limits.tasks} tasks, held by {limits.held_by}",
        "scratch": f"{limits.scratch_bytes // 2**20} MiB in memory, {limits.open_files} open files",
    }
    for name, value in rows.items():
        click.echo(f"{name:<11} {value}")


@sandbox.command(epilog=TEST_EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print every outcome as JSON.")
@click.option("--all", "show_all", is_flag=True, help="List every attempt, not only what went wrong.")
def test(*, as_json: bool, show_all: bool) -> None:
    """Try to get out of the sandbox in every way we know (about 5 s).

    Sockets of every family, the host's files and devices, other processes, namespaces and mounts, kernel interfaces,
    uncounted memory: each has to be stopped. Then a launcher is killed, and its engine has to end with it.
    """
    planned = plan()
    with _folder() as folder:
        before = settings()
        outcomes = asyncio.run(_tried(planned, folder, quiet=as_json))
        after = settings()
        milliseconds = round(seconds_to_end(folder) * 1000, 1)
    changes = changed(before, after)
    held = not changes and all(outcome.held for outcome in outcomes)
    report = Report(
        profile=planned.profile.digest.hex(),
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
    outcomes = []
    with Progress(console=console(), transient=True, disable=quiet or not sys.stdout.isatty()) as progress:
        task = progress.add_task("trying to get out", total=len(attempts()))
        async for outcome in try_all(planned, folder, attempts()):
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
            mark = "✓" if outcome.held else "✗"
            worked = {None: "", True: "; works outside", False: "; does not work outside either: nothing shown"}
            ended = f"{outcome.verdict}, {outcome.how}{worked[outcome.outside]}"
            click.echo(f"{mark} {outcome.room:<9} {outcome.name}: {ended}")
    tried, held = Counter(o.room for o in report.outcomes), Counter(o.room for o in report.outcomes if o.held)
    for room, number in tried.items():
        click.echo(f"{room:<11} {held[room]} of {number} attempts stopped")
    outside = sum(outcome.outside is True for outcome in report.outcomes)
    click.echo(f"{'outside':<11} {outside} of them were tried without the sandbox too, and worked there")
    click.echo(f"{'machine':<11} {len(report.changed_settings)} settings changed")
    click.echo(f"{'launcher':<11} killed; its engine was gone {report.end_milliseconds:g} ms later")
