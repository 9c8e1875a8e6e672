"""One speech file's request: whole or streamed, told of as it goes, asked again where the service has no room."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from cloister.client.exchange import UserRequest
from cloister.client.session import Session
from cloister.client.transcript_events import TranscriptEvents
from cloister.client.transcription import (
    ServiceBusy,
    ServiceFailed,
    ServiceRefused,
    Wishes,
    transcribed,
    transcribed_text,
    transcription_request,
)
from cloister.errors import MalformedInput, TooLarge, Unavailable
from cloister.formats.binary_http import Response
from cloister.formats.response_receipt import StoredReceipt

TRIES = 5  # of a request that the service had no room for


class StreamBroken(Unavailable):
    """The events of an answer ended before the transcription did."""


class Watcher(Protocol):
    """Is told how far a request is."""

    def sent(self, done: int, total: int) -> None:
        """So many bytes of so many have left."""

    def reached(self, seconds: float, duration: float) -> None:
        """The service has heard so many seconds of the audio's."""

    def heard(self, words: str) -> None:
        """It has recognised these; they are proved when the whole answer is."""

    def waits(self, seconds: float) -> None:
        """The service has no room; it is asked again after `seconds`."""


@dataclass(frozen=True, slots=True)
class Proved:
    """An answer whose receipt was examined; an error of the service's may be one."""

    response: Response
    receipt: StoredReceipt
    streamed_text: str = ""  # of an answer that came as events

    def text(self) -> str:
        """The words alone.

        Raises:
            ServiceRefused, ServiceBusy, ServiceFailed: it is an error, told in the service's words.
        """
        transcribed(self.response)
        return self.streamed_text or transcribed_text(self.response)


async def ask(session: Session, audio: bytes, wishes: Wishes, watcher: Watcher) -> Proved:
    """The proved answer to a request for the text of `audio`.

    Raises:
        ServiceFailed: the events of a stream broke off.
        CloisterError: as `Session.send` and `Session.stream`.
    """
    request = transcription_request(audio, wishes)
    exchange = _streamed if wishes.stream else _whole
    for _ in range(TRIES - 1):
        try:
            proved = await exchange(session, request, watcher)
            transcribed(proved.response)
        except ServiceBusy as busy:
            watcher.waits(busy.wait)
            await asyncio.sleep(busy.wait)
        except (ServiceRefused, ServiceFailed):
            return proved  # that an error came is proved, too, and told once its receipt is kept
        else:
            return proved
    return await exchange(session, request, watcher)


async def _whole(session: Session, request: UserRequest, watcher: Watcher) -> Proved:
    answer = await session.send(request, sent=watcher.sent)
    return Proved(answer.response, answer.receipt)


async def _streamed(session: Session, request: UserRequest, watcher: Watcher) -> Proved:
    events, pieces = TranscriptEvents(), []
    async with session.stream(request, sent=watcher.sent) as answer:
        async for piece in answer:
            pieces.append(piece)
            if answer.status == 200:
                _hear(events, piece, watcher)
    response = Response(answer.status, answer.headers, b"".join(pieces))
    if answer.status == 200 and events.text is None:
        raise StreamBroken(f"the service broke off its answer: {events.trouble or 'without a word why'}")
    return Proved(response, answer.proof()[0], events.text or "")


def _hear(events: TranscriptEvents, piece: bytes, watcher: Watcher) -> None:
    try:
        for words in events.feed(piece):
            watcher.heard(words)
        if events.duration:
            watcher.reached(events.heard, events.duration)
    except (MalformedInput, TooLarge) as error:
        raise StreamBroken(f"the service's events are none: {error}") from error
