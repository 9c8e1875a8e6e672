"""A rich ledger that came about honestly: real KMS instances, parties that vote, a clock that is moved by hand.

Everything that a forger could hold is at hand too: the keys of log, witnesses, parties and KMS instances.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence

import msgspec
from tests.doubles.kms_system import SECURITY, AskingNode, KmsSystem, Link, WorldTee

from cloister.contract.audit.auditor import Audit, audit
from cloister.contract.audit.notes import ShownNote
from cloister.contract.fold import begin, fold
from cloister.contract.state import ContractLine
from cloister.crypto.signing import SigningKey
from cloister.formats.change_rules import Urgent
from cloister.formats.contract import Contract, Party
from cloister.formats.governance import Choice, Vote
from cloister.formats.release import Revocation
from cloister.ledger.statements import entry_digest, open_statement, sign_statement
from cloister.node.keys import NodeSecrets
from cloister.services.kms.instance import Instance
from cloister.services.kms.kms import Kms
from cloister.testing.world import DAY, NOON

replace = msgspec.structs.replace
HOUR = 3600
FIXED = bytes(range(48))  # the workload of an urgent fix
NEXT_KMS = bytes(reversed(range(48)))  # of the KMS's next version


class HonestLedger(KmsSystem):
    """Four parties, two of three approvers, a day's notice, an urgent publisher; `live` makes a history of it."""

    def __init__(self) -> None:
        super().__init__()
        self.auditor, self.publisher = SigningKey.generate(), SigningKey.generate()
        self.operator = SigningKey.generate()
        self.keys = {
            "model owner": self.parties.owner,
            "operator": self.operator,
            "auditor": self.auditor,
            "publisher": self.publisher,
        }
        rules = replace(self.constitution.changes, notice_seconds=HOUR)
        self.constitution = replace(self.constitution, changes=rules)
        self.genesis = self.sign_constitution(self.constitution)
        self.contract = self._contract()
        self.contract_entry = sign_statement("contract", self.contract, list(self.keys.values()))
        self.instances: dict[str, SigningKey] = {}
        self.places: dict[str, int] = {}  # where what a test is after stands

    def _contract(self) -> Contract:
        plain = self.world.make_contract(constitution=self.constitution.digest(), not_after=NOON + 60 * DAY)
        (grant,) = plain.grants
        owner, operator = plain.parties
        rules = replace(
            plain.changes,
            approvers=("model owner", "operator", "auditor"),
            veto=("model owner",),
            window_seconds=3 * DAY,
            notice_seconds=DAY,
            urgent=Urgent(publisher="publisher"),
        )
        auditor = Party(name="auditor", duties=("auditor",), keys=(self.auditor.public,), seal=b"")
        publisher = Party(name="publisher", duties=("publisher",), keys=(self.publisher.public,), seal=b"")
        parties = (owner, replace(operator, keys=(self.operator.public,)), auditor, publisher)
        grants = (replace(grant, not_after=plain.not_after),)
        return replace(plain, parties=parties, changes=rules, grants=grants)

    @property
    def entries(self) -> list[bytes]:
        return self.world.log.entries

    async def log(self, name: str, entry: bytes) -> bytes:
        """One more entry by whoever writes, and its digest; its place is kept under `name`."""
        self.places[name] = (await self.ledger.append(entry)).index
        return entry_digest(entry)

    @property
    def held(self) -> ContractLine:
        """The contract line as the log has it now."""
        return fold(begin(self.entries[0], genesis=self.constitution.digest()), self.entries[1:]).lines[self.line]

    async def propose(self, name: str, *signers: str, **changes: object) -> bytes:
        """A successor of the contract in force."""
        current = self.held.current
        fields = {"sequence": current.sequence + 1, "previous": current.digest()} | changes
        keys = [self.keys[signer] for signer in signers]
        return await self.log(name, sign_statement("contract", replace(current, **fields), keys))

    async def vote(self, name: str, proposal: bytes, choice: Choice = "approve") -> bytes:
        return await self.log(
            f"{choice} by {name}", sign_statement("vote", Vote(proposal=proposal, choice=choice), (self.keys[name],))
        )

    async def step(self, kms: Kms, seconds: int) -> None:
        """Time goes by, and the KMS does what is due."""
        self.now += seconds
        await kms.follow()

    async def instance(self, name: str, tee: WorldTee | None = None, *, peers: Sequence[Link] = ()) -> Kms:
        """A KMS instance that serves."""
        secrets = NodeSecrets.generate()
        instance = Instance(tee or self.tee, secrets, SECURITY)
        kms = Kms(self.ledger, instance, genesis=self.genesis, clock=lambda: self.now, peers=peers)
        self.places[name] = len(self.entries) if self.entries else 2
        await kms.start([self.contract_entry])
        self.instances[name] = secrets.sign
        return kms

    async def release(self, name: str, kms: Kms, *, workload: bytes | None = None) -> AskingNode:
        """A gateway gets the key of the latest epoch."""
        node = AskingNode(self)
        node.subject = self.held.current.digest()
        node.key_id = self.held.epochs[-1].epoch.number % 256
        node.tee = self.tee if workload is None else WorldTee(self.parties.platform, workload=workload)
        self.places[name] = len(self.entries)
        await kms.release(node.request(kms.challenge()))
        return node

    async def live(self) -> None:
        """A contract's life: releases, a proposal vetoed, one accepted, rotation, an urgent fix, revocations."""
        kms = await self.instance("kms")
        self.places["epoch"] = 3
        await self.release("release", kms)
        vetoed = await self.propose("proposal", "operator", not_after=NOON + 61 * DAY)
        await self.step(kms, 60)
        await self.vote("auditor", vetoed)
        await self.step(kms, 60)
        await self.vote("model owner", vetoed, "veto")
        await self.step(kms, 60)
        accepted = await self.propose("amendment", "operator", not_after=NOON + 59 * DAY)
        await self.step(kms, 60)
        await self.vote("model owner", accepted)
        self.places["approval"] = self.places["approve by model owner"]
        await self.step(kms, 60)
        self.places["notice begins"] = len(self.entries) - 1
        await self.step(kms, DAY)
        await self.step(kms, 60)
        self.places["second epoch"] = len(self.entries) - 1
        await self.release("second release", kms)
        await self.step(kms, DAY - 2 * HOUR)
        await self.step(kms, HOUR + HOUR // 2)
        self.places["rotation"] = len(self.entries) - 1
        await self._fix(kms)
        await self._new_kms(kms)

    async def _fix(self, kms: Kms) -> None:
        task = self.held.current.serving
        fixed = replace(task.nodes[0], workloads=(FIXED,))
        await self.propose("urgent fix", "publisher", tasks=(replace(task, nodes=(fixed,)),))
        await self.step(kms, 60)
        await self.release("fixed release", kms, workload=FIXED)
        await self.revoke("revoked release", self.places["fixed release"])
        await self.step(kms, 60)
        epoch = next(i for i in reversed(range(len(self.entries))) if self.kind(i) == "epoch")
        await self.revoke("revoked epoch", epoch)
        await self.step(kms, 60)
        self.places["epoch after revocation"] = len(self.entries) - 1
        await self.release("last release", kms, workload=FIXED)

    async def _new_kms(self, kms: Kms) -> None:
        """The constitution's successor names another KMS, which takes over once the notice has passed."""
        reference = replace(self.constitution.kms, workloads=(NEXT_KMS,))
        successor = replace(self.constitution, sequence=1, previous=self.constitution.digest(), kms=reference)
        await self.log("constitution", self.sign_constitution(successor))
        await self.step(kms, 60)
        await self.step(kms, HOUR)
        new = await self.instance("new kms", WorldTee(self.parties.platform, workload=NEXT_KMS))
        await self.release("release of the new kms", new, workload=FIXED)
        await self.propose("open proposal", "operator", not_after=NOON + 58 * DAY)
        await self.step(new, 60)

    async def revoke(self, name: str, index: int) -> None:
        target = entry_digest(self.entries[index])
        record = Revocation(contract=self.line, target=target, reason="these tests want it")
        await self.log(name, sign_statement("revocation", record, (self.parties.owner,)))

    def kind(self, index: int) -> str:
        return open_statement(self.entries[index]).kind

    def audit(self, **changes) -> Audit:
        """The audit of the ledger as it stands."""
        given = {
            "entries": self.entries,
            "evidence": self.ledger.blobs,
            "notes": [ShownNote(self.world.log.checkpoint(at=self.now))],
            "genesis": self.constitution.digest(),
        } | changes
        return audit(given["entries"], given["evidence"], given["notes"], genesis=given["genesis"])


@functools.cache
def lived() -> HonestLedger:
    """One that has lived, for all tests of a process: they change copies of its entries."""
    ledger = HonestLedger()
    asyncio.run(ledger.live())
    return ledger
