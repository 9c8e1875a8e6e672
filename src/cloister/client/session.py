"""A client's session with one service: examine the bundle, encrypt, post, examine the receipt, and only then answer."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Self

from cloister.client.answer_stream import AnswerStream
from cloister.client.clear_answer import is_key_problem, refused_by_gateway
from cloister.client.exchange import NotAdmitted, UserRequest, check_request, open_answer, seal
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import MAXIMUM_ANSWER, MAXIMUM_RECORDS, Relay, RelayUnavailable, Sent
from cloister.client.relay_stream import RelayStream, stream_through
from cloister.client.upload import Upload
from cloister.errors import CloisterError, MalformedInput, TooLarge
from cloister.examination import Examination
from cloister.formats.binary_http import Response
from cloister.formats.key_bundle import parse_key_bundle
from cloister.formats.response_receipt import RequestSummary, StoredReceipt
from cloister.formats.trust_policy import TrustPolicy
from cloister.ohttp.chunked import ResponseOpener
from cloister.ohttp.privacy import STANDARD, STRICT, Privacy
from cloister.trust.bundle import BundleRefused, VerifiedBundle, examine_bundle
from cloister.trust.receipt import Exchange, VerifiedReceipt, examine_receipt

MAXIMUM_PLAIN = 65_536  # bytes of a body that goes in one piece, where it asks for no stream
PATIENCE_SECONDS = 15  # that a request waits for the relay to have a newer bundle
NEWCOMER_SECONDS = 4.0  # before nobody knows a gateway that answered: KMS instances look at the log each second
_NEWCOMER_PAUSE = 0.5  # seconds between bundles that do not know it
_NEWCOMER = frozenset({"receipt.key", "receipt.epoch"})
# What a bundle fails that is of a KMS instance a moment behind the one of before. These checks stand against an older
# log, too: so another is asked for once, and then it is refused.
BEHIND = frozenset({"constitution.rollback", "contract.rollback", "checkpoint.rollback", "epoch.rollback"})
PAUSE_SECONDS = 10  # after a bundle did not come, while the one that is held still serves


class BundleTooOld(BundleRefused):
    """What was held is too old to encrypt to, and nothing newer comes: the relay, the KMS or its log may be down."""

    retry = True

    def __init__(self, check: str, shortfall: str, unavailable: RelayUnavailable) -> None:
        super().__init__(check, f"{shortfall}, and there is no newer one: {unavailable}")


@dataclass(frozen=True, slots=True)
class Held:
    """A bundle that met the trust policy, as it came."""

    data: bytes
    verified: VerifiedBundle
    renew_at: int  # seconds since 1970
    usable_until: int  # as old as the trust policy allows, or the end of the active key

    def outlived(self) -> tuple[str, str]:
        """The check that it fails from `usable_until` on, and what it says then."""
        if self.usable_until == self.verified.keys.active.not_after:
            return "epoch.window", "the key of the bundle that was held is past its window"
        return "checkpoint.age", "the bundle that was held is as old as the trust policy allows"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose receipt was examined, and the receipt to keep."""

    response: Response
    receipt: StoredReceipt
    verified: VerifiedReceipt


class Session:
    """One trust policy, one memory, one relay; any number of requests at a time. Close it, or use `async with`."""

    def __init__(
        self,
        policy: TrustPolicy,
        memory: MemoryFile,
        relay: Relay,
        *,
        privacy: Privacy = STANDARD,
        clock: Callable[[], float] = time.time,  # noqa: TID251 - the outermost place that has one; tests pass another
    ) -> None:
        """`privacy` is how much lengths and times may tell; strict costs time (docs/formats/answer-records.md)."""
        self._policy = policy
        self._memory = memory
        self._relay = relay
        self._privacy = privacy
        self._left: set[asyncio.Task[None]] = set()  # answers that are read on, though nobody wants them
        self._clock = clock
        self._held: Held | None = None
        self._renewing = asyncio.Lock()
        self._renewals = 0  # that ended, well or not
        self._failure: RelayUnavailable | None = None  # of the last of them
        self._paused_until = 0.0  # seconds since 1970

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections to the relay."""
        for reading in self._left:
            reading.cancel()
        await asyncio.gather(*self._left, return_exceptions=True)
        await self._relay.close()

    async def examine(self) -> Examination[VerifiedBundle]:
        """Fetch the bundle now and examine it: every step. A bundle that met the policy is remembered and held.

        Raises:
            RelayUnavailable: no bundle, or what came is none.
            MemoryRefused: the memory file cannot be relied on.
        """
        return self._examine_bundle((await self._relay.bundle()).data)

    def _examine_bundle(self, data: bytes) -> Examination[VerifiedBundle]:
        try:
            bundle = parse_key_bundle(data)
        except (MalformedInput, TooLarge) as error:
            raise RelayUnavailable(f"the relay {self._relay.url} gave no key bundle: {error}") from error
        now = int(self._clock())
        with self._memory.locked() as remembered:
            examination = examine_bundle(bundle, self._policy, remembered, at=now)
            if len(examination.passed) == len(examination.steps):
                verified = examination.require()
                self._memory.store(verified.memory)
                self._held = self._holding(data, verified, now)
        return examination

    async def send(self, request: UserRequest, *, sent: Sent | None = None) -> Answer:
        """Send `request` encrypted to a key proved to be the service's, and return the proved answer.

        It is posted once; again only where the gateway said that it did not open it, or did not take its date. `sent`
        is told how many bytes of how many have left, again from the beginning where it is posted again. A body over
        64 KiB goes in chunks, under strict privacy every one.

        Raises:
            UsageError: a request that cannot travel.
            BundleRefused: the service does not meet the trust policy; nothing left this machine.
            ReceiptRefused, AnswerNotOpened: the answer is not proved; it is not shown.
            RelayUnavailable, NotAdmitted, MemoryRefused: as they say.
        """
        if len(request.body) > MAXIMUM_PLAIN or self._privacy == STRICT:
            async with self.stream(request, sent=sent) as streamed:
                body = b"".join([piece async for piece in streamed])
                return Answer(Response(streamed.status, streamed.headers, body), *streamed.proof())
        summary = check_request(request)
        try:
            return await self._exchange(request, summary, sent, at=int(self._clock()))
        except NotAdmitted as error:
            return await self._exchange(request, summary, sent, at=await _corrected(error))

    @contextlib.asynccontextmanager
    async def stream(
        self, request: UserRequest, body: AsyncIterable[bytes] | None = None, *, sent: Sent | None = None
    ) -> AsyncIterator[AnswerStream]:
        """Send `request` in chunks as `body` comes, and hand the answer on as it comes: `async with`, `async for`.

        Memory stays flat. `body` stands for the request's own; where there is none, `sent` is told as in `send`.
        Leaving the context closes the connection to the relay where the answer has not ended, under strict privacy a
        little later. What the answer's pieces are worth before their end, `AnswerStream` says.

        Raises:
            NotSentAgain: it would have to go again, as in `send`, and more than 1 MiB of `body` is gone.
            AnswerCut: the answer broke off.
            Exception: what `send` raises, and what `body` raises.
        """
        upload = Upload(request, body, sent, privacy=self._privacy)
        async with contextlib.aclosing(upload), contextlib.AsyncExitStack() as connection:
            try:
                answer = await self._streamed(upload, connection, at=int(self._clock()))
            except NotAdmitted as error:
                await connection.aclose()
                at = await _corrected(error)
                upload.require_kept()
                answer = await self._streamed(upload, connection, at=at)
            try:
                yield answer
            finally:
                if answer.goes_on:
                    self._read_on(answer, connection.pop_all())

    def _read_on(self, answer: AnswerStream, connection: contextlib.AsyncExitStack) -> None:
        """Read what is left of an answer in records: when somebody stopped listening is nobody's business."""

        async def read() -> None:
            async with connection:
                with contextlib.suppress(CloisterError):
                    await answer.read_on(self._relay.waits.left_seconds)

        reading = asyncio.get_running_loop().create_task(read())
        self._left.add(reading)
        reading.add_done_callback(self._left.discard)

    async def hold(self) -> Held:
        """A verified bundle, fetched again well before it is too old.

        Raises:
            BundleRefused, RelayUnavailable, MemoryRefused: there is none.
        """
        held, now = self._held, self._clock()
        if held is not None and now < min(max(held.renew_at, self._paused_until), held.usable_until):
            return held
        try:
            return await self._renew(held)
        except RelayUnavailable as error:
            if held is None:
                raise
            if self._clock() >= held.usable_until:
                raise BundleTooOld(*held.outlived(), error) from error
            self._paused_until = self._clock() + PAUSE_SECONDS
            return held  # as fresh as the trust policy demands, still

    async def _exchange(self, request: UserRequest, summary: RequestSummary, sent: Sent | None, *, at: int) -> Answer:
        held = await self.hold()
        sealed = seal(request, summary, held.verified.key_config, at=at)
        reply = await self._relay.post(sealed.data, sent)
        if is_key_problem(reply):
            held = await self._renew(held, other=True)
            sealed = seal(request, summary, held.verified.key_config, at=at)
            reply = await self._relay.post(sealed.data, sent)
        if not reply.is_sealed:
            raise refused_by_gateway(reply)
        opened = open_answer(sealed, reply.body)
        return Answer(opened.response, *await self._proved(held, opened.core, opened.exchange))

    async def _streamed(self, upload: Upload, connection: contextlib.AsyncExitStack, *, at: int) -> AnswerStream:
        """The answer, over `connection`."""
        held = await self.hold()
        relayed, opener = await self._sent(upload, connection, held, at=at)
        if not relayed.is_sealed:
            reply = await relayed.reply()
            await connection.aclose()
            if not is_key_problem(reply):
                raise refused_by_gateway(reply)
            upload.require_kept()
            held = await self._renew(held, other=True)
            relayed, opener = await self._sent(upload, connection, held, at=at)
            if not relayed.is_sealed:
                raise refused_by_gateway(await relayed.reply())

        proved, seconds = functools.partial(self._proved, held), self._relay.waits.upload_seconds
        answer = AnswerStream(relayed, opener, upload, proved, upload_seconds=seconds)
        await answer.begin()
        return answer

    async def _sent(
        self, upload: Upload, connection: contextlib.AsyncExitStack, held: Held, *, at: int
    ) -> tuple[RelayStream, ResponseOpener]:
        pieces, opener = upload.seal(held.verified.key_config, at=at)
        limit = MAXIMUM_ANSWER if upload.privacy == STANDARD else MAXIMUM_RECORDS
        return await connection.enter_async_context(stream_through(self._relay, pieces, limit=limit)), opener

    async def _proved(self, held: Held, core: bytes, exchange: Exchange) -> tuple[StoredReceipt, VerifiedReceipt]:
        examination = examine_receipt(core, exchange, held.verified)
        until, pause = monotonic() + NEWCOMER_SECONDS, 0.0
        while not _NEWCOMER.isdisjoint(examination.failed) and monotonic() < until:
            # A gateway that was certified, or given this key, since: the newest bundle knows of it, or nobody does. One
            # that comes at once may be of a KMS instance that is a moment behind another.
            await asyncio.sleep(pause)
            before, held = held, await self._renew(held, other=True)
            if held.data == before.data:  # also once the relay had had the time to fetch another
                break
            examination = examine_receipt(core, exchange, held.verified)
            pause = _NEWCOMER_PAUSE
        verified = examination.require()
        stored = StoredReceipt(
            core=core, salt=exchange.salt, request=exchange.request, status=exchange.status, bundle=held.data
        )
        return stored, verified

    async def _renew(self, known: Held | None, *, other: bool = False) -> Held:
        """Fetch and examine again, unless another request did so since `known` was held.

        Those who wait meanwhile share its end: one after the other would wait for the same relay many times over.

        Args:
            known: what the caller has.
            other: whether a bundle like `known` is of no use; then the relay is given the time to fetch another.
        """
        renewals = self._renewals
        async with self._renewing:
            if self._held is None or self._held is known:
                if self._failure is not None and self._renewals != renewals:
                    raise RelayUnavailable(str(self._failure)) from self._failure
                await self._fetch(known if other else None)
            held = self._held
        if held is None:  # pragma: no cover - `require` has raised
            raise RelayUnavailable("there is no key bundle")
        return held

    async def _fetch(self, useless: Held | None) -> None:
        """Hold another bundle than the one that is of no use."""
        self._failure = None
        try:
            data, fresh_seconds = await self._relay.bundle()
            if useless is not None and data == useless.data and fresh_seconds <= PATIENCE_SECONDS:
                await asyncio.sleep(fresh_seconds + 1)
                data, fresh_seconds = await self._relay.bundle()
            examination = self._examine_bundle(data)
            if BEHIND.issuperset(examination.failed[:1]) and examination.failed and fresh_seconds <= PATIENCE_SECONDS:
                await asyncio.sleep(fresh_seconds + 1)
                examination = self._examine_bundle((await self._relay.bundle()).data)
            examination.require()
        except RelayUnavailable as error:
            self._failure = error
            raise
        finally:
            self._renewals += 1

    def _holding(self, data: bytes, verified: VerifiedBundle, now: int) -> Held:
        """To be renewed when half of the age it may yet reach has passed."""
        oldest = verified.checkpoint.cosigned_at + self._policy.maximum_state_age_seconds
        usable_until = min(oldest, verified.keys.active.not_after)
        return Held(data, verified, now + max(0, usable_until - now) // 2, usable_until)


async def _corrected(error: NotAdmitted) -> int:
    """The date with which to ask once more, where `error` says that ours was wrong (RFC 9458 section 6.5.2)."""
    if not (error.wrong_date and error.clock):
        raise error
    await asyncio.sleep(1)  # a gateway that started within this second takes the next
    return error.clock + 1
