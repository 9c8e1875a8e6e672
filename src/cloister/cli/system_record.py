"""What a running system says of itself: `run/system.json`, written by its supervisor, read by the other commands."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from cloister.cli.processes import ProcessName, lives
from cloister.cli.state_folder import StateFolder
from cloister.client.durable import replace_file
from cloister.errors import CloisterError, Unavailable

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


class SystemRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The whole system."""

    version: Literal[1] = 1
    phase: Phase
    supervisor: ProcessName
    relay_url: str
    base_url: str  # of the proxy, as OpenAI clients want it
    roles: tuple[RoleRecord, ...]


class DamagedRecord(CloisterError):
    """The record cannot be read."""


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
        DamagedRecord: there is one that cannot be read.
    """
    path = record_path(state)
    try:
        return msgspec.json.decode(path.read_bytes(), type=SystemRecord)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise DamagedRecord(f"{path} cannot be read ({error}); if no system runs there, remove it") from error


def running(state: StateFolder) -> SystemRecord:
    """The record of the system that runs.

    Raises:
        NotRunning: none does.
        DamagedRecord: that cannot be told.
    """
    record = read_record(state)
    if record is None or not lives(record.supervisor):
        raise NotRunning(f"no Cloister system runs in {state.root}; start one with: cloister up")
    return record
