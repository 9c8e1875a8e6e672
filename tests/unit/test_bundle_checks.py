"""A client's whole examination of a bundle: what is accepted, what it remembers, and that each step has its row."""

import msgspec
from tests.doubles.bundle_case import Case, believing, remembered
from tests.unit import test_bundle_constitution, test_bundle_contract, test_bundle_epochs, test_bundle_evidence

from cloister.formats import canonical
from cloister.formats.evidence import parse_evidence
from cloister.formats.key_bundle import PROVEN_SIZES
from cloister.ledger.statements import entry_digest
from cloister.testing.world import (
    DAY,
    NOON,
    World,
    evidence,
)
from cloister.trust.bundle import BUNDLE_STEPS, examine_bundle
from cloister.trust.memory import first_contact

replace = msgspec.structs.replace


def test_the_whole_chain_is_accepted_as_it_stands():
    examination = Case().examine()
    assert examination.failed == []
    assert examination.passed == list(BUNDLE_STEPS)
    assert examination.require().keys.active.number == 1


def test_every_step_of_the_client_has_a_row():
    tables = (test_bundle_constitution, test_bundle_contract, test_bundle_evidence, test_bundle_epochs)
    assert {check for table in tables for check in table.ROWS.checks} == set(BUNDLE_STEPS)


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
