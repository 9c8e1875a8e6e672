"""Requests and answers that pass through the proxy piece by piece: its memory stays flat, whatever their size."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from cloister.client.answer_stream import AnswerStream
from cloister.client.exchange import UserRequest
from cloister.client.pieces import held_back, is_events
from cloister.client.receipts import receipt_path, store_receipt
from cloister.client.session import Session
from cloister.errors import CloisterError
from cloister.formats.binary_http import Fields
from cloister.hosting.http_body import Body
from cloister.hosting.http_exchange import CutAnswer, Response
from cloister.hosting.http_message import Headers
from cloister.services.proxy import openai_error

RECEIPT_FILE_HEADER = b"cloister-receipt-file"


async def answer_in_pieces(
    session: Session, request: UserRequest, body: AsyncIterator[bytes], receipts: Path
) -> Response:
    """The engine's answer: whole where it is small and no stream of events, else as it comes.

    Its receipt is kept in `receipts`. Where that is, is told beforehand; the file is there when the answer has ended.

    Raises:
        CloisterError: there is no answer.
    """
    async with contextlib.AsyncExitStack() as stack:
        answer = await stack.enter_async_context(session.stream(request, body))
        first = await held_back(answer)
        name = secrets.token_hex(8)
        headers = shown_headers(answer.headers, receipt_path(receipts, name))

        async def keep() -> None:
            await asyncio.to_thread(store_receipt, receipts, answer.proof()[0], name=name)

        if answer.receipt is not None:
            await keep()
            return Response(answer.status, headers, first)
        close = stack.pop_all().aclose  # now the server's, when the answer is out
    return Response(answer.status, headers, _pieces(answer, first, keep), close=close)


async def _pieces(answer: AnswerStream, first: bytes, keep: Callable[[], Awaitable[None]]) -> AsyncIterator[bytes]:
    """The answer as it comes; one that is not proved at its end is cut off."""
    whole_event = True  # nothing of an event was sent whose end was not
    try:
        if first:
            yield first
        async for piece in answer:
            yield piece
            whole_event = piece.endswith(b"\n\n")
        await keep()
    except CloisterError as error:
        if is_events(answer):
            yield (b"" if whole_event else b"\n\n") + openai_error.event_of(error)
        raise CutAnswer(str(error)) from error


async def beginning_of(body: Body, limit: int) -> tuple[bytes, bool]:
    """The body's first `limit` bytes and what came with them, and whether that is all of it."""
    pieces: list[bytes] = []
    size = 0
    while size <= limit:
        data = await body.receive()
        if not data:
            return b"".join(pieces), True
        pieces.append(data)
        size += len(data)
    return b"".join(pieces), False


async def continued(beginning: bytes, body: Body) -> AsyncIterator[bytes]:
    """The whole body, of which the beginning was read."""
    if beginning:
        yield beginning
    async for data in body:
        yield data


def shown_headers(headers: Fields, receipt: Path) -> Headers:
    """An answer's headers, and where its receipt is."""
    shown = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return [*shown, (RECEIPT_FILE_HEADER, str(receipt).encode())]
