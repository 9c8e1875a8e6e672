"""An answer that is handed on while it arrives, and proved at its end (docs/formats/response-receipt.md).

Each piece comes out of a chunk that opened; that it belongs to a whole and proved answer is known when the iteration
ends without an error, and not before. What comes with the last chunk is handed on only after everything held.

Under strict privacy the answer is taken out of its records first. What comes with the end of the content waits for the
last record: who reads on only to there, and leaves, would tell where that was.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable

from cloister.client.exchange import AnswerNotOpened, carried, require_admitted, shown
from cloister.client.relay import RelayUnavailable
from cloister.client.relay_stream import MAXIMUM_PROBLEM, RelayStream
from cloister.client.upload import Upload
from cloister.crypto.hpke import OpenFailed
from cloister.errors import CloisterError, MalformedInput, TooLarge
from cloister.formats.binary_http import Fields, Response
from cloister.formats.binary_http_stream import ResponseDecoder
from cloister.formats.response_receipt import RECEIPT_HEADER, SALT_HEADER, StoredReceipt
from cloister.hosting import problem
from cloister.ohttp.chunked import ResponseOpener, Truncated
from cloister.ohttp.privacy import STRICT
from cloister.ohttp.records import BrokenOff, RecordReader
from cloister.trust.receipt import Exchange, VerifiedReceipt

Proof = tuple[StoredReceipt, VerifiedReceipt]
Prove = Callable[[bytes, Exchange], Awaitable[Proof]]


class AnswerCut(RelayUnavailable):
    """The answer ended before its end: what was handed on of it is no whole answer."""


class AnswerStream(AsyncIterator[bytes]):
    """An answer's status and headers, its pieces as they come, and its receipt once the last one came."""

    def __init__(
        self, relayed: RelayStream, opener: ResponseOpener, upload: Upload, prove: Prove, *, upload_seconds: float
    ) -> None:
        """`upload_seconds` is what a request that the gateway answered may still take to end.

        The answer is expected in records where the request, `upload`, asked for them.
        """
        self.status = 0
        self.headers: Fields = ()
        self._proof: Proof | None = None
        self._failed: CloisterError | None = None
        self._relayed = relayed
        self._opener = opener
        self._upload = upload
        self._prove = prove
        self._upload_seconds = upload_seconds
        self._records = RecordReader() if upload.privacy == STRICT else None
        self._decoder = ResponseDecoder()
        self._last: list[bytes] = []  # pieces that wait for the proof
        self._digest = hashlib.sha256()
        self._pieces: list[bytes] = []  # that are to be handed on

    @property
    def receipt(self) -> StoredReceipt | None:
        """The receipt to keep, once everything held."""
        return None if self._proof is None else self._proof[0]

    def proof(self) -> Proof:
        """The receipt to keep, and what it proves; of an answer that was read to its end."""
        assert self._proof is not None  # the iteration ended without an error
        return self._proof

    async def begin(self) -> None:
        """Wait for the head.

        Raises:
            NotAdmitted: the gateway opened the request and did not take it.
            AnswerNotOpened, ReceiptRefused, RelayUnavailable: as they say.
        """
        while self._decoder.head is None:
            await self._receive()
        head = self._decoder.head
        if dict(head.headers).get("content-type") == problem.MEDIA_TYPE:
            # Only its end says whether a gateway wrote it, which then did not take the request, or an engine.
            while not self._decoder.ended:
                if sum(map(len, [*self._pieces, *self._last])) > MAXIMUM_PROBLEM:
                    raise AnswerNotOpened("the answer is not one: a problem of more than 64 KiB")
                await self._receive()
        self.status, self.headers = head.status, shown(head.headers)

    @property
    def goes_on(self) -> bool:
        """Whether records are still to come of a request that is out, and nothing is wrong with those that came."""
        sent, over = self._upload.summary is not None, self._proof is not None or self._failed is not None
        return self._records is not None and sent and not over

    async def read_on(self, seconds: float) -> None:
        """Read records that nobody wants, to the last one where the content ends within `seconds`.

        Raises:
            CloisterError: they break off, or are none.
        """
        assert self._records is not None  # `goes_on`
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._records.content_ended:
                    await self._receive()
        while self._records.content_ended and self._proof is None:
            await self._receive()

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self._proof is not None:
                raise StopAsyncIteration
            if self._failed is not None:
                raise self._failed  # an end that was refused stays refused, however often it is asked for
            try:
                await self._receive()
            except CloisterError as error:
                self._failed = error
                raise
        return self._pieces.pop(0)

    async def _receive(self) -> None:
        """Open what has arrived; at the end, prove everything before the last pieces are handed on."""
        data = await self._relayed.receive()
        try:
            pieces = self._last + self._open(data)
            if self._decoder.ended:
                await self._require_proof(pieces)
        except Truncated as error:
            raise AnswerCut("the answer was cut on its way: what came of it is not whole") from error
        except BrokenOff as error:
            raise AnswerCut(str(error)) from error
        except (MalformedInput, TooLarge, ValueError) as error:
            raise AnswerNotOpened(f"the answer is not one: {error}") from error
        except OpenFailed as error:
            raise AnswerNotOpened(f"the answer does not open: {error}") from error
        waits = self._records is not None and self._records.content_ended and not self._decoder.ended
        self._last = pieces if waits else []
        self._pieces += [] if waits else pieces

    def _open(self, data: bytes) -> list[bytes]:
        opened = self._opener.feed(data) if data else self._opener.end()
        pieces = self._decoder.feed(opened if self._records is None else self._records.feed(opened))
        if not data:
            if self._records is not None:
                self._records.end()
            self._decoder.end()
        for piece in pieces:
            self._digest.update(piece)
        return pieces

    async def _require_proof(self, last: list[bytes]) -> None:
        head = self._decoder.head
        if head is None:
            raise MalformedInput("it ends before its head does")
        fields = head.headers + self._decoder.trailers
        require_admitted(Response(head.status, fields, b"".join([*self._pieces, *last])))
        core, salt = (carried(fields, name) for name in (RECEIPT_HEADER, SALT_HEADER))
        summary = await self._upload.read_whole(self._upload_seconds)
        if summary is None:
            raise AnswerNotOpened("the answer came before all of the request was sent, and proves nothing of it")
        self._proof = await self._prove(core, Exchange(summary, head.status, self._digest.digest(), salt))
