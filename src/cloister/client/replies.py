"""What a program's HTTP client gets for a request: whole and proved where it is small, else as it comes.

A request that is small and asks for no stream goes in one piece. Any other goes in chunks, and memory stays flat.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cloister.client.answer_stream import AnswerStream
from cloister.client.exchange import UserRequest
from cloister.client.pieces import held_back, may_stream
from cloister.client.receipts import receipt_path, store_receipt
from cloister.client.session import Session
from cloister.formats.binary_http import Fields
from cloister.formats.response_receipt import StoredReceipt

RECEIPT_FILE_HEADER = "cloister-receipt-file"


@dataclass(frozen=True, slots=True)
class Beginning:
    """A request's body as far as it may go in one piece, and whether that is all of it."""

    data: bytes
    whole: bool


def beginning_of(pieces: Iterator[bytes], limit: int) -> Beginning:
    """What `pieces` begins with, `limit` bytes and what came with them; they are not read further."""
    found = bytearray()
    for piece in pieces:
        found += piece
        if len(found) > limit:
            return Beginning(bytes(found), whole=False)
    return Beginning(bytes(found), whole=True)


async def async_beginning_of(pieces: AsyncIterator[bytes], limit: int) -> Beginning:
    """The same of pieces that are waited for."""
    found = bytearray()
    async for piece in pieces:
        found += piece
        if len(found) > limit:
            return Beginning(bytes(found), whole=False)
    return Beginning(bytes(found), whole=True)


async def from_thread(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """`pieces` of a program that has no event loop, each read in a thread: a file may be slow."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


async def _nothing() -> None:
    return


@dataclass(slots=True)
class Reply:
    """An answer. `whole` is its body where it is proved; else `pieces` has it, whose end without an error proves it."""

    status: int
    headers: list[tuple[str, str]]
    whole: bytes | None
    pieces: AsyncIterator[bytes] | None = None
    close: Callable[[], Awaitable[object]] = _nothing  # in any case, once, when nobody reads any more


class Asking:
    """Asks for one program: over one session, its receipts kept in one folder, if in any."""

    def __init__(self, session: Session, receipts: Path | None) -> None:
        self._session = session
        self._receipts = receipts

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def ask(self, request: UserRequest, rest: AsyncIterator[bytes] | None) -> Reply:
        """The answer to `request`, whose body is followed by `rest`, if it is not whole.

        Raises:
            CloisterError: there is none.
        """
        if rest is None and not may_stream(request.body):
            answer = await self._session.send(request)
            headers = await self._kept(answer.response.headers, answer.receipt, _new_name())
            return Reply(answer.response.status, headers, answer.response.body)
        return await self._streamed(request, _continued(request.body, rest))

    async def _streamed(self, request: UserRequest, body: AsyncIterator[bytes]) -> Reply:
        async with contextlib.AsyncExitStack() as stack:
            answer = await stack.enter_async_context(self._session.stream(request, body))
            first = await held_back(answer)
            name = _new_name()
            if answer.receipt is not None:
                headers = await self._kept(answer.headers, answer.receipt, name)
                return Reply(answer.status, headers, first)
            headers = [*answer.headers, *self._named(name)]
            return Reply(answer.status, headers, None, self._pieces(answer, first, name), stack.pop_all().aclose)

    async def _pieces(self, answer: AnswerStream, first: bytes, name: str) -> AsyncIterator[bytes]:
        if first:
            yield first
        async for piece in answer:
            yield piece
        assert answer.receipt is not None  # a stream that ended without an error has one
        await self._kept(answer.headers, answer.receipt, name)

    async def _kept(self, headers: Fields, receipt: StoredReceipt, name: str) -> list[tuple[str, str]]:
        """Keep the receipt; the headers with its place."""
        if self._receipts is not None:
            await asyncio.to_thread(store_receipt, self._receipts, receipt, name=name)
        return [*headers, *self._named(name)]

    def _named(self, name: str) -> list[tuple[str, str]]:
        return [] if self._receipts is None else [(RECEIPT_FILE_HEADER, str(receipt_path(self._receipts, name)))]


def _new_name() -> str:
    """A receipt's: it is told before the receipt is there, and tells nothing of the request."""
    return secrets.token_hex(8)


async def _continued(beginning: bytes, rest: AsyncIterator[bytes] | None) -> AsyncIterator[bytes]:
    yield beginning
    if rest is not None:
        async for piece in rest:
            yield piece
