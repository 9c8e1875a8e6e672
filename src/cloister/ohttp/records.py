"""The records that an answer comes in under strict privacy: of one size, on one cadence, in one of a few numbers.

A record is a kind, the length of the data, the data, and zeros. Whoever sees sizes and times sees how many there were,
which is one of `TOTALS`, and nothing else. What is inside is a Binary HTTP message, cut anywhere. The layer below
(`chunked`) seals each record as a chunk, and says that none was dropped, repeated, moved or added.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar, Final

from cloister.errors import MalformedInput, UsageError

RECORD_SIZE: Final = 4096  # bytes
TICK_SECONDS: Final = 0.05  # between two records
TOTALS: Final = (64, 256, 1024, 4096, 12_288)  # records: 3.2, 12.8, 51.2, 204.8 and 614.4 seconds
_HEAD: Final = 3  # bytes: the kind, and the length in two
ROOM: Final = RECORD_SIZE - _HEAD

Bytes = bytes | bytearray | memoryview


class Kind(IntEnum):
    """What a record says of the content beside its data."""

    MORE = 0  # it goes on; behind its end, nothing
    LAST = 1  # it ends with this record's data
    BROKEN = 2  # it breaks off: there is no more of it, and it is not whole


class RecordRefused(MalformedInput):
    """A record of another form, data behind the end, no end, or a number of records that is none of `TOTALS`."""


class BrokenOff(MalformedInput):
    """The gateway says that the answer ended before its end. Nothing may take what came for a whole one."""

    retry: ClassVar[bool] = True  # the engine stopped


def write_record(place: memoryview, kind: Kind, data: Bytes) -> None:
    """Lay a record out in `place`, `RECORD_SIZE` bytes of zeros.

    Raises:
        UsageError: `data` is over `ROOM`.
    """
    if len(data) > ROOM:
        raise UsageError(f"a record holds at most {ROOM} bytes, not {len(data)}")
    place[0] = kind
    place[1:_HEAD] = len(data).to_bytes(2, "big")
    place[_HEAD : _HEAD + len(data)] = data


class RecordReader:
    """Takes the content out of records as they come, split anywhere."""

    __slots__ = ("_broken", "_count", "_held", "content_ended")

    def __init__(self) -> None:
        self._held = bytearray()  # of a record that is not whole yet
        self._count = 0
        self._broken = False
        self.content_ended = False  # what comes from now on is empty

    def feed(self, data: Bytes) -> bytes:
        """The content that the records which `data` completes hold.

        Raises:
            RecordRefused: one has another form, or data stands behind the end.
        """
        self._held += data
        whole = len(self._held) // RECORD_SIZE * RECORD_SIZE
        records = bytes(self._held[:whole])
        del self._held[:whole]
        return b"".join(self._take(records[at : at + RECORD_SIZE]) for at in range(0, whole, RECORD_SIZE))

    def end(self) -> None:
        """No record follows.

        Raises:
            BrokenOff: the gateway said so.
            RecordRefused: the content has no end, or the records have another number than any answer's.
        """
        if self._held:
            raise RecordRefused(f"the answer ends within a record of {RECORD_SIZE} bytes")
        if self._count not in TOTALS:
            raise RecordRefused(f"an answer has no {self._count} records")
        if not self.content_ended:
            raise RecordRefused("the records end before the answer in them does")
        if self._broken:
            raise BrokenOff("the answer broke off at its engine: what came of it is not whole")

    def _take(self, record: bytes) -> bytes:
        kind, size = record[0], int.from_bytes(record[1:_HEAD], "big")
        if kind > Kind.BROKEN or size > ROOM or record.count(0, _HEAD + size) != ROOM - size:
            raise RecordRefused("a record has another form: does this gateway know strict privacy?")
        if self.content_ended and (kind or size):
            raise RecordRefused("a record behind the end of the answer is not empty")
        self._count += 1
        self.content_ended = self.content_ended or kind != Kind.MORE
        self._broken = self._broken or kind == Kind.BROKEN
        return record[_HEAD : _HEAD + size]
