"""Three witnesses, a ledger and a KMS, each on a machine of its own that may die: production code over real disks.

What is not production code here are the links between them and the clocks. Everyone who reads an answer is an observer
and hands what it saw to a `Model`, which says what must never be.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
from tests.doubles.crashes import ALWAYS, Crash, Ending, Machine
from tests.doubles.durable_model import Model, head_of, require
from tests.doubles.kms_system import SECURITY, AskingNode, WorldTee

from cloister.attest.evidence import EvidenceRejected
from cloister.crypto.ml_dsa import MlDsaKey
from cloister.crypto.signing import SigningKey
from cloister.errors import Refused, Unavailable
from cloister.formats import canonical
from cloister.formats.appraisal_policy import RoleReference
from cloister.formats.constitution import Constitution, Log
from cloister.formats.contract import Contract
from cloister.formats.handover import parse_handover_reply
from cloister.formats.key_bundle import parse_key_bundle
from cloister.formats.release import Revocation, parse_epoch, parse_release_reply
from cloister.ledger.cosignatures import WitnessKeys
from cloister.ledger.statements import entry_digest, open_statement, sign_statement
from cloister.node.keys import NodeSecrets
from cloister.services.kms.instance import Instance
from cloister.services.kms.kms import Kms
from cloister.services.kms.security import security_settings as kms_settings
from cloister.services.ledger.quorum import Quorum
from cloister.services.ledger.sequencer import Sequencer
from cloister.services.ledger.turns import SMALL
from cloister.services.witness.witness import Witnessing
from cloister.storage.database import Database
from cloister.storage.ledger_store import LedgerStore
from cloister.storage.witness_store import WitnessStore
from cloister.testing import world
from cloister.trust.bundle import examine_bundle
from cloister.trust.memory import first_contact

ORIGIN = "log.test/cloister"
HOUR = 3600  # seconds
WITNESSES, QUORUM = 3, 2
OF_TIME = {"checkpoint.time", "checkpoint.age", "epoch.window"}  # what a clock that is wrong may fail


class StoresLate(LedgerStore):
    """A cosigned checkpoint takes longer to the disk than an answer takes to leave."""

    async def publish(self, checkpoint):
        for _ in range(12):
            await asyncio.sleep(0)
        await super().publish(checkpoint)


class Variant:
    """How the parts are made. A test plants a bug by overriding one of these."""

    synchronous = ALWAYS
    database = Database

    def store(self, database) -> LedgerStore:
        return StoresLate(database)

    def sequencer(self, key, store, quorum) -> Sequencer:
        return Sequencer(ORIGIN, key, store, quorum)

    def witnessing(self, name, keys, log, store, clock) -> Witnessing:
        return Witnessing(name, keys, {log.origin: log}, store, clock=clock)

    def instance(self, tee) -> Instance:
        return Instance(tee, NodeSecrets.generate(), SECURITY)

    def kms(self, ledger, instance, genesis, clock, peers) -> Kms:
        return Kms(ledger, instance, genesis=genesis, clock=clock, peers=peers)


class Clocks:
    """The true time, moved by hand, and by how much each machine's own clock is wrong."""

    def __init__(self) -> None:
        self.now = world.NOON
        self.wrong: dict[str, int] = {}

    def of(self, machine: str) -> Callable[[], int]:
        return lambda: self.now + self.wrong.get(machine, 0)


class WitnessMachine(Machine):
    """A witness; what leaves it is shown to the model."""

    def __init__(self, number: int, system: DurableSystem) -> None:
        super().__init__(f"witness{number}", system.folder)
        self._system = system
        self._keys = WitnessKeys(SigningKey.generate(), MlDsaKey.generate() if number == 0 else None)
        self.witness = self._keys.named(f"{self.name}.test")

    async def start(self) -> None:
        self.begin()
        store = WitnessStore(
            await self.database(
                "witness", synchronous=self._system.variant.synchronous, kind=self._system.variant.database
            )
        )
        clock = self._system.clocks.of(self.name)
        self._witnessing = self._system.variant.witnessing(
            self.witness.name, self._keys, self._system.log, store, clock
        )

    async def add_checkpoint(self, request):
        async def answer():
            lines = await self._witnessing.add_checkpoint(request)
            self._system.model.saw_cosignature(self.witness, lines, request.note)
            return lines

        return await self._system.ledger.ask(self, "a cosignature", answer)


class LedgerMachine(Machine):
    """The ledger, and how others reach it."""

    def __init__(self, system: DurableSystem) -> None:
        super().__init__("ledger", system.folder)
        self._system = system
        self.key = SigningKey.generate()
        self.sequencer: Sequencer | None = None

    async def start(self) -> None:
        await self.abandon()
        self.begin()
        variant = self._system.variant
        self._database = await self.database("ledger", synchronous=variant.synchronous, kind=variant.database)
        store = variant.store(self._database)
        quorum = Quorum([(machine.witness, machine) for machine in self._system.witnesses], needed=QUORUM)
        self._blobs = self.blobs()
        self.sequencer = variant.sequencer(self.key, store, quorum)
        try:
            await store.claim(ORIGIN, self.key.public)
            await self.sequencer.start()
        except Crash:
            return

    async def abandon(self) -> None:
        """End what still runs of a dead life."""
        sequencer, self.sequencer = self.sequencer, None
        if sequencer is not None:
            with contextlib.suppress(Crash):
                await sequencer.stop()

    async def end(self) -> None:
        """End in good order."""
        await self.abandon()
        with contextlib.suppress(Crash):
            await self._database.close()
            self.stop()

    def put_blob(self, data: bytes) -> bytes:
        return self._blobs.put(data)

    def blob(self, digest: bytes) -> bytes | None:
        return self._blobs.get(digest)


class ReachedLedger:
    """The ledger's calls, over a link on which either end may die."""

    def __init__(self, system: DurableSystem, asker: Machine | None) -> None:
        self._system = system
        self._asker = asker

    async def append(self, entry):
        appended = await self._call("an append", lambda: self._sequencer.append(entry))
        self._system.model.saw_append(entry, appended)
        return appended

    async def append_all(self, entries):
        placed = await self._call("a batch", lambda: self._sequencer.append_all(entries))
        self._system.model.saw_batch(entries, placed.indices, placed.paths, placed.checkpoint.note)

    async def entries(self, start, end):
        return await self._call("entries", lambda: self._sequencer.entries(start, end, limit=2**20))

    async def checkpoint(self):
        async def latest():
            return self._sequencer.cosigned.note

        return self._seen(await self._call("the checkpoint", latest))

    async def renew_checkpoint(self):
        async def fresh():
            return await self._sequencer.renew()

        return self._seen(await self._call("a renewal", fresh))

    async def put_blob(self, data):
        async def put():
            return self._system.ledger.put_blob(data)

        digest = await self._call("a blob's storage", put)
        self._system.model.saw_blob(digest, data)
        return digest

    def _seen(self, note):
        self._system.model.saw_checkpoint(note)
        return note

    @property
    def _sequencer(self):
        return self._system.ledger.sequencer

    async def _call(self, what, work):
        if self._asker is None:
            return await self._system.ledger.serve(what, work)
        return await self._asker.ask(self._system.ledger, what, work)


class ReachedInstance:
    """Another instance's calls, over a link on which either end may die, and which may be cut."""

    def __init__(self, system: DurableSystem, asker: KmsMachine, name: str) -> None:
        self._system = system
        self._asker = asker
        self._name = name

    async def challenge(self):
        async def challenge():
            return self._other.kms.challenge()

        return await self._asker.ask(self._other, "a challenge", challenge)

    async def handover(self, request):
        async def handover():
            return await self._other.kms.handover(canonical.encode(request))

        reply = parse_handover_reply(await self._asker.ask(self._other, "a handover", handover))
        self._system.model.saw_handover(reply.entry)
        return reply

    @property
    def _other(self) -> KmsMachine:
        if frozenset({self._asker.name, self._name}) in self._system.cut:
            raise Unavailable(f"{self._name} cannot be reached")
        return next(one for one in self._system.instances if one.name == self._name)


class KmsMachine(Machine):
    """An instance of the KMS: it has no disk, and each life has keys of its own."""

    def __init__(self, name: str, system: DurableSystem) -> None:
        super().__init__(name, system.folder)
        self._system = system
        self.followed_at = 0  # by its own clock
        self.workload = world.WORKLOAD  # the version of the code that runs in this life

    async def start(self) -> None:
        """Begin a life; it serves once ledger and witnesses let it, now or at a later `follow`.

        Of the version that its operator knows to be in force. It ends at once where that is no longer so.
        """
        self.begin()
        system = self._system
        self.workload = system.constitution.kms.workloads[-1]
        instance = system.variant.instance(WorldTee(system.parties.platform, workload=self.workload))
        system.model.saw_instance(instance.key, self.workload)
        ledger = ReachedLedger(system, self)
        others = [ReachedInstance(system, self, one.name) for one in system.instances if one is not self]
        self.kms = system.variant.kms(ledger, instance, system.genesis, system.clocks.of(self.name), others)
        try:
            await self.kms.start([system.contract_entry])
        except (Unavailable, Crash):
            return
        except EvidenceRejected:
            self.end()

    async def follow(self) -> None:
        """What its timer does. A version that was retired ends where its time is over."""
        now = self._system.clocks.of(self.name)()
        try:
            if not self.kms.started:
                await self.kms.start([self._system.contract_entry])
            await self.kms.follow()
        except EvidenceRejected:
            self.end()
            raise
        self.followed_at = now

    def end(self) -> None:
        """The process ends by itself."""
        require(not self.kms._standing.keys.held(), "a version that is retired ended with keys in its memory")
        if self.alive:
            self.arm(None)
            self.crash()


class DurableSystem:
    """All of it, and what outsiders do with it. Outsiders live as long as the test."""

    def __init__(self, folder: Path, variant: Variant | None = None, *, instances: int = 1) -> None:
        """With so many `instances` of the KMS, which know each other."""
        self.folder = folder
        self.cut: set[frozenset[str]] = set()  # pairs of them that cannot reach each other
        self.variant = variant or Variant()
        self.clocks = Clocks()
        self.witnesses = [WitnessMachine(number, self) for number in range(WITNESSES)]
        self.ledger = LedgerMachine(self)
        names = ["kms", *(f"kms{number}" for number in range(2, instances + 1))]
        self.instances = [KmsMachine(name, self) for name in names]
        self.log = Log(origin=ORIGIN, key=self.ledger.key.public)
        self.model = Model(self.log, [machine.witness for machine in self.witnesses], QUORUM)
        self._write_papers()
        self._memories = {name: first_contact(self.policy.constitution) for name in names}
        self._amendment: Contract | None = None  # that may be in the log or not
        self._successor: Constitution | None = None  # likewise
        self._said = self._versions = 0

    @property
    def machines(self) -> dict[str, WitnessMachine | LedgerMachine | KmsMachine]:
        machines: list[WitnessMachine | LedgerMachine | KmsMachine] = [*self.witnesses, self.ledger, *self.instances]
        return {machine.name: machine for machine in machines}

    def _write_papers(self) -> None:
        world_ = world.World()
        self.parties = world_.parties
        self._signers = (self.parties.owner, self.parties.operator)
        self.tee = WorldTee(self.parties.platform)  # of nodes; instances of the KMS have their version's
        digest = kms_settings(SECURITY, unsafe=("UnsafeAllowSoftwareTee",)).digest()
        reference = RoleReference(role="kms", workloads=(world.WORKLOAD,), settings=(digest,))
        witnesses = tuple(machine.witness for machine in self.witnesses)
        constitution = world_.make_constitution(kms=reference, log=self.log, witnesses=witnesses, quorum=QUORUM)
        self.constitution = constitution
        self.genesis = sign_statement("constitution", constitution, self._signers)
        self.contract = world_.make_contract(
            constitution=constitution.digest(), not_after=world.NOON + 1000 * world.DAY
        )
        self.contract_entry = sign_statement("contract", self.contract, self._signers)
        self.policy = world_.policy(constitution=constitution.digest(), contract=self.contract.digest())

        self.line = self.contract.digest()

    def instance(self, name: str = "kms") -> KmsMachine:
        """The machine of an instance of the KMS."""
        return next(one for one in self.instances if one.name == name)

    async def start(self, name: str) -> None:
        """Begin a life of a machine that is dead; what is armed may end it at once."""
        await self.machines[name].start()

    async def start_all(self) -> None:
        for machine in self.machines.values():
            if not machine.alive:
                await machine.start()

    async def restart_the_ledger(self) -> None:
        """Stop it as `cloister down` does, and start it."""
        if self.ledger.alive:
            await self.ledger.end()
            await self.ledger.start()

    async def settle(self) -> None:
        """Let go what still runs of machines that died."""
        if not self.ledger.alive:
            await self.ledger.abandon()
        await asyncio.sleep(0)

    # What outsiders do. True where it was answered.

    async def append(self, entry: bytes | None = None) -> bool:
        """A party logs a statement: a new one, or one again."""
        return await self._answered(ReachedLedger(self, None).append(entry or self._noise()))

    async def append_batch(self, again: Sequence[bytes] = ()) -> bool:
        """A party logs many by one request, some of them `again`, and one twice."""
        fresh = [self._noise() for _ in range(SMALL)]
        return await self._answered(ReachedLedger(self, None).append_all([*fresh, *again, fresh[0]]))

    async def leave_a_batch(self, after: int) -> None:
        """A party sends many, and has left before they are answered, or only just not."""
        sending = asyncio.create_task(self.append_batch())
        for _ in range(after):
            await asyncio.sleep(0)
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending

    def _noise(self) -> bytes:
        """A new statement, which counts for nothing."""
        self._said += 1
        revocation = Revocation(contract=self.line, target=hashlib.sha256(b"%d" % self._said).digest(), reason="noise")
        return sign_statement("revocation", revocation, (self.parties.owner,))

    async def renew(self) -> bool:
        return await self._answered(ReachedLedger(self, None).renew_checkpoint())

    async def amend(self) -> bool:
        """The parties put a successor of the contract into force."""
        contract = self._amendment or msgspec.structs.replace(
            self.contract, sequence=self.contract.sequence + 1, previous=self.contract.digest()
        )
        self._amendment = contract
        answered = await self.append(sign_statement("contract", contract, self._signers))
        if answered:
            self.contract, self._amendment = contract, None
        return answered

    async def name_another_version(self, *, beside: bool) -> bool:
        """As `change_the_constitution`, to another version of the KMS; `beside` the one before, or in its place."""
        self._versions += 1
        another = hashlib.sha384(b"version %d" % self._versions).digest()
        before = self.constitution.kms.workloads[-1:] if beside else ()
        kms = msgspec.structs.replace(self.constitution.kms, workloads=(*before, another))
        return await self.change_the_constitution(kms=kms)

    async def upgrade(self, name: str) -> None:
        """The operator ends an instance whose version is not the newest, and starts that."""
        machine = self.instance(name)
        if machine.alive and machine.workload == self.constitution.kms.workloads[-1]:
            return
        self.lose_power((name,))
        await machine.start()

    async def change_the_constitution(self, **changes: object) -> bool:
        """Its amenders put a successor into force; where it names the same code, every instance shows itself again."""
        successor = self._successor or msgspec.structs.replace(
            self.constitution, sequence=self.constitution.sequence + 1, previous=self.constitution.digest(), **changes
        )
        self._successor = successor
        answered = await self.append(sign_statement("constitution", successor, self._signers))
        if answered:
            self.constitution, self._successor = successor, None
        return answered

    async def revoke_the_epoch(self) -> bool:
        """A party takes back the epoch that some instance shows."""
        shown = [epoch for one in self.instances if (epoch := self._epoch_entry(one.name))]
        if not shown:
            return False
        revocation = Revocation(contract=self.line, target=entry_digest(shown[0]), reason="lost")
        return await self.append(sign_statement("revocation", revocation, (self.parties.owner,)))

    async def follow(self, name: str = "kms") -> bool:
        """An instance's timer goes off."""
        machine = self.instance(name)
        return await self._answered(machine.serve("its timer", machine.follow))

    async def ask_for_the_key(self, name: str = "kms", *, before: int = 0) -> bool:
        """A fresh gateway asks for the key of the epoch that the bundle names, or one so many `before` it."""
        node = AskingNode(self)  # type: ignore[arg-type]
        node.key_id = max(self._epoch(name) - before, 0) % 256
        machine = self.instance(name)

        async def release():
            return await machine.kms.release(node.request(machine.kms.challenge()))

        async def asking():
            reply = parse_release_reply(await machine.serve("a release", release))
            self.model.saw_release(reply, node.secrets.wrap)

        return await self._answered(asking())

    async def ask_for_the_bundle(self, name: str = "kms") -> bool:
        """A client asks; only the clocks may make it refuse what it gets."""
        bundle = self._bundle(name)
        if bundle is None:
            return False
        self.model.saw_bundle(bundle)
        examination = examine_bundle(bundle, self.policy, self._memories[name], at=self.clocks.now)
        for step in examination.failed:
            require(step in OF_TIME, f"a client refused an honest bundle: {step}")
        if not examination.failed:
            self._memories[name] = examination.require().memory
        return not examination.failed

    def _epoch(self, name: str) -> int:
        """The number of the epoch that an instance's bundle names; 0 where there is none."""
        bundle = self._bundle(name)
        return 0 if bundle is None else head_of(bundle).epoch

    def _epoch_entry(self, name: str) -> bytes | None:
        """The entry of that epoch."""
        bundle, number = self._bundle(name), self._epoch(name)
        shown = () if bundle is None else (one.entry for one in bundle.epochs)
        return next((one for one in shown if parse_epoch(open_statement(one).payload).number == number), None)

    def _bundle(self, name: str):
        machine = self.instance(name)
        published = machine.kms.bundle(self.line) if machine.alive else None
        return None if published is None else parse_key_bundle(published.data)

    # The operator's backups of the ledger's disk.

    def keep_backup(self) -> None:
        """Copy it, also while it is in use, as snapshots are taken."""
        shutil.rmtree(self.folder / "backup", ignore_errors=True)
        shutil.copytree(self.ledger.folder, self.folder / "backup")

    async def restore_backup(self, *, after_an_outage: bool) -> None:
        """Put the copy in its place, try everything, and put the newest back unless the copy was as new."""
        if not (self.folder / "backup").exists():
            return
        shown = self.model.newest
        self.lose_power(("ledger",) if not after_an_outage else tuple(self.machines))
        shutil.rmtree(self.folder / "newest", ignore_errors=True)
        shutil.copytree(self.ledger.folder, self.folder / "newest")
        self.ledger.replace_disk(self.folder / "backup")
        await self.start_all()
        for work in (self.renew, self.append, self.follow, self.ask_for_the_key, self.ask_for_the_bundle, self.append):
            await work()
        if self.model.newest == shown:
            self.lose_power(("ledger",))
            self.ledger.replace_disk(self.folder / "newest")
            await self.ledger.start()
        if self.ledger.alive:  # what the operator threw away is not ours to keep
            self.model.forget_blobs_beyond(self.ledger.blob)

    def lose_power(self, names: Sequence[str], *, kept: float = 0.0) -> None:
        """These machines lose it at once."""
        for name in names:
            machine = self.machines[name]
            if machine.alive:
                machine.arm(Ending(0, power=True, kept=kept))
                machine.crash()

    async def audit(self) -> None:
        """Read the whole log and every proof between what was published, wherever the ledger is up."""
        sequencer = self.ledger.sequencer
        if not self.ledger.alive or sequencer is None or sequencer._hidden:
            return  # or it waits for its witnesses before it shows anything
        try:
            size = self.model.saw_checkpoint(sequencer.cosigned.note).size
            entries = await sequencer.entries(0, size, limit=2**24) if size else []
        except Unavailable:
            if not self.ledger.alive:  # it died as it was read
                return
            entries = []
        except Crash:
            return
        self.model.saw_log(entries)
        for old, new in self.model.pairs():
            self.model.saw_proof(old, new, sequencer.consistency(old, new))
        for digest, data in self.model.blobs.items():
            require(self.ledger.blob(digest) == data, "an acknowledged blob is missing")
        for machine in self.instances:
            if machine.alive and machine.kms.started:
                held = machine.kms._standing.keys.held()
                self.model.hold_keys(held, followed_at=machine.followed_at)
                if machine.kms.retired:
                    over = machine.followed_at >= machine.kms._presence.retired_at + SECURITY.handover_seconds
                    require(not (held and over), "a version that is retired kept its keys beyond its time")

    async def recover(self) -> None:
        """Everything is started and left alone, every clock is right and past what it ever said: it must go on."""
        for machine in self.machines.values():
            machine.arm(None)
        self.clocks.wrong.clear()
        self.clocks.now += 3 * HOUR
        await self.start_all()
        self.cut.clear()
        require(await self.append(), "nothing can be logged any more")
        if self._amendment is not None:
            require(await self.amend(), "no contract can be amended any more")
        if self._successor is not None:
            require(await self.change_the_constitution(), "no constitution can be changed any more")
        for machine in self.instances:  # one after the other, so that keys may pass from one version to the next
            await self.upgrade(machine.name)
            await self.follow(machine.name)
        for _ in range(len(self.instances)):  # who was first asks the others, which may not have started yet
            for machine in self.instances:
                require(await self.follow(machine.name), "the KMS does not come back")
            self.clocks.now += 60 if len(self.instances) > 1 else 0
        for machine in self.instances:
            require(await self.ask_for_the_bundle(machine.name), "no client takes the bundle any more")
            require(await self.ask_for_the_key(machine.name), "no gateway gets the key any more")
        await self.audit()

    async def _answered(self, work: Awaitable[object]) -> bool:
        try:
            await work
        except (Unavailable, Refused):
            return False
        finally:
            await self.settle()
            self.model.hold()
        return True
