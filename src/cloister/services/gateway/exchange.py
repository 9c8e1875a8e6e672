"""What an encapsulated request has to pass before a byte of it goes to the engine, in either form.

What fails before the request is open is told in the clear, and says nothing but that. From then on every answer, an
error too, is sealed: to the relay all are alike but for their padded size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from cloister.errors import CloisterError, MalformedInput
from cloister.formats.binary_http import Fields
from cloister.hosting import problem
from cloister.ohttp.chunked import MAXIMUM_CHUNK
from cloister.ohttp.records import TICK_SECONDS
from cloister.services.gateway.buffers import Buffers
from cloister.services.gateway.engines import Engines
from cloister.services.gateway.inside import Answer
from cloister.services.gateway.inside import field as field_of
from cloister.services.gateway.keys import GatewayKey, KeyRing
from cloister.services.gateway.replay import (
    DateNotAcceptable,
    ReplayTable,
    RequestReplayed,
    TableFull,
    date_header,
    parse_date,
)
from cloister.services.gateway.request_memory import RequestMemory
from cloister.services.gateway.turn import Turn

NOT_ADMITTED = (DateNotAcceptable, RequestReplayed, TableFull)


class RunningReceipt(Protocol):
    """The receipt of one exchange, as both sides of it stream by."""

    def request(self, piece: memoryview) -> None:
        """More of the request's body.

        Raises:
            UsageError: it calls itself a form and is none.
        """

    def asked(self) -> None:
        """The request's body is whole.

        Raises:
            UsageError: it calls itself a form and ends before one does.
        """

    def answer(self, piece: memoryview | bytes) -> None:
        """More of the answer's body."""

    def forget_answer(self) -> None:
        """What was seen of the answer is not shown; another takes its place."""

    def fields(self, key: GatewayKey, status: int) -> Fields:
        """The receipt's fields, once all was seen."""


class Receipts(Protocol):
    """What makes receipts."""

    def begin(self, method: str, path: str, headers: Fields) -> RunningReceipt:
        """For a request that was admitted.

        Raises:
            UsageError: it calls itself a form and is none.
        """


@dataclass(slots=True)
class Shared:
    """What all exchanges of one worker share."""

    keys: KeyRing
    replays: ReplayTable
    engines: Engines
    receipts: Receipts
    buffers: Buffers
    now: Callable[[], float]  # seconds since 1970
    observe: Callable[[int, float], None]  # counts an answer: its HTTP status, and seconds
    memory: RequestMemory
    turn: Turn[Any]  # of the requests that came in one message
    tick_seconds: float = TICK_SECONDS  # between two records of an answer
    # Chunks are opened here, one at a time and within one call of the loop's; it is wiped after each such call.
    opened: memoryview = field(default_factory=lambda: memoryview(bytearray(MAXIMUM_CHUNK)))

    def admit(self, enc: bytes, headers: Fields) -> None:
        """Remember a request that opened.

        Raises:
            DateNotAcceptable, RequestReplayed, TableFull: it is not to be answered.
        """
        try:
            date = parse_date(field_of(headers, "date") or "")
        except MalformedInput as error:
            raise DateNotAcceptable(str(error)) from error
        self.replays.admit(enc, date, now=int(self.now()))

    def not_admitted(self, error: CloisterError) -> Answer:
        """A problem in the form of RFC 9458 section 6.5.2, with the time it is here."""
        fields = (("content-type", problem.MEDIA_TYPE), ("date", date_header(int(self.now()))))
        return Answer(error.status, fields, problem.encode(problem.problem_of(error)))
