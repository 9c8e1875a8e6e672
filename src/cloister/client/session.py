"""A client's session with one service: examine the bundle, encrypt, post, examine the receipt, and only then answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from cloister.client.exchange import NotAdmitted, Opened, Sealed, UserRequest, check_request, open_answer, seal
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay, RelayReply, RelayUnavailable
from cloister.errors import MalformedInput, TooLarge
from cloister.examination import Examination
from cloister.formats.binary_http import Response
from cloister.formats.key_bundle import parse_key_bundle
from cloister.formats.response_receipt import RequestSummary, StoredReceipt
from cloister.formats.trust_policy import TrustPolicy
from cloister.hosting import problem
from cloister.ohttp.encapsulation import PROBLEM_TYPE
from cloister.trust.bundle import VerifiedBundle, examine_bundle
from cloister.trust.receipt import VerifiedReceipt, examine_receipt

PATIENCE_SECONDS = 15  # that a request waits for the relay to have a newer bundle


class KeyNotHeld(RelayUnavailable):
    """The gateway does not open requests to the key of the newest bundle."""


@dataclass(frozen=True, slots=True)
class Held:
    """A bundle that met the trust policy, as it came."""

    data: bytes
    verified: VerifiedBundle
    renew_at: int  # seconds since 1970
    usable_until: int  # as old as the trust policy allows, or the end of the active key


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
        clock: Callable[[], float] = time.time,  # noqa: TID251 - the outermost place that has one; tests pass another
    ) -> None:
        self._policy = policy
        self._memory = memory
        self._relay = relay
        self._clock = clock
        self._held: Held | None = None
        self._renewing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections to the relay."""
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

    async def send(self, request: UserRequest) -> Answer:
        """Send `request` encrypted to a key proved to be the service's, and return the proved answer.

        It is posted once; again only where the gateway said that it did not open it, or did not take its date.

        Raises:
            UsageError: a request that cannot travel.
            BundleRefused: the service does not meet the trust policy; nothing left this machine.
            ReceiptRefused, AnswerNotOpened: the answer is not proved; it is not shown.
            RelayUnavailable, NotAdmitted, MemoryRefused: as they say.
        """
        summary = check_request(request)
        try:
            return await self._exchange(request, summary, at=int(self._clock()))
        except NotAdmitted as error:
            if not (error.wrong_date and error.clock):
                raise
            # RFC 9458 section 6.5.2: a client may ask again with the gateway's date. A gateway that started within
            # this second takes the next.
            await asyncio.sleep(1)
            return await self._exchange(request, summary, at=error.clock + 1)

    async def hold(self) -> Held:
        """A verified bundle, fetched again well before it is too old.

        Raises:
            BundleRefused, RelayUnavailable, MemoryRefused: there is none.
        """
        held = self._held
        if held is not None and self._clock() < held.renew_at:
            return held
        try:
            return await self._renew(held)
        except RelayUnavailable:
            if held is None or self._clock() >= held.usable_until:
                raise
            return held  # as fresh as the trust policy demands, still

    async def _exchange(self, request: UserRequest, summary: RequestSummary, *, at: int) -> Answer:
        held = await self.hold()
        sealed = seal(request, summary, held.verified.key_config, at=at)
        reply = await self._relay.post(sealed.data)
        if _is_key_problem(reply):
            held = await self._renew(held, other=True)
            sealed = seal(request, summary, held.verified.key_config, at=at)
            reply = await self._relay.post(sealed.data)
        return await self._proved(held, sealed, reply)

    async def _proved(self, held: Held, sealed: Sealed, reply: RelayReply) -> Answer:
        if not reply.is_sealed:
            raise _refused_by_gateway(reply)
        opened = open_answer(sealed, reply.body)
        examination = _examine(opened, held)
        if "receipt.key" in examination.failed:
            # A gateway that was certified since: the newest bundle knows it, or nobody does.
            held = await self._renew(held, other=True)
            examination = _examine(opened, held)
        verified = examination.require()
        stored = StoredReceipt(
            core=opened.core,
            salt=opened.exchange.salt,
            request=sealed.summary,
            status=opened.response.status,
            bundle=held.data,
        )
        return Answer(opened.response, stored, verified)

    async def _renew(self, known: Held | None, *, other: bool = False) -> Held:
        """Fetch and examine again, unless another request did so since `known` was held.

        Args:
            known: what the caller has.
            other: whether a bundle like `known` is of no use; then the relay is given the time to fetch another.
        """
        async with self._renewing:
            if self._held is None or self._held is known:
                data, fresh_seconds = await self._relay.bundle()
                if other and known is not None and data == known.data and fresh_seconds <= PATIENCE_SECONDS:
                    await asyncio.sleep(fresh_seconds + 1)
                    data, _ = await self._relay.bundle()
                self._examine_bundle(data).require()
            held = self._held
        if held is None:  # pragma: no cover - `require` has raised
            raise RelayUnavailable("there is no key bundle")
        return held

    def _holding(self, data: bytes, verified: VerifiedBundle, now: int) -> Held:
        """To be renewed when half of the age it may yet reach has passed."""
        oldest = verified.checkpoint.cosigned_at + self._policy.maximum_state_age_seconds
        usable_until = min(oldest, verified.keys.active.not_after)
        return Held(data, verified, now + max(0, usable_until - now) // 2, usable_until)


def _examine(opened: Opened, held: Held) -> Examination[VerifiedReceipt]:
    return examine_receipt(opened.core, opened.exchange, held.verified)


def _is_key_problem(reply: RelayReply) -> bool:
    found = _problem(reply)
    return found is not None and found.type == PROBLEM_TYPE


def _problem(reply: RelayReply) -> problem.Problem | None:
    if reply.media_type != problem.MEDIA_TYPE:
        return None
    try:
        return problem.parse(reply.body)
    except (MalformedInput, TooLarge):
        return None


def _refused_by_gateway(reply: RelayReply) -> RelayUnavailable | TooLarge:
    """What an answer that is not sealed means. Anyone on the way can have written it: its words are not repeated."""
    if _is_key_problem(reply):
        return KeyNotHeld("the gateway does not hold the key of the newest bundle; try again in a few seconds")
    if reply.status == 413:
        return TooLarge(
            "the relay or gateway does not take a request this large: cut or compress the file, and send less at once"
        )
    return RelayUnavailable(f"no sealed answer came back: the relay or gateway answered {reply.status}")
