"""One of several ledger processes on a database: numbers entries while it leads, else passes them on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import Protocol

from cloister.crypto.signing import SigningKey
from cloister.errors import Unavailable
from cloister.formats.checkpoint import parse_checkpoint, parse_note
from cloister.formats.ledger_batch import RefusedEntry
from cloister.formats.ledger_messages import Appended
from cloister.services.ledger.election import Election, Terms
from cloister.services.ledger.sequencer import Placed, Sequencer
from cloister.services.ledger.witnessed_log import Cosigners, Store
from cloister.storage.ledger_store import StoredCheckpoint


class Peer(Protocol):
    """The front end that leads, as another calls it."""

    async def append(self, entry: bytes) -> Appended:
        """Log an entry there."""

    async def append_all(self, entries: Sequence[bytes]) -> list[Appended | RefusedEntry]:
        """Log several there."""

    async def renew_checkpoint(self) -> bytes:
        """Have the checkpoint cosigned there."""


Reach = Callable[[str], AbstractAsyncContextManager[Peer]]  # a client of the front end at this URL


class FrontEnd(Sequencer):
    """A sequencer that works while it leads. What it shows is what a quorum cosigned, whoever numbered it."""

    others_show = True

    def __init__(
        self, origin: str, key: SigningKey, store: Store, cosigners: Cosigners, *, terms: Terms, reach: Reach
    ) -> None:
        super().__init__(origin, key, store, cosigners)
        self._terms = terms
        self._reach = reach
        self._reached = AsyncExitStack()
        self._peers: dict[str, Peer] = {}  # by URL; as many as there were front ends
        self._election: Election | None = None
        self._followed_at = 0.0  # by a monotonic clock: when the latest look at the database began

    async def enter(self, *, seconds: float) -> None:
        """Read the log and take part in the election, in which a term lasts `seconds` by itself.

        Raises:
            CorruptStore: what is stored is not what was cosigned; nothing is served.
            Unavailable: the database cannot be read.
        """
        await self.follow()
        self._election = Election(self._terms, self, seconds=seconds)
        await self._election.start()

    async def leave(self) -> None:
        """End; what waits is told to come back, and another takes over."""
        if self._election is not None:
            await self._election.stop()
        await self._reached.aclose()

    async def take_over(self) -> None:
        """Read the log to its end, compare it with the witnesses before anything is stored, and number entries."""
        self._compared = False
        async with self._publishing:
            await self.start()

    async def step_down(self) -> None:
        """Number no more entries; what waits is told to come back."""
        await self.stop()
        self._trouble = ""

    async def follow(self) -> None:
        """Read what was logged since the last time."""
        began = monotonic()
        async with self._publishing:
            await self._recover()
        self._followed_at = began

    async def fresh(self) -> None:
        """Have read what any front end had acknowledged when this was called."""
        arrived = monotonic()
        if self._leads:
            return
        async with self._publishing:
            if self._followed_at < arrived:
                began = monotonic()
                await self._recover()
                self._followed_at = began

    def missing(self) -> list[str]:
        """What lacks before an entry can be logged, in words."""
        if self._election is not None and self._election.trouble:
            return [f"a front end that leads: {self._election.trouble}"]
        return super().missing()

    def quiet_for(self) -> float:
        """Seconds since a quorum cosigned a checkpoint of this process; renewing is the leader's."""
        return super().quiet_for() if self._leads else 0.0

    async def append(self, entry: bytes) -> Appended:
        """Number and store `entry` here or where entries are numbered; see `Sequencer.append`."""
        if self._leads:
            return await super().append(entry)
        async with self._leader() as leader:
            return await leader.append(entry)

    async def append_all(self, entries: Sequence[bytes]) -> Placed:
        """As `append`, for several; see `Sequencer.append_all`."""
        if self._leads:
            return await super().append_all(entries)
        if not entries:
            return Placed(_stored(await self.renew()), (), ())
        async with self._leader() as leader:
            return _placed(await leader.append_all(entries))

    async def renew(self) -> bytes:
        """The latest checkpoint with cosignatures made after this call began."""
        if self._leads:
            return await super().renew()
        async with self._leader() as leader:
            return await leader.renew_checkpoint()

    @property
    def _leads(self) -> bool:
        return self._election is not None and self._election.leads

    @asynccontextmanager
    async def _leader(self) -> AsyncIterator[Peer]:
        """Whoever leads, asked of the database each time: two that pass on to each other would never end.

        Raises:
            Unavailable: nobody does, for the moment.
        """
        leader = await self._terms.leader()
        if leader.over or leader.url == self._terms.url:
            raise Unavailable("no front end of this ledger leads at the moment; another takes over within seconds")
        if leader.url not in self._peers:
            self._peers[leader.url] = await self._reached.enter_async_context(self._reach(leader.url))
        yield self._peers[leader.url]


def _placed(answers: Sequence[Appended | RefusedEntry]) -> Placed:
    """Where the entries of one batch stand.

    Raises:
        Unavailable: the front end that leads refused one that was taken here: it is of another version.
    """
    taken = [answer for answer in answers if isinstance(answer, Appended)]
    if len(taken) != len(answers) or len({answer.checkpoint for answer in taken}) != 1:
        raise Unavailable("the front end that leads answered otherwise than this one would")
    indices, paths = tuple(answer.index for answer in taken), tuple(answer.path for answer in taken)
    return Placed(_stored(taken[0].checkpoint), indices, paths)


def _stored(note: bytes) -> StoredCheckpoint:
    checkpoint = parse_checkpoint(parse_note(note).text)
    return StoredCheckpoint(checkpoint.size, checkpoint.root, note)
