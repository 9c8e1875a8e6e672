"""The KMS itself: follows the log, keeps one epoch of each contract in life, releases keys, publishes bundles.

One lock serialises what an instance does by itself and once: introductions, epochs, roots, certificates, handovers. No
other instance is waited for under it, and no release: several share a turn of the ledger. As between instances, what
each of them may have is decided on the log as it was, and counts by the log as it became. Everything that counts is in
the log before it has an effect here, so an end at any moment leaks no key and leaves nothing to mend: the next instance
begins with the log, and with the keys that other instances hand over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from time import monotonic

from cloister.attest.evidence import EvidenceRejected
from cloister.contract.asset_release import AssetsAsked
from cloister.contract.epochs import active_epoch
from cloister.contract.handover import AskedByInstance
from cloister.contract.identity_release import IdentityAsked
from cloister.contract.release import Asked
from cloister.contract.replay import LogRefused
from cloister.endorsements.endorsing import AsCarried, Endorsing
from cloister.errors import Unavailable
from cloister.formats.constitution import parse_constitution
from cloister.ledger.statements import open_statement
from cloister.node.identity_tls import HeldIdentity
from cloister.node.witnessed_clock import WitnessedClock
from cloister.services.kms.asset_release import release_assets
from cloister.services.kms.bundle import ServedBundle
from cloister.services.kms.custody import Custody
from cloister.services.kms.desk import Desk
from cloister.services.kms.due_epochs import DueEpochs
from cloister.services.kms.epochs import EpochKeys
from cloister.services.kms.handover import Peer, give
from cloister.services.kms.history import History, Ledger
from cloister.services.kms.identities import Identities
from cloister.services.kms.instance import Instance
from cloister.services.kms.presence import Presence
from cloister.services.kms.publications import Publications
from cloister.services.kms.release import release
from cloister.services.kms.requests import read_assets, read_handover, read_identity_request, read_release
from cloister.services.kms.sealed_roots import SealedCopy
from cloister.services.kms.standing import Standing, first_contracts
from cloister.services.kms.taking_over import TakingOver
from cloister.services.kms.vendors import Vendors


class NotServing(Unavailable):
    """The KMS has not started, or its constitution no longer names it."""


class Kms:
    """One KMS instance."""

    def __init__(
        self,
        ledger: Ledger,
        instance: Instance,
        *,
        genesis: bytes,
        clock: Callable[[], int],
        endorsing: Endorsing | None = None,
        peers: Sequence[Peer] = (),
    ) -> None:
        """`genesis` is the entry that the log begins with; `clock` is the host's word, in seconds since 1970.

        Without `endorsing`, evidence has to carry all that it needs. `peers` are the other instances.
        """
        witnessed = WitnessedClock(clock)
        first = parse_constitution(open_statement(genesis).payload)
        history = History(ledger, genesis=first, clock=witnessed)
        vendors = Vendors(endorsing or AsCarried())
        self._standing = Standing(ledger, instance, history, witnessed, EpochKeys(), vendors)
        self._security = instance.security
        self._genesis = genesis
        self._desk = Desk(self._standing)
        self._taking = TakingOver(self._standing, peers)
        sealed = SealedCopy(instance.sealed_roots, instance.tee, genesis=first.digest())
        self._custody = Custody(self._standing, sealed)
        self._identities = Identities(self._standing, self._custody)
        self._publications = Publications(self._standing, self._custody)
        self._presence = Presence(self._standing, self._taking.lost, self._publications.withdraw)
        self._due = DueEpochs(self._standing, self._taking.lost)
        self._lock = asyncio.Lock()
        self._spending = asyncio.Lock()  # uses of assets: the log takes an instance's by their numbers, one by one
        self._looked_at = -1.0  # by a monotonic clock: when the latest look at the log began
        self.started = False
        self.trouble = ""  # why the last attempt to start, or to follow the log, did not come to its end

    async def start(self, given: Sequence[bytes] = ()) -> None:
        """Verify the log from its genesis, log the entries `given` that it lacks, show itself, get or make keys.

        Only the lines of the first contracts among `given` are served: whoever can write to the log can begin a line.

        Raises:
            Refused: the log is another's, or its constitution does not name this KMS; the check says what.
            Unavailable: ledger, witnesses or TEE are down; nothing is lost by starting again.
        """
        standing = self._standing
        standing.served = first_contracts(given)
        async with self._lock:
            appended = await standing.ledger.append(self._genesis)
            if appended.index != 0:
                raise LogRefused("kms.genesis", "the log begins with another entry")
            await standing.history.follow(appended.checkpoint)
            for entry in given:
                await standing.log(entry)
            await (
                self._presence.endorse()
            )  # before the checkpoint at whose time it is judged: vendors date what they say
            await standing.history.follow(await standing.ledger.renew_checkpoint())
            await self._presence.settle(started=self.started)
        await self._taking.ask(self._lock)
        await self._custody.recover(self._lock)
        async with self._lock:
            await self._custody.settle()
            await self._due.begin()
            self._publications.publish()
            self.started, self.trouble = True, ""

    async def follow(self) -> None:
        """Take in what the log holds now, do what is due, renew the bundles: called on a timer.

        Raises:
            EvidenceRejected: this instance was retired, and the time in which it hands over is past.
            Refused, Unavailable, BadSignature, MalformedInput: as `History.follow`; nothing has changed then.
        """
        standing = self._standing
        standing.erase_stale()  # before anything is waited for: a ledger that is down prolongs no key's life
        async with self._lock:
            due = self._is_due()
            if due and self.retired is None:
                await self._presence.endorse()
            await self._catch_up(renew=due)
            if self.retired is None:
                await standing.log_refusals()
        if self.retired is not None:
            self._presence.end_in_time(self.retired)
            return
        await self._taking.ask(self._lock)
        await self._custody.recover(self._lock)
        async with self._lock:
            await self._custody.settle()
            await self._due.begin()
            if due or not self._publications.are_of(standing.history.checkpoint.size):
                self._publications.publish()

    def challenge(self) -> bytes:
        """A fresh challenge, 32 bytes, for one piece of evidence."""
        self._require_started()
        return self._desk.challenge()

    async def release(self, data: bytes) -> bytes:
        """Judge a node's request, log the release, and only once it is witnessed give the key away.

        Raises:
            TooLarge, MalformedInput: not a request.
            Refused: names the check; no key left.
            Unavailable: ledger or witnesses are down; no key left.
        """
        self._require_serving()
        request, evidence = await asyncio.to_thread(
            read_release, data
        )  # a third of a second, of what is made to take long
        asked = Asked(request.contract, request.key_id, *await self._desk.shown(request.contract, evidence))
        async with self._where_the_log_is():
            await self._due.begin()
        return self._answered(await release(self._standing, asked))

    async def release_assets(self, data: bytes) -> bytes:
        """Judge a node's request for assets, log the use, and only once it is witnessed and counts give them away.

        Raises:
            TooLarge, MalformedInput: not a request.
            Refused: names the check; nothing left.
            Unavailable: ledger, witnesses or the root secret are not there; nothing left.
        """
        self._require_serving()
        request, evidence = await asyncio.to_thread(read_assets, data)
        shown = await self._desk.shown(request.contract, evidence)
        asked = AssetsAsked(request.contract, request.assets, *shown)
        async with self._where_the_log_is():
            await self._custody.settle()
        async with self._spending:
            return self._answered(await release_assets(self._standing, asked))

    async def identity(self, data: bytes) -> bytes:
        """Judge a node's request for a certificate, log the identity, and only once it is witnessed issue it.

        Raises:
            TooLarge, MalformedInput: not a request.
            Refused: names the check; nothing was issued.
            Unavailable: ledger, witnesses or the root secret are not there; nothing was issued.
        """
        self._require_serving()
        request, evidence = await asyncio.to_thread(read_identity_request, data)
        shown = await self._desk.shown(request.contract, evidence)
        asked = IdentityAsked(request.contract, request.key, request.proof, *shown)
        async with self._where_the_log_is():
            return self._answered(await self._identities.issue(asked))

    async def own_identity(self, line: bytes) -> HeldIdentity:
        """A certificate for this instance itself, in a line that it serves; raises as `identity`."""
        async with self._where_the_log_is():
            own = await self._identities.of_itself(line)
        self._publications.note()
        return own

    @property
    def retired(self) -> EvidenceRejected | None:
        """Why the constitution in force does not name this code any more, once it does not."""
        return self._presence.retired

    def served(self) -> frozenset[bytes]:
        """The lines that this instance can speak for now."""
        return frozenset(self._standing.lines()) if self.started and self.retired is None else frozenset()

    def now(self) -> float:
        """The witnessed time, in seconds since 1970."""
        return self._standing.clock()

    async def handover(self, data: bytes) -> bytes:
        """Judge another instance's request, log the handover, and only once it is witnessed give keys away.

        Raises:
            TooLarge, MalformedInput: not a request.
            Refused: names the check; no key left.
            Unavailable: ledger or witnesses are down; no key left.
        """
        self._require_started()
        standing = self._standing
        request, evidence = await asyncio.to_thread(read_handover, data)
        asked = AskedByInstance(request, *await self._desk.shown_by_instance(evidence))
        async with self._lock:
            await self._catch_up()
            standing.erase_stale()
            return await give(standing, asked)

    def intake(self, contract: bytes) -> bytes | None:
        """What owners examine of the line with this digest before they seal anything; None where it has no root."""
        return self._publications.intake(contract)

    async def intake_for_owners(self, contract: bytes) -> bytes | None:
        """As `intake`; the owner who asks first in a line that has no root secret yet has it made.

        A contract does not say whether its model is sealed, so a line whose model is public gets no root unasked. Who
        asks need not be an owner: it is one entry in the life of a line, and anybody may read what it says.

        Raises:
            Refused, Unavailable: the log takes nothing now.
        """
        line = self._standing.lines().get(contract)
        if line is not None and line.custody.latest is None and line.current.assets:
            async with self._where_the_log_is():
                await self._custody.have_root(contract)
            self._publications.publish()
        return self.intake(contract)

    def bundle(self, contract: bytes) -> ServedBundle | None:
        """The bundle of the contract line with this digest; None where there is none."""
        return self._publications.bundle(contract)

    def missing(self) -> list[str]:
        """What lacks before the KMS can serve, in words."""
        if self.retired is not None:
            return [f"the constitution in force does not name this KMS: {self.retired}"]
        if not self.started:
            return ["the witnessed log, followed to its end" + (f" ({self.trouble})" if self.trouble else "")]
        return []

    def unready(self) -> list[str]:
        """What lacks before a release can be made; bundles are served without the log, too."""
        missing = self.missing()
        if self.started and self.trouble:
            missing.append(f"the log and its witnesses: {self.trouble}")
        if not missing and (keyless := self._keyless()):
            reason = self._taking.in_vain or "it is being made"
            missing.append(f"the transport key of {keyless} contract lines: {reason}")
        return missing

    @contextlib.asynccontextmanager
    async def _where_the_log_is(self) -> AsyncIterator[None]:
        """The lock, and the log as it was when this was called or later; who waited for it together looked together."""
        arrived = monotonic()
        async with self._lock:
            if self._looked_at < arrived:
                looking = monotonic()
                await self._catch_up()
                self._looked_at = looking
            self._require_serving()
            yield

    def _answered(self, reply: bytes) -> bytes:
        """What was logged for this reply is in the next bundles; it leaves without waiting for them."""
        if self.retired is None:
            self._publications.note()
        return reply

    async def _catch_up(self, *, renew: bool = False) -> None:
        """Follow the log to where it is, its checkpoint cosigned now where `renew` says so."""
        ledger, history = self._standing.ledger, self._standing.history
        seen = history.checkpoint.size  # before asking: releases that are under way follow it further meanwhile
        await history.follow(await (ledger.renew_checkpoint() if renew else ledger.checkpoint()), seen=seen)
        if self.retired is None:
            await self._presence.settle(started=self.started)

    def _is_due(self) -> bool:
        """Whether a fresh checkpoint is wanted: in its time, or since an epoch begins or ends, of which it tells."""
        standing = self._standing
        now, then = standing.now(), standing.history.checkpoint.cosigned_at
        return now >= self._publications.renewed_at + self._security.head_seconds or any(
            active_epoch(line, at=now) != active_epoch(line, at=then) for line in standing.lines().values()
        )

    def _keyless(self) -> int:
        """How many contracts in force have no bundle here."""
        now, lines = self._standing.now(), self._standing.lines()
        valid = {name for name, line in lines.items() if line.current.not_before <= now < line.current.not_after}
        return len(valid.difference(self._publications.lines))

    def _require_started(self) -> None:
        if not self.started:
            raise NotServing(f"the KMS is not serving: {self.missing()[0]}")

    def _require_serving(self) -> None:
        if missing := self.missing():
            raise NotServing(f"the KMS is not serving: {missing[0]}")
