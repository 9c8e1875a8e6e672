"""Where the local system of this machine keeps what its clients need: the state folder, and its relay."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from cloister.client.durable import read_at_most
from cloister.errors import Unavailable, UsageError

MAXIMUM_RECORD = 1024 * 1024  # bytes


class NoLocalSystem(Unavailable):
    """No local system runs that says where its relay is."""


class _Record(msgspec.Struct, frozen=True):
    relay_url: str


def default_folder() -> Path:
    """`$XDG_STATE_HOME/cloister`, or `~/.local/state/cloister`."""
    base = os.environ.get("XDG_STATE_HOME")  # noqa: TID251 - where a person's files are is said there alone
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".local" / "state") / "cloister"


def state_folder() -> Path:
    """`$CLOISTER_STATE`, or the default one."""
    named = os.environ.get("CLOISTER_STATE")  # noqa: TID251 - as the command line reads it
    return Path(named).absolute() if named else default_folder()


def relay_of(folder: Path) -> str:
    """The relay's URL of the system that runs in the state folder `folder`.

    Raises:
        NoLocalSystem: none runs there.
        UsageError: its record cannot be read.
    """
    path = folder / "run" / "system.json"
    try:
        return msgspec.json.decode(read_at_most(path, MAXIMUM_RECORD), type=_Record).relay_url
    except FileNotFoundError as error:
        raise NoLocalSystem(
            f"no Cloister system runs in {folder}; start one with cloister up, or name the relay and the trust policy"
        ) from error
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}; if no system runs there, remove it") from error
