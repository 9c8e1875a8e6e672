"""What a running system says of itself: `run/system.json`, written by its supervisor, read by the other commands.

Its supervisor may be of another version of Cloister than the command that reads it. So `version`, `supervisor` and each
role's `process` are for good: with them any version can end what any other started.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from cloister.cli.state_folder import StateFolder
from cloister.client.durable import replace_file
from cloister.errors import CloisterError, Unavailable, UsageError
from cloister.hosting.processes import ProcessName, lives

VERSION: Final = 1
Phase = Literal["starting", "ready", "stopping"]


class RoleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One service of the system."""

    name: str
    port: int
    process: ProcessName | None  # None while it is down
    ready: bool
    missing: str  # what it said that it lacks, while it is not ready
    restarts: int
    log: str
    health_port: int | None = None  # where it has the routes /health, /ready, /metrics and /version


class SystemRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The whole system."""

    version: Literal[1] = VERSION
    phase: Phase
    supervisor: ProcessName
    relay_url: str
    base_url: str  # of the proxy, as OpenAI clients want it
    roles: tuple[RoleRecord, ...]


class _RoleProcess(msgspec.Struct):
    process: ProcessName | None = None


class _ForGood(msgspec.Struct):
    """What every version's record has."""

    version: int
    supervisor: ProcessName
    roles: tuple[_RoleProcess, ...] = ()


class DamagedRecord(CloisterError):
    """The record cannot be read."""


class OtherVersion(UsageError):
    """The system was started by another version of Cloister."""


class NotRunning(Unavailable):
    """No system runs in this state folder."""


def record_path(state: StateFolder) -> Path:
    """Where the record is."""
    return state.run / "system.json"


def write_record(state: StateFolder, record: SystemRecord) -> None:
    """Replace the record, whole or not at all."""
    replace_file(record_path(state), msgspec.json.format(msgspec.json.encode(record)) + b"\n")


def read_record(state: StateFolder) -> SystemRecord | None:
    """The record as it stands, whether or not the system still runs.

    Raises:
        OtherVersion: another version of Cloister wrote it.
        DamagedRecord: there is one that cannot be read.
    """
    read = _for_good(state)
    if read is None:
        return None
    data, known = read
    if known.version != VERSION:
        raise OtherVersion(
            f"the system in {state.root} was started by another version of Cloister (its record has version"
            f" {known.version}, this one reads {VERSION}): end it with {state.command('down')}, which ends systems of"
            f" every version, and start it again with {state.command('up')}"
        )
    try:
        return msgspec.json.decode(data, type=SystemRecord)
    except msgspec.DecodeError as error:
        raise _damaged(state, error) from error


def recorded_processes(state: StateFolder) -> list[ProcessName]:
    """The processes that the record names, whichever version wrote it, the supervisor first; none where there is none.

    Raises:
        DamagedRecord: there is one that cannot be read.
    """
    read = _for_good(state)
    if read is None:
        return []
    return [read[1].supervisor, *(role.process for role in read[1].roles if role.process is not None)]


def running(state: StateFolder) -> SystemRecord:
    """The record of the system that runs.

    Raises:
        NotRunning: none does.
        OtherVersion, DamagedRecord: that cannot be told.
    """
    processes = recorded_processes(state)
    record = read_record(state) if processes and lives(processes[0]) else None
    if record is None:
        raise NotRunning(f"no Cloister system runs in {state.root}; start one with: {state.command('up')}")
    return record


def _for_good(state: StateFolder) -> tuple[bytes, _ForGood] | None:
    try:
        data = record_path(state).read_bytes()
        return data, msgspec.json.decode(data, type=_ForGood)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise _damaged(state, error) from error


def _damaged(state: StateFolder, error: Exception) -> DamagedRecord:
    return DamagedRecord(
        f"{record_path(state)} cannot be read ({error}). If a system of this folder still runs (ps -ef names it), end"
        f" its process cloister up, which ends the others; the next {state.command('up')} replaces the file"
    )
