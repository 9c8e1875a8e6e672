"""Refuses requests that were answered before (RFC 9458 section 6.5): one table, bounded by the window of dates.

"The Oblivious Gateway Resource then rejects requests if the request is the same as one that was previously answered
within that time window, or if the Date header field from the decrypted request is outside of the current time window."

The clock is the host's. Set forward it makes the table forget, set back it would let forgotten requests in again; so
the table keeps the latest date that it may have forgotten and refuses that and all before it. At first this is the
moment of the start: what an earlier process answered is not known here.
"""

from __future__ import annotations

import hashlib
import heapq
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache
from typing import ClassVar

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


class ReplayTable:
    """What was answered within the window. Dates are whole seconds since 1970."""

    def __init__(self, *, window_seconds: int, capacity: int, started: int) -> None:
        """At most `capacity` requests, about 200 bytes each, are remembered for up to twice `window_seconds`."""
        self._window = window_seconds
        self._capacity = capacity
        self._forgotten = started  # the latest date of which requests may have been forgotten
        self._seen: set[bytes] = set()
        self._by_date: list[tuple[int, bytes]] = []  # a heap

    def __len__(self) -> int:
        return len(self._seen)

    def admit(self, enc: bytes, date: int, *, now: int) -> None:
        """Remember a request that opened, by its encapsulated key.

        Raises:
            DateNotAcceptable: outside the window, or so old that it may have been forgotten.
            RequestReplayed: it was admitted before.
            TableFull: it cannot be remembered now.
        """
        if abs(date - now) > self._window or date <= self._forgotten:
            raise DateNotAcceptable("the date of the request is outside of the acceptable range")
        name = hashlib.sha256(enc).digest()
        if name in self._seen:
            raise RequestReplayed("this request was answered before")
        self._forget(now)
        if len(self._seen) >= self._capacity:
            raise TableFull("too many requests within the window of dates")
        self._seen.add(name)
        heapq.heappush(self._by_date, (date, name))

    def _forget(self, now: int) -> None:
        while self._by_date and self._by_date[0][0] < now - self._window:
            date, name = heapq.heappop(self._by_date)
            self._seen.discard(name)
            self._forgotten = max(self._forgotten, date)


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
