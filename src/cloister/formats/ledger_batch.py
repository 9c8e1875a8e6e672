"""Many entries appended by one request, and the answer to each (docs/formats/ledger.md): deterministic CBOR."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal

import msgspec

from cloister.errors import MalformedInput
from cloister.formats import canonical
from cloister.formats.canonical import Count
from cloister.formats.key_bundle import Note, ProofPath
from cloister.formats.ledger_messages import Appended, encode_list

MAXIMUM_BATCH_ENTRIES: Final = 1024
MAXIMUM_BATCH: Final = 4 * 1024 * 1024  # bytes of one request; an answer of 1,024 paths of 64 hashes has half of that

Reason = Literal["malformed", "too-large", "signature"]


class RefusedEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An entry of a batch that was not logged, and as it is never will be."""

    position: Count  # in the batch, from 0
    reason: Reason
    detail: Annotated[str, msgspec.Meta(max_length=1024)]


class AppendedBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The answer to a batch: where its entries stand, all of them under one checkpoint that a quorum cosigned.

    `indices` and `paths` are of the entries that were not refused, in their order.
    """

    checkpoint: Note
    indices: Annotated[tuple[Count, ...], msgspec.Meta(max_length=MAXIMUM_BATCH_ENTRIES)]
    paths: Annotated[tuple[ProofPath, ...], msgspec.Meta(max_length=MAXIMUM_BATCH_ENTRIES)]
    refused: Annotated[tuple[RefusedEntry, ...], msgspec.Meta(max_length=MAXIMUM_BATCH_ENTRIES)]

    def answers(self, number: int) -> list[Appended | RefusedEntry]:
        """The answer to each of the `number` entries that were sent, in their order.

        Raises:
            MalformedInput: there are more or fewer answers than entries.
        """
        refused = {one.position: one for one in self.refused}
        rest = [position for position in range(number) if position not in refused]
        if len(rest) + len(self.refused) != number or not len(rest) == len(self.indices) == len(self.paths):
            raise MalformedInput(f"not the answers to a batch of {number} entries")
        answers: dict[int, Appended | RefusedEntry] = {**refused}
        for position, index, path in zip(rest, self.indices, self.paths, strict=True):
            answers[position] = Appended(index=index, checkpoint=self.checkpoint, path=path)
        return [answers[position] for position in range(number)]


def encode_batch(entries: Sequence[bytes]) -> bytes:
    """The request that appends `entries`."""
    return encode_list(entries)


def parse_batch(data: bytes) -> tuple[bytes, ...]:
    """Parse the request: 1 to 1,024 byte strings, at most 4 MiB. What each of them is, is not looked at.

    Raises:
        TooLarge, MalformedInput: not such a list.
    """
    entries = canonical.plain(data, limit=MAXIMUM_BATCH)
    if not isinstance(entries, list) or not all(isinstance(entry, bytes) for entry in entries):
        raise MalformedInput("a batch is a list of byte strings")
    if not 0 < len(entries) <= MAXIMUM_BATCH_ENTRIES:
        raise MalformedInput(f"a batch has 1 to {MAXIMUM_BATCH_ENTRIES} entries")
    return tuple(entries)


def parse_appended_batch(data: bytes) -> AppendedBatch:
    """Parse the answer, at most 4 MiB.

    Raises:
        TooLarge, MalformedInput: not one.
    """
    return canonical.decode(data, AppendedBatch, limit=MAXIMUM_BATCH)


def parse_batch_answers(data: bytes, *, number: int) -> list[Appended | RefusedEntry]:
    """Parse the answer to a batch of `number` entries: one for each of them. Raises as `parse_appended_batch`."""
    return parse_appended_batch(data).answers(number)


def batches(entries: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """`entries` in their order, in runs that fit a request each."""
    start = size = 0
    for at, entry in enumerate(entries):
        framed = len(entry) + 5  # CBOR's head of a byte string
        if at > start and (at - start == MAXIMUM_BATCH_ENTRIES or size + framed > MAXIMUM_BATCH - 8):
            yield entries[start:at]
            start, size = at, 0
        size += framed
    if entries:
        yield entries[start:]
