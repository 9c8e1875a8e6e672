"""Where one KMS instance stands: the log as it has verified it, the keys that it holds, and the time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from cloister.contract.custody_records import RootRecord
from cloister.contract.epochs import active_epoch, living_epochs
from cloister.contract.node_request import Shown
from cloister.contract.state import ContractLine, EpochRecord, State
from cloister.errors import Unavailable
from cloister.formats.contract import parse_contract
from cloister.formats.refusal import Wanted
from cloister.ledger.checkpoints import VerifiedCheckpoint
from cloister.ledger.statements import open_statement, sign_statement
from cloister.node.witnessed_clock import WitnessedClock
from cloister.services.kms.epochs import EpochKeys
from cloister.services.kms.history import Appended, History, Ledger
from cloister.services.kms.instance import Instance
from cloister.services.kms.refusals import Failed, Refusals, refused_evidence
from cloister.services.kms.roots import RootSecrets, in_use_of
from cloister.services.kms.vendors import Vendors


def first_contracts(entries: Sequence[bytes]) -> frozenset[bytes]:
    """The identities of the contract lines that begin among `entries`."""
    statements = (open_statement(entry) for entry in entries)
    contracts = (parse_contract(statement.payload) for statement in statements if statement.kind == "contract")
    return frozenset(contract.digest() for contract in contracts if contract.sequence == 0)


FORESEEN = 60  # seconds: by how much a clock may be ahead of the witnesses' beside the age of what they stated


@dataclass(slots=True)
class Standing:
    """Shared by what an instance does.

    Whoever writes to the log once, on what it reads here, holds the instance's lock; what is judged again where the log
    took it (a release, a use, a refusal) need not.
    """

    ledger: Ledger
    instance: Instance
    history: History
    clock: WitnessedClock
    keys: EpochKeys
    vendors: Vendors
    roots: RootSecrets = field(default_factory=RootSecrets)
    refusals: Refusals = field(default_factory=Refusals)
    refusing: asyncio.Lock = field(default_factory=asyncio.Lock)
    served: frozenset[bytes] = frozenset()  # identities of contract lines

    @property
    def state(self) -> State:
        """What the log adds up to."""
        return self.history.state

    def now(self) -> int:
        """The host's clock, but never before the witnesses' time and what has passed here since it was heard."""
        return int(self.clock())

    def dated(self) -> int:
        """The time, to be written where others will go by it: not far beyond what witnesses stated last.

        Raises:
            Unavailable: the host's clock is ahead of theirs, or their word is old.
        """
        now, stated = self.now(), self.history.checkpoint.cosigned_at
        if now > stated + 2 * self.instance.security.head_seconds + FORESEEN:
            raise Unavailable(
                f"this machine's clock is {now - stated} s beyond what the witnesses stated last: set it right, or wait"
                " until they answer"
            )
        return now

    def lines(self) -> dict[bytes, ContractLine]:
        """The contract lines that are served and that nobody ended, by their identities."""
        lines = self.state.lines
        served = (name for name in sorted(self.served) if name in lines)
        return {name: lines[name] for name in served if not lines[name].ended}

    def counts(self) -> bool:
        """Whether the log takes this instance's word now."""
        return self.instance.key in self.state.instances

    def active(self, line: ContractLine) -> EpochRecord | None:
        """The epoch in use at the checkpoint, if its key is held here: the same at every instance that shows one."""
        active = active_epoch(line, at=self.history.checkpoint.cosigned_at)
        return active if active is not None and active.placed.digest in self.keys else None

    def lacking(self) -> list[EpochRecord]:
        """The living epochs whose keys are not held here."""
        living = (record for line in self.lines().values() for record in living_epochs(line, at=self.now()))
        return [record for record in living if record.placed.digest not in self.keys]

    def lacking_roots(self) -> list[RootRecord]:
        """The roots in use whose secrets are not held here."""
        in_use = (record for line in self.lines().values() for record in in_use_of(line))
        return [record for record in in_use if self.roots.get(record) is None]

    def erase_stale(self) -> None:
        """Drop every key that is not of a living epoch, and take in those of epochs that have come to life."""
        self.keys.settle(tuple(self.lines().values()), at=self.now())

    async def log(self, entry: bytes) -> tuple[Appended, VerifiedCheckpoint]:
        """Log, then act: returns once this instance has verified and folded the history up to the ledger's answer.

        Raises:
            Refused, Unavailable: as `History.follow`.
        """
        seen = self.history.size
        appended = await self.ledger.append(entry)
        await self.history.follow(appended.checkpoint, seen=seen, own={appended.index: entry})
        return self.history.proven(appended)

    async def log_refusal(self, asked: Shown, failed: Failed, wanted: Wanted) -> None:
        """Say in the log that a node gets nothing: one that answered a challenge, for a line that is served.

        Raises:
            TooMuch: more come than the log takes: it is counted, and the node is not to be told why.
            Refused, Unavailable: as `log`.
        """
        if asked.challenge_live and asked.contract in self.lines():
            self.refusals.note(refused_evidence(asked.contract, asked.evidence, wanted, failed, at=self.now()))
            await self.log_refusals()

    async def log_refusals(self) -> None:
        """Say in the log who got nothing; what cannot be logged now waits for the next look.

        Raises:
            Refused, Unavailable: as `log`.
        """
        async with self.refusing:
            self.refusals.settle()
            while (refusal := self.refusals.first()) is not None:
                await self.log(sign_statement("refusal", refusal, (self.instance.secrets.sign,)))
                self.refusals.logged()
