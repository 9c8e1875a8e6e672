"""The files of signed entries in a state folder: read back whole, or refused by the name of the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from cloister.cli.local.terms import Genesis, Terms, last_constitution, last_contract
from cloister.cli.state_folder import StateFolder
from cloister.errors import CloisterError, UsageError
from cloister.node.entries_file import read_entries

Governed = TypeVar("Governed")

WHAT_TO_DO = "restore it, or begin anew with another --state folder"


def read_signed(state: StateFolder) -> Terms | Genesis | None:
    """The terms that were signed in this folder; None where nothing was, ever.

    The genesis alone is what a first start leaves that was killed between its two files: nothing rests on it yet. In
    every other case a beginning signed anew beside what is older would make that worthless, and so is refused.

    Raises:
        UsageError: a file is missing although others rest on it, or it is damaged.
    """
    resting = (state.trust_policy, state.data / "ledger" / "ledger.sqlite", state.memory)
    there = [path for path in (state.constitutions, state.contracts, *resting) if path.exists()]
    if not [path for path in there if path != state.trust_policy]:
        return None  # a trust policy alone may be its owner's own
    if there == [state.constitutions]:
        entries, constitution = _read(state.constitutions, last_constitution)
        if len(entries) == 1:
            return Genesis(entries[0], constitution)
    for path in (state.constitutions, state.contracts):
        if path not in there:
            raise UsageError(f"{path} is missing, and {there[-1]} rests on it: {WHAT_TO_DO}")
    constitutions, constitution = _read(state.constitutions, last_constitution)
    contracts, contract = _read(state.contracts, last_contract)
    return Terms(constitutions, contracts, constitution, contract)


def _read(path: Path, last: Callable[[Sequence[bytes]], Governed]) -> tuple[tuple[bytes, ...], Governed]:
    try:
        entries = read_entries(path)
        return entries, last(entries)
    except CloisterError as error:
        named = (
            str(error) if str(path) in str(error) else f"{path} is damaged, or of another version of Cloister: {error}"
        )
        raise UsageError(f"{named}; {WHAT_TO_DO}") from error
