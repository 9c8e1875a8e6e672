"""The log as this instance has verified it: replayed entry by entry, under a checkpoint that witnesses cosigned.

The ledger is the truth and nothing of this is stored. What counts as the log, `contract.replay` decides; this module
fetches what it needs for that, and remembers the last log that held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cloister.contract.fold import Opening
from cloister.contract.replay import LogRefused, ReplayedLog, examine_first_log, examine_growth
from cloister.contract.state import State
from cloister.crypto.merkle import inclusion_path
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.checkpoint import parse_checkpoint, parse_note
from cloister.formats.constitution import Constitution
from cloister.ledger.checkpoints import VerifiedCheckpoint, check_log_signature
from cloister.ledger.statements import open_statements
from cloister.node.witnessed_clock import WitnessedClock
from cloister.services.kms.opening import open_on_all_processors

PAGE = 1024  # entries asked for at once: as many as a ledger gives
FEW = 64  # entries that are opened here and now; more go to all processors, and nobody waits for them


class Appended(Protocol):
    """The ledger's answer to an entry: where it stands, under a checkpoint that witnesses cosigned."""

    @property
    def index(self) -> int:
        """From 0."""

    @property
    def checkpoint(self) -> bytes:
        """The cosigned note."""

    @property
    def path(self) -> tuple[bytes, ...]:
        """The inclusion path under it."""


@dataclass(frozen=True, slots=True)
class Proven:
    """An `Appended` of our own making."""

    index: int
    checkpoint: bytes
    path: tuple[bytes, ...]


class Ledger(Protocol):
    """What the KMS asks of the ledger. Every call raises `Unavailable` where the ledger or its witnesses are down."""

    async def append(self, entry: bytes) -> Appended:
        """Log `entry`; the same bytes again get the same index."""

    async def entries(self, start: int, end: int) -> Sequence[bytes]:
        """Entries `start` to `end` (excluded), or fewer of them, at least one."""

    async def checkpoint(self) -> bytes:
        """The latest cosigned note."""

    async def renew_checkpoint(self) -> bytes:
        """The latest note, cosigned now."""

    async def put_blob(self, data: bytes) -> bytes:
        """Keep `data`; its SHA-256."""

    async def get_blob(self, digest: bytes) -> bytes:
        """The blob of this SHA-256; `PeerRefused` where there is none."""


class History:
    """What the log says, up to the last checkpoint that held."""

    def __init__(self, ledger: Ledger, *, genesis: Constitution, clock: WitnessedClock) -> None:
        """`clock` hears when each checkpoint that held was witnessed."""
        self._ledger = ledger
        self._genesis = genesis
        self._log: ReplayedLog | None = None
        self._clock = clock
        self._turn = asyncio.Lock()  # one goes further at a time; the others find that they need not

    @property
    def log(self) -> ReplayedLog:
        """The log up to the checkpoint. `follow` comes first."""
        if self._log is None:
            raise ValueError("no checkpoint was followed yet")
        return self._log

    @property
    def size(self) -> int:
        """The number of entries that were followed."""
        return 0 if self._log is None else self._log.checkpoint.size

    @property
    def state(self) -> State:
        """What the entries add up to."""
        return self.log.state

    @property
    def checkpoint(self) -> VerifiedCheckpoint:
        """The checkpoint that covers exactly these entries."""
        return self.log.checkpoint

    async def follow(
        self, note: bytes, *, seen: int | None = None, own: Mapping[int, bytes] | None = None
    ) -> VerifiedCheckpoint:
        """Go to the checkpoint that `note` is, if it continues the log and the constitution's witnesses cosigned it.

        A note of the same size with older cosignatures is verified, and the newer one kept; one that others have left
        behind since the ledger was asked, when `seen` entries were known here, is not looked at. What the ledger says
        to have logged of this process's `own` entries is not fetched again: the root tells whether it is so.

        Raises:
            LogRefused: names the step; nothing has changed then.
            Unavailable: the ledger does not give its entries.
        """
        seen = self.size if seen is None else seen
        async with self._turn:
            size = self._announced_size(note)
            if self._log is not None and (note == self._log.checkpoint.note or seen <= size < self.size):
                return self._log.checkpoint
            return await self._follow(note, size, own or {})

    async def _follow(self, note: bytes, size: int, own: Mapping[int, bytes]) -> VerifiedCheckpoint:
        lacking = range(self.size, size)
        entries = [own[at] for at in lacking] if own.keys() >= {*lacking} else await self._fetch(self.size, size)
        if len(entries) <= FEW:
            log = self._examined(self._log, entries, note, open_statements)
        else:
            log = await asyncio.to_thread(self._examined, self._log, entries, note, open_on_all_processors)
        if self._log is None or _age(log.checkpoint) > _age(self._log.checkpoint):
            self._log = log
            self._clock.hear(log.checkpoint.cosigned_at)
        return log.checkpoint

    def proven(self, appended: Appended) -> tuple[Appended, VerifiedCheckpoint]:
        """Where an entry stands, under the checkpoint that holds here: the ledger's, or one after it."""
        log = self.log
        if log.checkpoint.note == appended.checkpoint or appended.index >= self.size:
            return appended, log.checkpoint
        path = inclusion_path(appended.index, self.size, log.tree.subtree)
        return Proven(appended.index, log.checkpoint.note, path), log.checkpoint

    def _examined(
        self, known: ReplayedLog | None, entries: Sequence[bytes], note: bytes, opening: Opening
    ) -> ReplayedLog:
        if known is None:
            return examine_first_log(entries, note, genesis=self._genesis.digest(), opening=opening).require()
        return examine_growth(known, entries, note, opening=opening).require()

    def _announced_size(self, note: bytes) -> int:
        """The size in a note that the log signed: nothing is fetched on anyone else's word. Its key never changes."""
        try:
            parsed = parse_note(note)
            check_log_signature(parsed, self._genesis.log)
            return parse_checkpoint(parsed.text).size
        except (BadSignature, MalformedInput, TooLarge) as error:
            raise LogRefused("checkpoint.signature", str(error)) from error

    async def _fetch(self, start: int, end: int) -> list[bytes]:
        entries: list[bytes] = []
        while start + len(entries) < end:
            at = start + len(entries)
            page = await self._ledger.entries(at, min(end, at + PAGE))
            if not 0 < len(page) <= min(PAGE, end - at):
                raise LogRefused("kms.log", f"the ledger does not give the entries from {at} on")
            entries += page
        return entries


def _age(checkpoint: VerifiedCheckpoint) -> tuple[int, int]:
    return checkpoint.size, checkpoint.cosigned_at
