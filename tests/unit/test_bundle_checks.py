"""Every step a client performs before anything leaves its machine: each row breaks one link and nothing else."""

import hashlib
from collections.abc import Callable

import msgspec
import pytest

from cloister.crypto.cose import sign1
from cloister.crypto.hpke import X25519_HKDF_SHA256, KemPrivateKey
from cloister.crypto.signing import SigningKey
from cloister.errors import Refused
from cloister.formats import canonical, key_config
from cloister.formats.appraisal_policy import VerifierPlatform
from cloister.formats.endorsements import Endorsement
from cloister.formats.evidence import GpuEvidence, parse_evidence
from cloister.formats.governance import Vote, WitnessedTime
from cloister.formats.key_bundle import PROVEN_SIZES, STATE_HEAD_TYPE
from cloister.formats.statement import parse_statement
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.testing.made_verifiers import MadeAzure
from cloister.testing.world import (
    DAY,
    NOON,
    Node,
    World,
    evidence,
    sealed_evidence,
    security_settings,
    serving,
    signed_report,
)
from cloister.trust.bundle import BUNDLE_STEPS, BundleRefused, examine_bundle
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


BREAKS: dict[str, list[Callable[[Case], None]]] = {}


def breaks(check):
    """Put a row into the table: the function breaks `check` alone."""

    def put(row):
        BREAKS.setdefault(check, []).append(row)
        return row

    return put


# The constitution.


@breaks("constitution.genesis")
def a_second_genuine_kms_with_another_genesis(case):
    other = World()
    case.world = other
    case.policy = replace(other.policy(), constitution=case.policy.constitution)
    # Its contract names it, and so is another line; the policy follows there to show the genesis alone.
    case.world.contract = replace(other.contract, constitution=case.policy.constitution)
    case.first_contract(constitution=case.policy.constitution)


@breaks("constitution.genesis")
def a_genesis_that_is_not_the_first_entry(case):
    world = case.world
    world.log.entries.insert(0, b"noise")
    for entries in (world.constitution_entries, world.contract_entries, world.epoch_entries, world.release_entries):
        entries[:] = [index + 1 for index in entries]


@breaks("constitution.form")
def a_quorum_larger_than_the_witnesses(case):
    case.first_constitution(quorum=3)


@breaks("constitution.form")
def a_witness_named_twice(case):
    witness = case.world.constitution.witnesses[0]
    case.first_constitution(witnesses=(witness, witness))


@breaks("constitution.form")
def one_witness_key_under_two_names(case):
    first, second = case.world.constitution.witnesses
    case.first_constitution(witnesses=(first, replace(second, key=first.key)))


@breaks("constitution.form")
def one_post_quantum_witness_key_under_two_names(case):
    witnesses = [replace(witness, ml_dsa=bytes(1312)) for witness in case.world.constitution.witnesses]
    case.first_constitution(witnesses=tuple(witnesses))


@breaks("constitution.form")
def an_amender_named_twice(case):
    amender = case.world.constitution.amenders[0]
    case.first_constitution(amenders=(amender, amender))


@breaks("constitution.form")
def a_threshold_larger_than_the_amenders(case):
    case.first_constitution(changes=replace(case.world.constitution.changes, number=3))


@breaks("constitution.form")
def a_veto_that_nobody_could_see(case):
    case.first_constitution(changes=replace(case.world.constitution.changes, veto=("owner",)))


@breaks("constitution.form")
def reference_values_of_another_role(case):
    case.first_constitution(kms=replace(case.world.constitution.kms, role="gateway"))


@breaks("constitution.form")
def a_verifiers_word_in_place_of_a_kmss_own_evidence(case):
    appraisal = case.world.constitution.appraisal
    verifiers = VerifierPlatform(verifiers=(MadeAzure().verifier(),))
    case.first_constitution(appraisal=replace(appraisal, platforms=(*appraisal.platforms, verifiers)))


@breaks("constitution.form")
def a_notice_of_0_outside_a_local_system(case):
    case.first_constitution(local=False)


@breaks("constitution.form")
def a_contract_in_the_place_of_a_constitution(case):
    world = case.world
    bundle = world.bundle()
    case.bundle = replace(bundle, constitutions=bundle.contracts)


@breaks("constitution.form")
def an_entry_that_does_not_parse(case):
    case.rewrite(case.world.constitution_entries, b"noise")


@breaks("constitution.signatures")
def the_operator_alone(case):
    case.first_constitution(signers=(case.world.parties.operator,))


@breaks("constitution.signatures")
def a_signature_that_does_not_hold(case):
    world = case.world
    entry = world.log.entries[0]
    statement = parse_statement(entry)
    forged = replace(statement, payload=canonical.encode(replace(world.constitution, name="forged")))
    case.rewrite(world.constitution_entries, canonical.encode(forged))


@breaks("constitution.succession")
def a_successor_of_another_constitution(case):
    case.next_constitution(previous=bytes(32))


@breaks("constitution.succession")
def a_sequence_number_skipped(case):
    case.next_constitution(sequence=2)


@breaks("constitution.succession")
def a_successor_with_another_log(case):
    case.next_constitution(log=replace(case.world.constitution.log, origin="log.test/other"))


@breaks("constitution.succession")
def a_successor_with_another_name(case):
    case.next_constitution(name="another")


@breaks("constitution.succession")
def a_genesis_that_claims_a_previous(case):
    case.first_constitution(previous=bytes(32))


@breaks("constitution.notice")
def a_successor_before_its_notice(case):
    case.first_constitution(changes=replace(case.world.constitution.changes, notice_seconds=DAY))
    case.next_constitution()


@breaks("constitution.succession")
def a_successor_that_is_no_longer_local(case):
    case.next_constitution(local=False, changes=replace(case.world.constitution.changes, notice_seconds=DAY))


@breaks("constitution.inclusion")
def a_constitution_that_is_not_in_the_log(case):
    case.unlogged("constitutions")


@breaks("trust.unsafe")
def an_exception_that_the_trust_policy_does_not_accept(case):
    case.policy = replace(case.policy, unsafe=())


def believing(case):
    """A contract that takes a verifier's word in place of raw evidence."""
    appraisal = case.world.contract.appraisal
    verifiers = VerifierPlatform(verifiers=(MadeAzure().verifier(),))
    case.first_contract(appraisal=replace(appraisal, platforms=(*appraisal.platforms, verifiers)))


@breaks("trust.verifiers")
def a_verifier_whom_the_trust_policy_does_not_believe(case):
    believing(case)


@breaks("trust.verifiers")
def one_verifier_believed_and_another_named(case):
    believing(case)
    case.policy = replace(case.policy, verifiers=("google",))


# The log.


@breaks("checkpoint.origin")
def a_checkpoint_of_another_log(case):
    case.bundle = case.world.bundle(case.world.log.checkpoint(at=NOON, origin="log.test/other"))


@breaks("checkpoint.origin")
def a_checkpoint_that_does_not_parse(case):
    case.bundle = replace(case.world.bundle(), checkpoint=b"noise")


@breaks("checkpoint.signature")
def a_checkpoint_that_the_log_did_not_sign(case):
    note = case.world.log.checkpoint(at=NOON)
    text, _, lines = note.rpartition(b"\n\n")
    cosignatures = lines.split(b"\n", 1)[1]
    case.bundle = case.world.bundle(text + b"\n\n" + cosignatures)


@breaks("checkpoint.witnesses")
def a_forked_checkpoint(case):
    """The log signs another history; the witnesses refuse to cosign it, but for one that colludes."""
    case.bundle = case.world.bundle(case.world.log.checkpoint(at=NOON, cosigners=1))


@breaks("checkpoint.witnesses")
def no_witness_at_all(case):
    case.bundle = case.world.bundle(case.world.log.checkpoint(at=NOON, cosigners=0))


@breaks("checkpoint.witnesses")
def one_witness_that_cosigned_twice(case):
    note = case.world.log.checkpoint(at=NOON, cosigners=1)
    case.bundle = case.world.bundle(note + note.rstrip(b"\n").rsplit(b"\n", 1)[1] + b"\n")


@breaks("checkpoint.time")
def a_checkpoint_from_the_future(case):
    case.bundle = case.world.bundle(case.world.log.checkpoint(at=NOON + 61))


@breaks("checkpoint.age")
def a_checkpoint_older_than_the_policy_allows(case):
    case.bundle = case.world.bundle(case.world.log.checkpoint(at=NOON - 661))


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


@breaks("constitution.rollback")
def a_constitution_that_was_replaced(case):
    newer = replace(case.world.constitution, sequence=1, previous=case.world.constitution.digest())
    case.memory = remembered(case, constitution=newer.digest())


@breaks("contract.rollback")
def a_contract_that_was_changed(case):
    newer = replace(case.world.contract, sequence=1, previous=case.world.contract.digest())
    case.memory = remembered(case, contract=newer.digest())


@breaks("checkpoint.rollback")
def a_log_that_shrank(case):
    case.memory = remembered(case, size=len(case.world.log.entries) + 1)


@breaks("checkpoint.consistency")
def another_root_at_the_size_seen(case):
    case.memory = remembered(case, root=bytes(32))


@breaks("checkpoint.consistency")
def a_longer_log_that_does_not_continue_what_was_seen(case):
    case.memory = remembered(case, root=bytes(32))
    case.world.log.append(b"noise")


@breaks("checkpoint.consistency")
def a_proof_that_every_bundle_brings_taken_out(case):
    case.memory = remembered(case)
    for _ in range(PROVEN_SIZES):
        case.world.log.append(b"noise")
    case.bundle = replace(case.world.bundle(), consistency=())


@breaks("epoch.rollback")
def a_bundle_of_an_older_epoch(case):
    case.memory = remembered(case, epoch=2)


# The contract.


@breaks("contract.form")
def one_key_for_two_parties(case):
    owner, operator = case.world.contract.parties
    case.first_contract(parties=(owner, replace(operator, keys=owner.keys)))


@breaks("contract.form")
def a_model_whose_owner_has_another_duty(case):
    owner, operator = case.world.contract.parties
    case.first_contract(parties=(replace(owner, duties=("auditor",)), operator))


@breaks("contract.form")
def no_operator(case):
    owner, operator = case.world.contract.parties
    case.first_contract(parties=(owner, replace(operator, duties=("auditor",))))


@breaks("contract.form")
def a_role_named_twice(case):
    case.first_contract(tasks=(serving(nodes=case.world.contract.serving.nodes * 2),))


@breaks("contract.form")
def a_contract_that_ends_before_it_begins(case):
    case.first_contract(not_before=NOON, not_after=NOON)


@breaks("contract.form")
def a_contract_with_a_notice_of_0_outside_a_local_system(case):
    case.first_contract(local=False)


@breaks("contract.form")
def a_constitution_in_the_place_of_a_contract(case):
    world = case.world
    bundle = world.bundle()
    case.bundle = replace(bundle, contracts=bundle.constitutions)


@breaks("contract.signatures")
def a_contract_without_its_model_owner(case):
    case.first_contract(signers=(case.world.parties.operator,))


@breaks("contract.signatures")
def a_successor_without_a_party_of_before(case):
    newcomer = SigningKey.generate()
    owner, operator = case.world.contract.parties
    parties = (replace(owner, keys=(newcomer.public,)), operator)
    case.next_contract(parties=parties, signers=(newcomer, case.world.parties.operator))


@breaks("contract.signatures")
def a_successor_without_its_newcomer(case):
    newcomer = SigningKey.generate()
    owner, operator = case.world.contract.parties
    case.next_contract(parties=(owner, operator, replace(owner, name="newcomer", keys=(newcomer.public,))))


@breaks("contract.succession")
def a_successor_of_another_contract(case):
    case.next_contract(previous=bytes(32))


@breaks("contract.succession")
def a_contract_number_skipped(case):
    case.next_contract(sequence=2)


@breaks("contract.succession")
def a_successor_under_another_constitution(case):
    case.next_contract(constitution=bytes(32))


@breaks("contract.succession")
def a_successor_contract_with_another_name(case):
    case.next_contract(name="another")


@breaks("contract.succession")
def a_first_contract_that_claims_a_previous(case):
    case.first_contract(sequence=1)


@breaks("contract.notice")
def a_contract_amended_before_its_notice(case):
    case.first_contract(changes=replace(case.world.contract.changes, notice_seconds=DAY))
    case.next_contract()


@breaks("contract.signatures")
def a_successor_whose_vote_is_not_shown(case):
    case.governed(left_out=("vote",))


@breaks("contract.notice")
def a_successor_whose_notice_is_not_shown_to_be_over(case):
    case.governed(left_out=("over",))


@breaks("contract.notice")
def a_successor_whose_notice_is_not_shown_to_have_begun(case):
    case.governed(left_out=("begins",))


@breaks("contract.signatures")
def a_vote_on_a_proposal_that_is_not_shown(case):
    case.governed(left_out=("proposal",))


@breaks("contract.notice")
def a_time_that_one_witness_alone_states(case):
    case.governed(left_out=("over",))
    alone = WitnessedTime(note=case.world.log.checkpoint(at=NOON, cosigners=1))
    case.world.contract_entries.append(case.world.log.append(sign_statement("time", alone, (SigningKey.generate(),))))


@breaks("contract.pin")
def another_contract_of_the_same_parties(case):
    case.first_contract(name="weaker terms", follow=False)


@breaks("contract.constitution")
def a_contract_with_another_kms(case):
    case.first_contract(constitution=bytes(32))


@breaks("contract.validity")
def a_contract_that_has_ended(case):
    case.first_contract(not_after=NOON - 60)


@breaks("contract.validity")
def a_contract_that_has_not_begun(case):
    case.first_contract(not_before=NOON + 61)


@breaks("contract.inclusion")
def a_contract_that_is_not_in_the_log(case):
    case.unlogged("contracts")


# The KMS's evidence.


@breaks("evidence.platform")
def a_platform_that_nobody_agreed_to(case):
    case.first_constitution(appraisal=replace(case.world.constitution.appraisal, platforms=()))


@breaks("evidence.software-tee")
def a_software_tee_that_the_constitution_does_not_accept(case):
    world = case.world
    settings = replace(security_settings("kms"), unsafe=())
    appraisal = replace(world.constitution.appraisal, unsafe=())
    kms = replace(world.constitution.kms, settings=(settings.digest(),))
    case.first_constitution(appraisal=appraisal, kms=kms)
    note, shown = case.evidence()
    binding = replace(shown.binding, settings=settings.digest())
    case.show(note, sealed_evidence(world.parties.platform, binding, settings, world.kms))


@breaks("evidence.signature")
def a_report_by_an_unnamed_platform_key(case):
    note, shown = case.evidence()
    case.show(note, replace(shown, report=signed_report(SigningKey.generate(), shown.binding.report_data())))


@breaks("evidence.signature")
def a_report_altered(case):
    note, shown = case.evidence()
    case.show(note, replace(shown, report=shown.report[:-1] + bytes([shown.report[-1] ^ 1])))


@breaks("evidence.endorsements")
def endorsements_that_a_software_tee_has_none_of(case):
    note, shown = case.evidence()
    case.show(note, replace(shown, endorsements=(Endorsement(kind="amd-certificates", data=b"certificate"),)))


@breaks("evidence.signature")
def evidence_that_does_not_parse(case):
    case.bundle = replace(case.world.bundle(), evidence=b"noise")


@breaks("evidence.binding")
def a_true_report_beside_false_claims(case):
    note, shown = case.evidence()
    case.show(note, replace(shown, report=signed_report(case.world.parties.platform, bytes(64))))


@breaks("evidence.challenge")
def evidence_for_another_checkpoint(case):
    case.rebind(challenge=bytes(32))


@breaks("evidence.role")
def evidence_of_a_gateway(case):
    case.rebind(role="gateway")


@breaks("evidence.role")
def settings_of_a_gateway(case):
    world = case.world
    settings = replace(security_settings("kms"), role="gateway")
    case.first_constitution(kms=replace(world.constitution.kms, settings=(settings.digest(),)))
    note, shown = case.evidence()
    binding = replace(shown.binding, settings=settings.digest())
    case.show(note, sealed_evidence(world.parties.platform, binding, settings, world.kms))


@breaks("evidence.subject")
def evidence_under_another_constitution(case):
    case.rebind(subject=bytes(32))


@breaks("evidence.keys")
def keys_exchanged_on_the_way(case):
    note, shown = case.evidence()
    case.show(note, replace(shown, keys=replace(shown.keys, wrap=Node().keys.wrap)))


@breaks("evidence.gpu")
def gpu_evidence_that_was_not_bound(case):
    note, shown = case.evidence()
    case.show(note, replace(shown, gpu=(GpuEvidence(report=b"report", chain=b"chain"),)))


@breaks("evidence.gpu")
def bound_gpu_evidence_that_is_not_there(case):
    case.rebind(gpu=bytes(32))


@breaks("evidence.settings-digest")
def settings_shown_that_are_not_in_force(case):
    note, shown = case.evidence()
    case.show(note, replace(shown, settings=replace(shown.settings, values={"challenge_seconds": 61})))


@breaks("evidence.settings")
def genuine_kms_code_started_with_other_settings(case):
    world = case.world
    settings = replace(security_settings("kms"), values={"challenge_seconds": 86_400})
    note, shown = case.evidence()
    binding = replace(shown.binding, settings=settings.digest())
    case.show(note, sealed_evidence(world.parties.platform, binding, settings, world.kms))


@breaks("evidence.unsafe")
def an_exception_in_force_that_the_node_does_not_claim(case):
    world = case.world
    settings = replace(security_settings("kms"), unsafe=())
    case.first_constitution(kms=replace(world.constitution.kms, settings=(settings.digest(),)))
    note, shown = case.evidence()
    binding = replace(shown.binding, settings=settings.digest())
    case.show(note, sealed_evidence(world.parties.platform, binding, settings, world.kms))


@breaks("evidence.platform-measurement")
def another_platform_below_the_same_code(case):
    note, shown = case.evidence()
    report = signed_report(case.world.parties.platform, shown.binding.report_data(), platform_measurement=bytes(48))
    case.show(note, replace(shown, report=report))


@breaks("evidence.workload")
def one_byte_changed_in_one_dependency(case):
    note, shown = case.evidence()
    changed = hashlib.sha384(b"workload of these testt").digest()
    report = signed_report(case.world.parties.platform, shown.binding.report_data(), workload=changed)
    case.show(note, replace(shown, report=report))


# What the KMS signed.


@breaks("head.signature")
def a_state_told_by_someone_else(case):
    note = case.world.log.checkpoint(at=NOON)
    stranger = SigningKey.generate()
    signed = sign1(stranger, b"head", content_type=STATE_HEAD_TYPE)
    case.bundle = replace(case.world.bundle(note), head=signed)


@breaks("head.checkpoint")
def the_state_of_another_moment(case):
    case.head(checkpoint=bytes(32))


@breaks("head.constitution")
def a_successor_constitution_hidden(case):
    case.head(constitution=bytes(32))


@breaks("head.contract")
def a_successor_contract_hidden(case):
    case.head(contract=bytes(32))


@breaks("head.instances")
def a_head_of_an_instance_that_does_not_count_itself(case):
    world, other = case.world, Node()
    case.rewrite(world.epoch_entries, sign_statement("epoch", world.epoch, (other.sign,)))
    case.rewrite(world.release_entries, sign_statement("release", world.make_release(), (other.sign,)))
    case.head(instances=(other.sign.public,))


@breaks("head.shown")
def a_revoked_gateway_put_back(case):
    bundle = case.world.bundle()
    empty = case.world.headed(replace(bundle, releases=()))
    case.bundle = replace(empty, releases=bundle.releases)


@breaks("head.shown")
def a_gateway_left_out_for_this_client(case):
    case.bundle = replace(case.world.bundle(), releases=())


@breaks("epoch.inclusion")
def an_epoch_that_is_not_in_the_log(case):
    case.unlogged("epochs")


@breaks("epoch.signature")
def an_epoch_of_another_kms(case):
    stranger = SigningKey.generate()
    world = case.world
    case.rewrite(world.epoch_entries, sign_statement("epoch", world.epoch, (stranger,)))
    case.rewrite(world.release_entries, sign_statement("release", world.make_release(), (world.kms.sign,)))


@breaks("epoch.signature")
def a_release_in_the_place_of_an_epoch(case):
    bundle = case.world.bundle()
    case.bundle = case.world.headed(replace(bundle, epochs=bundle.releases))


@breaks("epoch.contract")
def an_epoch_of_another_contract(case):
    case.epoch(contract=bytes(32))


@breaks("epoch.chain")
def an_epoch_slipped_in(case):
    case.next_epoch(previous=bytes(32))


@breaks("epoch.chain")
def an_epoch_number_left_out(case):
    case.next_epoch(number=3)


@breaks("epoch.active")
def an_active_epoch_that_is_not_shown(case):
    case.head(epoch=2)


@breaks("epoch.window")
def an_epoch_past_its_window(case):
    case.epoch(not_after=NOON - 60)


@breaks("epoch.latest")
def a_pending_epoch_shown_as_the_one_in_use(case):
    case.epoch(not_before=NOON + 1)


@breaks("epoch.latest")
def a_key_of_its_own_for_some_clients_beside_the_one_in_use(case):
    case.next_epoch(not_before=NOON)
    case.head(epoch=1)


@breaks("epoch.key-config")
def a_key_that_is_not_post_quantum(case):
    config = key_config.KeyConfig(1, X25519_HKDF_SHA256, KemPrivateKey.generate(X25519_HKDF_SHA256).public)
    case.epoch(key_config=key_config.encode(config))


@breaks("epoch.key-config")
def a_key_configuration_that_does_not_parse(case):
    case.epoch(key_config=b"noise")


@breaks("epoch.revoked")
def an_active_epoch_that_is_revoked(case):
    world = case.world
    case.head(revoked=(entry_digest(world.log.entries[world.epoch_entries[-1]]),))


@breaks("gateway.inclusion")
def a_release_that_is_not_in_the_log(case):
    case.unlogged("releases")


@breaks("gateway.inclusion")
def releases_out_of_the_logs_order(case):
    world = case.world
    world.release_entries.append(world.log.append(world.log.entries[world.release_entries[0]]))
    bundle = case.bundle
    case.bundle = case.world.headed(replace(bundle, releases=bundle.releases[::-1]))


@breaks("gateway.signature")
def a_receipt_key_of_the_operators_own(case):
    case.release(signer=case.world.parties.operator)


@breaks("gateway.contract")
def a_gateway_of_another_contract(case):
    case.release(contract=bytes(32))


@breaks("gateway.contract")
def a_node_of_another_role(case):
    case.release(role="kms")


@breaks("gateway.epoch")
def a_certificate_left_over_from_an_older_key(case):
    case.release(epoch=bytes(32))


ROWS = [
    pytest.param(check, row, id=f"{check}-{row.__name__}", marks=pytest.mark.breaks(check))
    for check, rows in BREAKS.items()
    for row in rows
]


def test_the_whole_chain_is_accepted_as_it_stands():
    examination = Case().examine()
    assert examination.failed == []
    assert examination.passed == list(BUNDLE_STEPS)
    assert examination.require().keys.active.number == 1


@pytest.mark.parametrize(("check", "row"), ROWS)
def test_each_broken_link_is_refused_by_its_own_check_alone(check, row):
    case = Case()
    row(case)
    examination = case.examine()
    assert examination.failed == [check]
    assert all(step.detail for step in examination.steps if step.id == check), "a shortfall says what is wrong"
    with pytest.raises(BundleRefused) as refusal:
        examination.require()
    assert refusal.value.check == check
    assert isinstance(refusal.value, Refused)


def test_every_step_of_the_client_has_a_row():
    assert set(BREAKS) == set(BUNDLE_STEPS)


def test_successors_by_their_own_rules_are_accepted_under_the_same_pins():
    case = Case()
    case.next_constitution()
    case.next_contract(not_after=NOON + 2 * DAY)
    assert case.examine().require().contract.sequence == 1


def test_what_was_in_force_before_may_be_followed_by_another():
    case = Case()
    case.memory = remembered(case, size=0, root=b"")
    case.next_constitution()
    case.next_contract()
    assert case.examine().require().memory.contract == case.world.contract.digest()


def test_a_successor_by_votes_and_notice_is_accepted_under_the_same_pin():
    case = Case()
    case.governed()
    verified = case.examine().require()
    assert verified.contract.sequence == 1


def test_a_client_that_saw_the_log_before_gets_its_proof_from_the_same_bytes():
    case = Case()
    case.memory = remembered(case)
    case.world.log.append(b"noise")
    consistency = next(step for step in case.examine().steps if step.id == "checkpoint.consistency")
    assert consistency.detail == "continues size 5"


def test_an_older_memory_relies_on_the_witnesses_and_says_so():
    case = Case()
    case.memory = remembered(case)
    for _ in range(PROVEN_SIZES + 1):
        case.world.log.append(b"noise")
    case.bundle = replace(case.world.bundle(), consistency=())
    assert case.examine().failed == []
    consistency = next(step for step in case.examine().steps if step.id == "checkpoint.consistency")
    assert consistency.detail == "no proof from size 5: relies on the witnesses"


def test_what_is_remembered_is_the_checkpoint_and_epoch_accepted():
    case = Case()
    memory = case.examine().require().memory
    assert (memory.size, memory.root, memory.epoch) == (5, case.world.log.root(), 1)
    case.memory = memory
    assert case.examine().failed == []


def test_a_revoked_gateway_is_no_longer_believed():
    case = Case()
    world = case.world
    case.head(revoked=(entry_digest(world.log.entries[world.release_entries[-1]]),))
    assert case.examine().require().keys.gateways == ()


def test_evidence_is_parsed_as_it_was_made():
    note, shown = Case().evidence()
    assert parse_evidence(canonical.encode(shown)) == shown
    assert note


def test_other_evidence_of_the_same_kms_is_not_taken_for_its_answer():
    world = World()
    old = evidence(world.parties.platform, "kms", world.kms, challenge=bytes(32), subject=world.constitution.digest())
    bundle = replace(world.bundle(), evidence=canonical.encode(old))
    examination = examine_bundle(bundle, world.policy(), first_contact(world.constitution.digest()), at=NOON)
    assert examination.failed == ["evidence.challenge"]


def test_a_verifier_accepted_by_name_is_shown_to_every_client():
    case = Case()
    believing(case)
    case.policy = replace(case.policy, verifiers=("azure",))
    examination = case.examine()
    assert examination.failed == []
    (step,) = [step for step in examination.steps if step.id == "trust.verifiers"]
    assert step.detail == "azure (azure-attestation of https://sharedtest.tst.attest.azure.net)"
