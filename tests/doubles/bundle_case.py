"""A valid bundle with what a client holds, and rows that each break one link of it and nothing else."""

import msgspec
import pytest

from cloister.crypto.signing import SigningKey
from cloister.errors import Refused
from cloister.formats import canonical
from cloister.formats.appraisal_policy import VerifierPlatform
from cloister.formats.governance import Vote, WitnessedTime
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.testing.made_verifiers import MadeAzure
from cloister.testing.world import (
    DAY,
    NOON,
    World,
    signed_report,
)
from cloister.trust.bundle import BundleRefused, examine_bundle
from cloister.trust.memory import Memory, first_contact

replace = msgspec.structs.replace


class Case:
    """A valid world with what a client holds; a row changes one thing of it."""

    def __init__(self):
        self.world = World()
        self.policy = self.world.policy()
        self.memory = first_contact(self.policy.constitution)
        self.at = NOON
        self._bundle = None

    @property
    def bundle(self):
        return self._bundle or self.world.bundle()

    @bundle.setter
    def bundle(self, bundle):
        self._bundle = bundle

    def examine(self):
        return examine_bundle(self.bundle, self.policy, self.memory, at=self.at)

    def evidence(self):
        """The KMS's evidence and the note it answers."""
        note = self.world.log.checkpoint(at=NOON)
        return note, self.world.kms_evidence(note)

    def show(self, note, shown):
        """A bundle with this evidence."""
        self.bundle = replace(self.world.bundle(note), evidence=canonical.encode(shown))

    def rebind(self, **changes):
        """Evidence whose report binds a changed binding: everything else is as it was."""
        note, shown = self.evidence()
        binding = replace(shown.binding, **changes)
        report = signed_report(self.world.parties.platform, binding.report_data())
        self.show(note, replace(shown, binding=binding, report=report))

    def rewrite(self, indices, entry):
        """Another entry in place of the one logged, in the log too, so that only its meaning differs."""
        self.world.log.entries[indices[-1]] = entry

    def settle(self):
        """Epoch, release and head follow the constitution and contract as they are now, as a KMS would write them."""
        world = self.world
        world.epoch = replace(world.epoch, contract=world.contract.digest())
        self.rewrite(world.epoch_entries, sign_statement("epoch", world.epoch, (world.kms.sign,)))
        self.rewrite(world.release_entries, sign_statement("release", world.make_release(), (world.kms.sign,)))

    def first_constitution(self, *, signers=None, follow=True, **changes):
        """Another genesis, pinned by policy and contract unless `follow` is off."""
        world = self.world
        world.constitution = replace(world.constitution, **changes)
        signers = signers or (world.parties.owner, world.parties.operator)
        self.rewrite(world.constitution_entries, sign_statement("constitution", world.constitution, signers))
        self.first_contract(follow=follow, constitution=world.constitution.digest())
        if follow:
            self.policy = replace(self.policy, constitution=world.constitution.digest())

    def first_contract(self, *, signers=None, follow=True, **changes):
        """Another first contract, pinned by the policy unless `follow` is off."""
        world = self.world
        world.contract = replace(world.contract, **changes)
        signers = signers or (world.parties.owner, world.parties.operator)
        self.rewrite(world.contract_entries, sign_statement("contract", world.contract, signers))
        self.settle()
        if follow:
            self.policy = replace(self.policy, contract=world.contract.digest())

    def next_constitution(self, **changes):
        """A successor of the genesis, with everything that follows it."""
        world = self.world
        followed = {"sequence": 1, "previous": world.constitution.digest()} | changes
        world.constitution = replace(world.constitution, **followed)
        signers = (world.parties.owner, world.parties.operator)
        world.constitution_entries.append(world.log.append(sign_statement("constitution", world.constitution, signers)))

    def next_contract(self, *, signers=None, **changes):
        """A successor of the first contract, with everything that follows it."""
        world = self.world
        followed = {"sequence": 1, "previous": world.contract.digest()} | changes
        world.contract = replace(world.contract, **followed)
        signers = signers or (world.parties.owner, world.parties.operator)
        world.contract_entries.append(world.log.append(sign_statement("contract", world.contract, signers)))
        self.settle()

    def governed(self, *, left_out=()):
        """A successor by the model owner's proposal, the operator's vote, and a notice that is over; all but these."""
        world = self.world
        self.first_contract(changes=replace(world.contract.changes, notice_seconds=DAY))
        successor = replace(world.contract, sequence=1, previous=world.contract.digest())
        proposal = sign_statement("contract", successor, (world.parties.owner,))
        said = Vote(proposal=entry_digest(proposal), choice="approve")
        entries = {
            "proposal": lambda: proposal,
            "vote": lambda: sign_statement("vote", said, (world.parties.operator,)),
            "begins": lambda: self.told(NOON - DAY),
            "over": lambda: self.told(NOON),
        }
        for name, make in entries.items():
            index = world.log.append(make())
            if name not in left_out:
                world.contract_entries.append(index)
        world.contract = successor
        self.settle()

    def told(self, at):
        """An entry with the log as it stands, cosigned at `at`."""
        note = WitnessedTime(note=self.world.log.checkpoint(at=at))
        return sign_statement("time", note, (SigningKey.generate(),))

    def next_epoch(self, **changes):
        """A second epoch, active."""
        world = self.world
        previous = entry_digest(world.log.entries[world.epoch_entries[-1]])
        world.epoch = replace(world.epoch, **({"number": 2, "previous": previous} | changes))
        world.epoch_entries.append(world.log.append(sign_statement("epoch", world.epoch, (world.kms.sign,))))

    def head(self, **changes):
        """A head with one thing changed."""
        note = self.world.log.checkpoint(at=NOON)
        self.bundle = replace(self.world.bundle(note), head=self.world.head(note, **changes))

    def epoch(self, **changes):
        """The active epoch with one thing changed, properly signed and logged."""
        world = self.world
        world.epoch = replace(world.epoch, **changes)
        self.rewrite(world.epoch_entries, sign_statement("epoch", world.epoch, (world.kms.sign,)))
        self.rewrite(world.release_entries, sign_statement("release", world.make_release(), (world.kms.sign,)))

    def release(self, signer=None, **changes):
        """The gateway's release with one thing changed, properly signed and logged."""
        release = self.world.make_release(**changes)
        key = signer or self.world.kms.sign
        self.rewrite(self.world.release_entries, sign_statement("release", release, (key,)))

    def unlogged(self, field):
        """One entry of `field` replaced by its twin signed anew: the same statement, not the entry in the log."""
        bundle = self.bundle
        logged = getattr(bundle, field)
        # The log holds noise where the entry stood.
        self.world.log.entries[logged[-1].index] = b"noise"
        note = self.world.log.checkpoint(at=NOON)
        self.bundle = self.world.headed(replace(self.world.bundle(note), **{field: logged}))


def remembered(case, **changes):
    """What a client remembers that saw the log as it stands."""
    log = case.world.log
    seen = Memory(
        genesis=case.policy.constitution,
        size=len(log.entries),
        root=log.root(),
        epoch=1,
        cosigned_at=NOON,
        constitution=case.world.constitution.digest(),
        contract=case.world.contract.digest(),
    )
    return replace(seen, **changes)


def believing(case):
    """A contract that takes a verifier's word in place of raw evidence."""
    appraisal = case.world.contract.appraisal
    verifiers = VerifierPlatform(verifiers=(MadeAzure().verifier(),))
    case.first_contract(appraisal=replace(appraisal, platforms=(*appraisal.platforms, verifiers)))


class Rows:
    """A table of functions, each of which breaks one check of a case."""

    def __init__(self):
        self.checks: list[str] = []
        self.parameters = []

    def breaks(self, check):
        """Put a row into the table: the function breaks `check` alone."""

        def put(row):
            mark = pytest.mark.breaks(check)
            self.checks.append(check)
            self.parameters.append(pytest.param(check, row, id=f"{check}-{row.__name__}", marks=mark))
            return row

        return put


def require_refused_by(check, row):
    """The case that `row` broke is refused by `check` and by nothing else, in words."""
    case = Case()
    row(case)
    examination = case.examine()
    assert examination.failed == [check]
    assert all(step.detail for step in examination.steps if step.id == check), "a shortfall says what is wrong"
    with pytest.raises(BundleRefused) as refusal:
        examination.require()
    assert refusal.value.check == check
    assert isinstance(refusal.value, Refused)
