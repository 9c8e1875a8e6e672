"""Refuses requests that were answered before (RFC 9458 section 6.5): one table for all workers of a node.

"The Oblivious Gateway Resource then rejects requests if the request is the same as one that was previously answered
within that time window, or if the Date header field from the decrypted request is outside of the current time window."

The clock is the host's. Set forward it makes the table forget, set back it would let forgotten requests in again; so
the table keeps the latest date that it has forgotten and refuses that and all before it. At first this is the moment
of the start: what an earlier process answered is not known here.

The table is memory that the workers share, and no file: buckets of slots, a name of 16 bytes and a date each. A record
lock of the kernel's guards it, which a worker that dies lets go. It cannot leave a half-made entry behind: the date
is written last, in one store, and a slot without one is free; what it forgets is noted before it is overwritten.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import secrets
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache
from typing import ClassVar, Final

from cloister.errors import MalformedInput, Unavailable, UsageError

DATE_PROBLEM_TYPE = "https://iana.org/assignments/http-problem-types#date"


class DateNotAcceptable(UsageError):
    """The request's date is missing, malformed, or outside the window; the answer's Date says what time it is here."""

    problem_type: ClassVar[str] = DATE_PROBLEM_TYPE
    retry: ClassVar[bool] = True  # with the corrected date, sealed anew


class RequestReplayed(UsageError):
    """The same encapsulated request was answered before."""


class TableFull(Unavailable):
    """More requests came within the window than can be remembered."""


_NAME: Final = 16  # bytes of a keyed SHA-256: nobody can choose the bucket that a request falls into
_BUCKET: Final = 32  # slots: a dozen cache lines, which are cold when a request comes
_SPARE: Final = 2  # slots for each request, so that hardly a bucket is full before the table is
_HEADER: Final = 64  # bytes: what was forgotten, the window, and the key of the names


class ReplayTable:
    """What was answered within the window. Dates are whole seconds since 1970."""

    __slots__ = ("_alone", "_bucket", "_buckets", "_bytes", "_mapping", "_numbers", "_slots", "_window", "descriptor")

    def __init__(self, *, window_seconds: int, capacity: int, started: int, alone: bool = False) -> None:
        """About `capacity` requests, 48 bytes each, are remembered, for up to twice `window_seconds`.

        `alone` says that no other process admits requests at the same time, so that none has to be locked out.
        """
        buckets = 1 if capacity <= _BUCKET else -(-capacity * _SPARE // _BUCKET)
        slots = min(capacity, _BUCKET)
        descriptor = os.memfd_create("replays", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _HEADER + buckets * slots * (_NAME + 8))
        self._attach(descriptor, window_seconds, slots, alone=alone)
        self._numbers[0] = started
        self._mapping[8:40] = secrets.token_bytes(32)

    @classmethod
    def inherited(cls, descriptor: int, *, window_seconds: int, capacity: int, alone: bool = False) -> ReplayTable:
        """The table that another process of this node made, with the same numbers."""
        table = cls.__new__(cls)
        table._attach(descriptor, window_seconds, min(capacity, _BUCKET), alone=alone)
        return table

    def _attach(self, descriptor: int, window_seconds: int, slots: int, *, alone: bool) -> None:
        self.descriptor = descriptor
        self._window = window_seconds
        self._alone = alone
        self._slots = slots
        # All of it is there from the start: what a request meets is no page fault, and memory does not grow with use.
        self._mapping = mmap.mmap(descriptor, 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        self._bucket = slots * (_NAME + 8)  # bytes: its names, then its dates
        self._buckets = (len(self._mapping) - _HEADER) // self._bucket
        self._bytes = memoryview(self._mapping)
        self._numbers = self._bytes.cast("Q")  # 0: the latest date of which requests were forgotten; and dates

    def admit(self, enc: bytes, date: int, *, now: int) -> None:
        """Remember a request that opened, by its encapsulated key.

        Raises:
            DateNotAcceptable: outside the window, or so old that it may have been forgotten.
            RequestReplayed: it was admitted before.
            TableFull: it cannot be remembered now.
        """
        if abs(date - now) > self._window:
            raise DateNotAcceptable("the date of the request is outside of the acceptable range")
        digest = hashlib.sha256(self._mapping[8:40] + enc).digest()
        start = _HEADER + int.from_bytes(digest[_NAME:24], "big") % self._buckets * self._bucket
        likely, oldest = digest[24] % self._slots, now - self._window
        if self._alone:
            self._enter(digest[:_NAME], start, likely, date, oldest)
            return
        fcntl.lockf(self.descriptor, fcntl.LOCK_EX)
        try:
            self._enter(digest[:_NAME], start, likely, date, oldest)
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN)

    def _enter(self, name: bytes, start: int, likely: int, date: int, oldest: int) -> None:
        """Into the bucket at `start`, at best into its slot `likely`; all dates before `oldest` may be forgotten."""
        numbers = self._numbers
        if date <= numbers[0]:
            raise DateNotAcceptable("the date of the request is outside of the acceptable range")
        dates = (start + self._slots * _NAME) // 8
        if self._holds(name, start, dates):
            raise RequestReplayed("this request was answered before")
        if numbers[dates + likely] >= oldest:
            likely = self._free_slot(dates, oldest=oldest)
        before = numbers[dates + likely]
        # Killed after any of these stores, the table lets nothing in a second time.
        if before:
            numbers[0] = max(numbers[0], before)
            numbers[dates + likely] = 0
        self._bytes[start + likely * _NAME : start + (likely + 1) * _NAME] = name
        numbers[dates + likely] = date

    def _holds(self, name: bytes, start: int, dates: int) -> bool:
        at = self._mapping.find(name, start, 8 * dates)
        while at >= 0:
            slot, within = divmod(at - start, _NAME)
            if not within and self._numbers[dates + slot]:
                return True
            at = self._mapping.find(name, at + 1, 8 * dates)
        return False

    def _free_slot(self, dates: int, *, oldest: int) -> int:
        """A slot that is free, or of a date before `oldest`, which no request can come with any more."""
        for slot, date in enumerate(self._numbers[dates : dates + self._slots].tolist()):
            if date < oldest:
                return slot
        raise TableFull("too many requests within the window of dates")


@lru_cache(maxsize=1024)  # the requests of one second share their date
def parse_date(value: str) -> int:
    """A Date header as seconds since 1970; only the fixed form that senders must use (RFC 9110 section 5.6.7).

    Raises:
        MalformedInput: another form, or no such day.
    """
    try:
        moment = datetime.strptime(value, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
        seconds = int(moment.timestamp())
    except ValueError as error:
        raise MalformedInput("the date is not of the form of RFC 9110 section 5.6.7") from error
    if date_header(seconds) != value:
        raise MalformedInput("the date is not spelt as RFC 9110 section 5.6.7 has it, or its day of the week is wrong")
    return seconds


def date_header(seconds: int) -> str:
    """Seconds since 1970 as a Date header."""
    return formatdate(seconds, usegmt=True)
