"""Votes on proposals, and the time as witnesses stated it (docs/formats/governance.md)."""

from __future__ import annotations

from typing import Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.canonical import Digest
from cloister.formats.key_bundle import Note

Choice = Literal["approve", "veto"]


class Vote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A party's or amender's word on a proposal. Signed by one key of its own."""

    version: Literal[1] = 1
    proposal: Digest  # SHA-256 of the entry that proposes
    choice: Choice


class WitnessedTime(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """That it was so late, as the cosignatures on a checkpoint of this log say. Signed by anyone: it proves itself."""

    version: Literal[1] = 1
    note: Note


def parse_vote(data: bytes) -> Vote:
    """Parse the payload of a `vote` statement."""
    return canonical.decode(data, Vote, limit=1024)


def parse_witnessed_time(data: bytes) -> WitnessedTime:
    """Parse the payload of a `time` statement."""
    return canonical.decode(data, WitnessedTime, limit=20_000)
