"""What a client checks of the constitution and the log before anything leaves its machine, a broken link a row."""

import msgspec
import pytest
from tests.doubles.bundle_case import Rows, believing, remembered, require_refused_by

from cloister.formats import canonical
from cloister.formats.appraisal_policy import VerifierPlatform
from cloister.formats.key_bundle import PROVEN_SIZES
from cloister.formats.statement import parse_statement
from cloister.testing.made_verifiers import MadeAzure
from cloister.testing.world import (
    DAY,
    NOON,
    World,
)

replace = msgspec.structs.replace

ROWS = Rows()
breaks = ROWS.breaks


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


@pytest.mark.parametrize(("check", "row"), ROWS.parameters)
def test_each_broken_link_is_refused_by_its_own_check_alone(check, row):
    require_refused_by(check, row)
