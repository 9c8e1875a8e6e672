"""Which requests go in pieces, and how much of an answer waits for its proof: the same for proxy and transports."""

from __future__ import annotations

from cloister.client.answer_stream import AnswerStream

STREAM = b"stream"  # a body that has this word may ask for one; a body in pieces is answered in pieces
PROVED_FIRST = 2**20  # bytes of an answer that is no stream of events, which are held back until it is proved
EVENTS = "text/event-stream"


def may_stream(body: bytes) -> bool:
    """Whether a request with this whole body may be answered with a stream."""
    return STREAM in body


def is_events(answer: AnswerStream) -> bool:
    """Whether it is a stream of events, each of which is worth something by itself."""
    return dict(answer.headers).get("content-type", "").partition(";")[0].strip().lower() == EVENTS


async def held_back(answer: AnswerStream) -> bytes:
    """What waits for the proof: nothing of a stream of events, else the first pieces; all where they end proved."""
    size = 0 if is_events(answer) else PROVED_FIRST
    pieces: list[bytes] = []
    while answer.receipt is None and size > 0:
        try:
            pieces.append(await anext(answer))
        except StopAsyncIteration:
            break
        size -= len(pieces[-1])
    if answer.receipt is not None:
        pieces += [piece async for piece in answer]
    return b"".join(pieces)
