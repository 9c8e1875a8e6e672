"""`cloister doctor`: what this machine has of what Cloister needs, and what to do about the rest."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Literal

import click
import msgspec
from rich.text import Text

from cloister.cli.chain import console
from cloister.cli.service import settings_record
from cloister.cli.state_folder import StateFolder, state_option
from cloister.errors import CloisterError, MalformedInput, TooLarge, UsageError
from cloister.hosting.settings import read
from cloister.trust.memory import parse_memory

Verdict = Literal["good", "missing", "bad"]
MARKS = {"good": ("✓", "green"), "missing": ("·", "yellow"), "bad": ("✗", "bold red")}
NEEDED_BYTES = 512 * 1024 * 1024
YOUNGEST_CLOCK = 1_767_225_600  # 2026: nothing of ours is older
SEARCH = "/usr/bin:/bin:/usr/local/bin"  # where the sandbox looks for its programs (sandbox/plan.py)
PROGRAMS = {"bwrap": "bubblewrap", "setpriv": "util-linux"}  # with their packages
NODE_LIBRARIES = ("av", "pocketsphinx", "starlette", "uvicorn", "uvloop")


EPILOG = """\b
Examples:
  cloister doctor
  cloister doctor --json | jq '.[] | select(.verdict != "good")'

A tick is good; a dot stands in the way of cloister up alone, a cross of a client, too. Under each stands what to do.
"""


class Unfit(CloisterError):
    """Something that is needed is not there."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `missing` stands in the way of `cloister up` alone, `bad` of everything."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


@click.command(epilog=EPILOG)
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(state: StateFolder, *, as_json: bool) -> None:
    """Check what this machine has, and say what to do about what it lacks.

    A client needs Python, a clock and a state folder; cloister up needs all of it.
    """
    findings = list(look(state))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(findings)).decode())
    else:
        _show(findings)
    bad = [finding.name for finding in findings if finding.verdict == "bad"]
    if bad:
        raise Unfit(f"this machine cannot run Cloister yet: {', '.join(bad)}")


def look(state: StateFolder, *, search: str = SEARCH) -> Iterator[Finding]:
    """All findings, in order; programs are looked for in the folders `search`."""
    yield _python()
    yield _clock(state)
    yield _folder(state)
    yield from _settings(state)
    yield _ports()
    yield _libraries()
    programs = [_program(name, package, search) for name, package in PROGRAMS.items()]
    yield from programs
    lacking = [finding.name for finding in programs if finding.verdict != "good"]
    yield from _untried(lacking) if lacking else _sandbox()


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.platform == "linux":
        return Finding(name="python", verdict="good", found=found)
    return Finding(name="python", verdict="missing", found=found, advice="services run on Linux; a client runs here")


def _clock(state: StateFolder) -> Finding:
    """Freshness is judged by this clock; the last cosignature seen is a lower bound on now."""
    now = int(time.time())  # noqa: TID251 - it is the clock that is looked at
    said = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    advice = "set the clock, best by NTP: timedatectl set-ntp true"
    if now < max(YOUNGEST_CLOCK, _last_seen(state) - 60):
        return Finding(name="clock", verdict="bad", found=f"{said} is before what was seen already", advice=advice)
    return Finding(name="clock", verdict="good", found=said)


def _last_seen(state: StateFolder) -> int:
    try:
        return parse_memory(state.memory.read_bytes()).cosigned_at
    except (OSError, MalformedInput, TooLarge):
        return 0


def _folder(state: StateFolder) -> Finding:
    place = state.root
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        return Finding(name="state folder", verdict="bad", found=f"{place} is not writable", advice="--state DIR")
    free = shutil.disk_usage(place).free
    if free < NEEDED_BYTES:
        found = f"{free // 2**20} MiB free at {place}"
        return Finding(name="state folder", verdict="missing", found=found, advice="free 512 MiB, or --state DIR")
    return Finding(name="state folder", verdict="good", found=f"{state.root}, {free // 2**30} GiB free")


def _settings(state: StateFolder) -> Iterator[Finding]:
    """A person's own settings, if there are any."""
    if not state.settings.exists():
        return
    try:
        record = settings_record("up")
        reading = read(record, service="up", config=state.settings, environ={}, flags={})
    except UsageError as error:
        wrong = str(error)
    else:
        wrong = "; ".join(reading.wrong)
    if wrong:
        advice = f"cloister config check {state.settings}"
        yield Finding(name="settings", verdict="missing", found=wrong, advice=advice)
    else:
        yield Finding(name="settings", verdict="good", found=str(state.settings))


def _ports() -> Finding:
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port: int = listener.getsockname()[1]
        return Finding(name="loopback", verdict="good", found=f"127.0.0.1 gives ports, {port} for one")
    except OSError as error:
        found = f"127.0.0.1 gives no port: {error.strerror}"
        return Finding(name="loopback", verdict="bad", found=found, advice="bring the interface up: ip link set lo up")


def _libraries() -> Finding:
    lacking = [name for name in NODE_LIBRARIES if importlib.util.find_spec(name) is None]
    if not lacking:
        return Finding(name="services", verdict="good", found="cloister[node] is installed")
    found = f"a client's install, without {', '.join(lacking)}"
    return Finding(name="services", verdict="missing", found=found, advice="on Linux: pip install 'cloister[node]'")


def _program(name: str, package: str, search: str) -> Finding:
    path = shutil.which(name, path=search)
    if path is not None:
        return Finding(name=name, verdict="good", found=path)
    found = f"not in {search.replace(':', ', ')}, where services look"
    return Finding(name=name, verdict="missing", found=found, advice=f"apt-get install {package}")


def _untried(lacking: Sequence[str]) -> Iterator[Finding]:
    yield Finding(name="sandbox", verdict="missing", found=f"not tried without {' and '.join(lacking)}")


def _sandbox() -> Iterator[Finding]:
    """The sandbox's own trial start on this kernel, which says what refuses it."""
    try:
        from cloister.sandbox.plan import plan  # noqa: PLC0415 - a client's install lacks what it needs
    except ImportError as error:
        yield Finding(name="sandbox", verdict="missing", found=f"not tried: {error.name} is not installed")
        return
    try:
        profile = plan().profile
    except CloisterError as error:
        yield Finding(name="sandbox", verdict="missing", found="an engine cannot be confined here", advice=str(error))
        return
    landlock = f"Landlock ABI {profile.landlock.abi}" if profile.landlock.abi else "no Landlock"
    yield Finding(name="sandbox", verdict="good", found=f"user namespaces, seccomp, {landlock}")
    held = profile.limits.held_by
    found = {"rlimits": "no cgroup is delegated: rlimits hold memory and processes"}.get(held, held)
    yield Finding(name="cgroups", verdict="good", found=found)


def _show(findings: Sequence[Finding]) -> None:
    out = console()
    for finding in findings:
        mark, style = MARKS[finding.verdict]
        out.print(Text(mark, style=style) + Text(f" {finding.name:<13} {finding.found}"))
        if finding.advice:
            out.print(f"  {'':<13} → {finding.advice}")
