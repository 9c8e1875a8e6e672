"""The KMS itself: follows the log, keeps one epoch of each contract in life, releases keys, publishes bundles.

One lock serialises everything that reads the log in order to write to it. Serving a bundle takes no lock: it is bytes
that are ready. Everything that counts is in the log before it has an effect here, so an end at any moment leaks no key
and leaves nothing to mend: the next instance begins with the log.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from cloister.attest.evidence import EvidenceRejected
from cloister.attest.seen import SEEN_NOTHING
from cloister.contract.governance import time_awaited
from cloister.contract.release import Asked, ReleaseDecision, ReleaseRefused, examine_publication, examine_release
from cloister.contract.replay import LogRefused
from cloister.contract.state import ContractLine, EpochRecord
from cloister.crypto.hpke import KemPrivateKey
from cloister.endorsements.endorsing import AsCarried, Endorsing
from cloister.errors import Unavailable
from cloister.formats import canonical
from cloister.formats.constitution import parse_constitution
from cloister.formats.contract import parse_contract
from cloister.formats.evidence import Evidence, parse_evidence
from cloister.formats.governance import WitnessedTime
from cloister.formats.release import MAXIMUM_SENT, ReleaseRequest, parse_release_request
from cloister.hosting.challenges import CHALLENGE_SIZE, Challenges
from cloister.ledger.checkpoints import VerifiedCheckpoint
from cloister.ledger.statements import entry_digest, open_statement, sign_statement
from cloister.node.witnessed_clock import WitnessedClock
from cloister.services.kms.bundle import Moment, make_bundle
from cloister.services.kms.epochs import EpochKeys, active_epoch, due_window, next_epoch, own_epochs
from cloister.services.kms.history import Appended, History, Ledger
from cloister.services.kms.instance import Instance
from cloister.services.kms.release import release_entry, release_reply
from cloister.services.kms.vendors import Vendors


def first_contracts(entries: Sequence[bytes]) -> frozenset[bytes]:
    """The identities of the contract lines that begin among `entries`."""
    statements = (open_statement(entry) for entry in entries)
    contracts = (parse_contract(statement.payload) for statement in statements if statement.kind == "contract")
    return frozenset(contract.digest() for contract in contracts if contract.sequence == 0)


def _read(data: bytes) -> tuple[ReleaseRequest, Evidence]:
    request = parse_release_request(data)
    return request, parse_evidence(request.evidence, limit=MAXIMUM_SENT)


class NotServing(Unavailable):
    """The KMS has not started, or its constitution no longer names it."""


@dataclass(frozen=True, slots=True)
class ServedBundle:
    """A bundle's bytes, and the tag that tells it from the next."""

    data: bytes
    tag: str


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
    ) -> None:
        """`genesis` is the entry that the log begins with; `clock` is the host's word, in seconds since 1970.

        Without `endorsing`, evidence has to carry all that it needs.
        """
        security = instance.security
        self._vendors = Vendors(endorsing or AsCarried())
        self._ledger = ledger
        self._instance = instance
        self._genesis = genesis
        self._clock = WitnessedClock(clock)
        first = parse_constitution(open_statement(genesis).payload)
        self._history = History(ledger, genesis=first, clock=self._clock)
        self._keys = EpochKeys()
        self._served: frozenset[bytes] = frozenset()  # identities of contract lines
        self._challenges = Challenges(seconds=security.challenge_seconds, capacity=security.challenges)
        self._bundles: Mapping[bytes, ServedBundle] = {}
        self._active: Mapping[bytes, bytes] = {}  # the active epochs that the bundles show
        self._renewed_at = 0
        self._lock = asyncio.Lock()
        self.started = False
        self.trouble = ""  # why the last attempt to start, or to follow the log, did not come to its end
        self.retired: EvidenceRejected | None = None  # set once the constitution in force no longer names this code

    async def start(self, given: Sequence[bytes] = ()) -> None:
        """Verify the log from its genesis, log the entries `given` that it lacks, show itself, make the epochs due.

        Only the lines of the first contracts among `given` are served: whoever can write to the log can begin a line.

        Raises:
            Refused: the log is another's, or its constitution does not name this KMS; the check says what.
            Unavailable: ledger, witnesses or TEE are down; nothing is lost by starting again.
        """
        self._served = first_contracts(given)
        async with self._lock:
            appended = await self._ledger.append(self._genesis)
            if appended.index != 0:
                raise LogRefused("kms.genesis", "the log begins with another entry")
            await self._history.follow(appended.checkpoint)
            for entry in given:
                await self._log(entry)
            await self._endorse_itself()  # before the checkpoint at whose time it is judged: vendors date what they say
            await self._history.follow(await self._ledger.renew_checkpoint())
            await self._settle()
            self._publish()
            self.started, self.trouble = True, ""

    async def follow(self) -> None:
        """Take in what the log holds now, do what is due, renew the bundles: called on a timer.

        Raises:
            Refused, Unavailable, BadSignature, MalformedInput: as `History.follow`; nothing has changed then.
        """
        self._erase_stale()  # before anything is waited for: a ledger that is down prolongs no key's life
        async with self._lock:
            size = self._history.checkpoint.size
            due = self._now() >= self._renewed_at + self._instance.security.head_seconds
            if due:
                await self._endorse_itself()
            renew = self._ledger.renew_checkpoint if due else self._ledger.checkpoint
            await self._catch_up(await renew())
            if due or size != self._history.checkpoint.size or self._active != self._actives():
                self._publish()

    def challenge(self) -> bytes:
        """A fresh challenge, 32 bytes, for one piece of evidence."""
        self._require_serving()
        challenge = secrets.token_bytes(CHALLENGE_SIZE)
        self._challenges.issue(challenge, at=monotonic())
        return challenge

    async def release(self, data: bytes) -> bytes:
        """Judge a node's request, log the release, and only once it is witnessed give the key away.

        Raises:
            TooLarge, MalformedInput: not a request.
            Refused: names the check; no key left.
            Unavailable: ledger or witnesses are down; no key left.
        """
        self._require_serving()
        request, evidence = await asyncio.to_thread(_read, data)  # a third of a second, of what is made to take long
        challenge = evidence.binding.challenge
        live = self._challenges.use(challenge, at=monotonic())
        line = self._history.state.lines.get(request.contract)
        if line is None or not live:
            asked = Asked(request.contract, request.key_id, evidence, challenge, live, SEEN_NOTHING)
        else:
            policy = line.current.appraisal
            whole = await self._vendors.complete(evidence, policy, at=self._now(), asker=request.contract.hex())
            asked = Asked(request.contract, request.key_id, whole, challenge, live, self._vendors.seen(policy))
        async with self._lock:
            try:
                await self._catch_up(await self._ledger.checkpoint())
            except EvidenceRejected as refusal:  # of this KMS, not of the node
                raise NotServing(f"the constitution in force does not name this KMS: {refusal}") from refusal
            return await self._release(asked)

    def bundle(self, contract: bytes) -> ServedBundle | None:
        """The bundle of the contract line with this digest; None where there is none."""
        return self._bundles.get(contract)

    def missing(self) -> list[str]:
        """What lacks before the KMS can serve, in words."""
        if self.retired is not None:
            return [f"the constitution in force does not name this KMS: {self.retired}"]
        if self.started:
            return []
        return ["the witnessed log, followed to its end" + (f" ({self.trouble})" if self.trouble else "")]

    def unready(self) -> list[str]:
        """What lacks before a release can be made; bundles are served without the log, too."""
        if self.started and self.trouble:
            return [*self.missing(), f"the log and its witnesses: {self.trouble}"]
        return self.missing()

    async def _release(self, asked: Asked) -> bytes:
        decision = await asyncio.to_thread(self._decide, asked)  # of GPUs some tens of milliseconds
        key = self._held(decision)
        self._vendors.met(self._history.state.lines[decision.line].current.appraisal, decision.evidence.seen)
        entry = release_entry(decision, asked.evidence, self._instance.secrets.sign, at=self._now())
        await self._ledger.put_blob(canonical.encode(asked.evidence))
        appended, checkpoint = await self._log(entry)
        published = examine_publication(
            decision,
            entry,
            index=appended.index,
            path=appended.path,
            checkpoint=checkpoint,
            state=self._history.state,
        ).require()
        self._publish()
        return release_reply(published, entry, appended, key)

    def _decide(self, asked: Asked) -> ReleaseDecision:
        return examine_release(self._history.state, asked, instance=self._instance.key, at=self._now()).require()

    def _held(self, decision: ReleaseDecision) -> KemPrivateKey:
        key = self._keys.get(decision.epoch.placed.digest)
        if key is None:
            raise ReleaseRefused("release.epoch", f"the key of epoch {decision.epoch.epoch.number} is erased")
        return key

    async def _catch_up(self, note: bytes) -> None:
        if note != self._history.checkpoint.note:
            await self._history.follow(note)
        await self._settle()

    async def _log(self, entry: bytes) -> tuple[Appended, VerifiedCheckpoint]:
        """Log, then act: returns once this instance has verified and folded the history up to the ledger's answer."""
        appended = await self._ledger.append(entry)
        return appended, await self._history.follow(appended.checkpoint)

    async def _endorse_itself(self) -> None:
        """Have what vendors say for this instance's own evidence, as of now; clients have no other source."""
        policy, instance = self._history.state.constitution.appraisal, self._instance
        shown = instance.collected(self._history.checkpoint, self._history.state.constitution)
        instance.endorsements = await self._vendors.renewed(shown, policy, instance.endorsements, at=self._now())

    async def _settle(self) -> None:
        """Say what the log lacks: this instance under the constitution in force, awaited times, epochs that are due."""
        if self._instance.key not in self._history.state.instances:
            await self._introduce()
        if time_awaited(self._history.state, self._history.checkpoint):
            note = WitnessedTime(note=self._history.checkpoint.note)
            await self._log(sign_statement("time", note, (self._instance.secrets.sign,)))
        for name in self._lines():
            await self._begin_due_epoch(name)
        self._erase_stale()

    def _erase_stale(self) -> None:
        alive = {record.placed.digest for line in self._lines().values() for record in self._own(line)}
        self._keys.erase_all_but(alive)

    async def _introduce(self) -> None:
        try:
            entry = self._instance.introduction(self._history.checkpoint, self._history.state.constitution)
        except EvidenceRejected as refusal:
            if lacking := self._vendors.lacking:  # a vendor that is silent retires nobody
                raise Unavailable(f"{refusal}; {len(lacking)} endorsements lack, see the log") from refusal
            self._keys.erase_all_but(())
            self._bundles, self.retired = {}, refusal
            raise
        await self._log(entry)
        if self._instance.key not in self._history.state.instances:
            raise LogRefused("kms.signature", f"the log does not take this instance: {self._history.state.reason}")

    async def _begin_due_epoch(self, name: bytes) -> None:
        line = self._history.state.lines[name]
        security = self._instance.security
        window = due_window(line, self._own(line), security, at=self._now())
        if window is None:
            return
        key = KemPrivateKey.generate(security.kem)
        epoch = next_epoch(line, window, key.public, kem=security.kem)
        entry = sign_statement("epoch", epoch, (self._instance.secrets.sign,))
        self._keys.hold(entry_digest(entry), key)  # before it is logged: whoever sees it in the log may ask for it
        await self._log(entry)

    def _publish(self) -> None:
        """Make the bundle of every contract that has an active epoch; nothing is awaited, so none is seen half made."""
        log, now = self._history.log, self._now()
        shown = self._instance.evidence(log.checkpoint, log.state.constitution)
        moment = Moment(log, self._instance, shown, now)
        bundles = {}
        for name, line in self._lines().items():
            own = self._own(line)
            active = active_epoch(own, at=now)
            if active is not None:
                data = make_bundle(moment, line, own, active)
                bundles[name] = ServedBundle(data, hashlib.sha256(data).hexdigest()[:32])
        self._bundles, self._active, self._renewed_at = bundles, self._actives(), log.checkpoint.cosigned_at

    def _actives(self) -> Mapping[bytes, bytes]:
        active = {name: active_epoch(self._own(line), at=self._now()) for name, line in self._lines().items()}
        return {name: record.placed.digest for name, record in active.items() if record is not None}

    def _lines(self) -> dict[bytes, ContractLine]:
        lines = self._history.state.lines.items()
        return {name: line for name, line in lines if name in self._served and not line.ended}

    def _own(self, line: ContractLine) -> list[EpochRecord]:
        return own_epochs(line, self._keys, at=self._now())

    def _now(self) -> int:
        """The host's clock, but never before the witnesses' time and what has passed here since it was heard."""
        return int(self._clock())

    def _require_serving(self) -> None:
        if missing := self.missing():
            raise NotServing(f"the KMS is not serving: {missing[0]}")
