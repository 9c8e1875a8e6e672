"""Several peers that can do the same: one is asked, and the next where that cannot answer."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Final, Generic, Self, TypeVar

from cloister.errors import CloisterError, Unavailable, UsageError
from cloister.hosting.breaker import Breaker
from cloister.hosting.tls import PeerTls
from cloister.peers.exchange import Answer, Asker, Exchange, Request

Peer_co = TypeVar("Peer_co", covariant=True)
T = TypeVar("T")

FAILURES: Final = 1  # in a row, after which a peer is left alone for a moment while others answer


def is_unavailable(error: CloisterError) -> bool:
    """Whether another peer may answer where this one raised `error`: what one refuses, all would."""
    return isinstance(error, Unavailable)


class Failover(Generic[Peer_co]):
    """The peers in the order in which they are asked: the one that answered last comes first.

    One call asks each peer at most once, so that n peers are asked n times for what one cannot answer, and no more.
    One that could not be reached is left out for a moment, as long as others are not.
    """

    def __init__(self, peers: Sequence[Peer_co], *, now: Callable[[], float] = monotonic) -> None:
        """`now` is a monotonic clock, in seconds.

        Raises:
            UsageError: there is none.
        """
        if not peers:
            raise UsageError("name at least one address")
        self._peers = list(peers)
        self._breakers = [Breaker(FAILURES) for _ in peers]
        self._first = 0
        self._now = now

    def __len__(self) -> int:
        return len(self._peers)

    async def ask(
        self,
        call: Callable[[Peer_co], Awaitable[T]],
        *,
        passes_on: Callable[[CloisterError], bool] = is_unavailable,
    ) -> T:
        """What the first peer answers to `call` that can; `passes_on` says after which errors the next is asked.

        Raises:
            CloisterError: the first error that was not passed on; where all were, the first that is no `Unavailable`,
                or else the first of them.
        """
        errors: list[CloisterError] = []
        for place in self._order():
            try:
                answer = await call(self._peers[place])
            except CloisterError as error:
                self._note(place, error)
                if not passes_on(error):
                    raise
                errors.append(error)
            else:
                self._breakers[place].passed()
                self._first = place
                return answer
        raise next((error for error in errors if not is_unavailable(error)), errors[0])

    def _order(self) -> list[int]:
        number = len(self._peers)
        turns = [(self._first + step) % number for step in range(number)]
        now = self._now()
        whole = [place for place in turns if not self._breakers[place].is_open(now)]
        return whole or turns

    def _note(self, place: int, error: CloisterError) -> None:
        if is_unavailable(error):
            self._breakers[place].failed(self._now())
        else:
            self._breakers[place].passed()


class FailoverExchange(Asker):
    """As `Exchange`, with peers that hold the same: for requests that may be sent again to another."""

    def __init__(self, name: str, urls: Sequence[str], *, seconds: float, peers: PeerTls | None = None) -> None:
        """`urls` are the prefixes of all of them; `seconds` bound the exchange with each.

        Raises:
            UsageError: as `Exchange`; there is none.
        """
        self._exchanges = [Exchange(name, url, seconds=seconds, peers=peers) for url in urls]
        self._failover = Failover(self._exchanges)
        self._entered = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        for exchange in self._exchanges:
            await self._entered.enter_async_context(exchange)
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self._entered.aclose()

    async def answer(self, request: Request) -> Answer:
        """As `Exchange.answer`, of the first peer that can answer."""
        return await self._failover.ask(lambda one: one.answer(request))

    def broken(self, error: CloisterError) -> Unavailable:
        """As `Exchange.broken`."""
        return self._exchanges[0].broken(error)
