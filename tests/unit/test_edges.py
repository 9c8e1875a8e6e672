"""The edges of every rule, and what the verified types hold: where a check begins to fail, to the second."""

import msgspec
import pytest
from tests.doubles.bundle_case import Case, remembered
from tests.unit.test_receipt_checks import Case as ReceiptCase
from tests.unit.test_receipt_checks import replace_answer
from tests.unit.test_release_checks import Case as ReleaseCase
from tests.unit.test_release_checks import Published
from tests.unit.test_state import folded, line, second_epoch

from cloister.attest.evidence import SOFTWARE_WORDS
from cloister.contract.amendment import AmendmentRefused, first_constitution, first_contract, following_contract
from cloister.contract.replay import examine_first_log, examine_growth
from cloister.crypto.cose import sign1
from cloister.errors import MalformedInput, TooLarge
from cloister.examination import Outcome
from cloister.formats import canonical
from cloister.formats.key_bundle import STATE_HEAD_TYPE
from cloister.formats.statement import Statement, content_type
from cloister.ledger.statements import entry_digest, open_statement, sign_statement
from cloister.testing.world import NOON, PLATFORM, WORKLOAD, World
from cloister.trust.memory import first_contact, parse_memory

replace = msgspec.structs.replace
SKEW = 60  # of the tests' trust policy


def cosigned(seconds):
    def change(case):
        case.bundle = case.world.bundle(case.world.log.checkpoint(at=NOON + seconds))

    return change


def contract_from(seconds):
    return lambda case: case.first_contract(not_before=NOON + seconds)


def contract_until(seconds):
    return lambda case: case.first_contract(not_after=NOON + seconds)


def epoch_from(seconds):
    return lambda case: case.epoch(not_before=NOON + seconds)


def epoch_until(seconds):
    return lambda case: case.epoch(not_after=NOON + seconds)


@pytest.mark.parametrize(
    ("check", "inside", "outside"),
    [
        ("checkpoint.time", cosigned(SKEW), cosigned(SKEW + 1)),
        ("checkpoint.age", cosigned(-600 - SKEW), cosigned(-601 - SKEW)),
        ("contract.validity", contract_from(SKEW), contract_from(SKEW + 1)),
        ("contract.validity", contract_until(1 - SKEW), contract_until(-SKEW)),
        ("epoch.latest", epoch_from(0), epoch_from(1)),
        ("epoch.window", epoch_until(1 - SKEW), epoch_until(-SKEW)),
    ],
)
def test_a_clients_windows_end_to_the_second(check, inside, outside):
    case = Case()
    inside(case)
    assert case.examine().failed == []
    case = Case()
    outside(case)
    assert case.examine().failed == [check]


def test_a_kms_releases_from_the_contracts_first_second():
    case = ReleaseCase()
    case.recontract(not_before=NOON)
    assert case.examine().failed == []


@pytest.mark.parametrize("edge", ["first", "last"])
def test_a_receipt_may_be_made_at_either_edge_of_the_keys_life(edge):
    case = ReceiptCase()
    epoch = case.world.epoch
    # The policy's state age and skew, 660 s, is as long as the bundle speaks for anything.
    at = epoch.not_before - 60 if edge == "first" else min(epoch.stale_until, NOON + 660)
    case.answered = replace_answer(case, at=at)
    assert case.examine().failed == []


def test_an_epoch_may_turn_stale_when_its_window_ends():
    world = World()
    epoch = second_epoch(world, stale_until=world.epoch.not_after)
    world.log.append(sign_statement("epoch", epoch, (world.kms.sign,)))
    assert folded(world).void == 0


def test_a_log_that_did_not_grow_is_as_good_as_before():
    world = World()
    genesis = world.constitution.digest()
    known = examine_first_log(world.log.entries, world.log.checkpoint(at=NOON), genesis=genesis).require()
    assert examine_growth(known, [], world.log.checkpoint(at=NOON + 1)).require().state == known.state


def test_a_log_of_the_genesis_alone_can_be_replayed():
    world = World()
    del world.log.entries[1:]
    replayed = examine_first_log(
        world.log.entries, world.log.checkpoint(at=NOON), genesis=world.constitution.digest()
    ).require()
    assert replayed.state.lines == {}


def test_a_client_that_saw_one_entry_asks_for_its_proof():
    case = Case()
    case.memory = remembered(case, size=1, root=bytes(32))
    assert case.examine().failed == ["checkpoint.consistency"]


def test_what_is_not_local_has_a_notice_of_at_least_a_second():
    world = World()
    signers = (world.parties.owner, world.parties.operator)
    constitution = world.make_constitution(local=False, changes=replace(world.constitution.changes, notice_seconds=1))
    assert first_constitution(open_statement(sign_statement("constitution", constitution, signers))) == constitution
    contract = world.make_contract(local=False, changes=replace(world.contract.changes, notice_seconds=1))
    assert first_contract(open_statement(sign_statement("contract", contract, signers))) == contract


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True)])
def test_a_contract_neither_becomes_local_nor_ceases_to_be(before, after):
    world = World()
    signers = (world.parties.owner, world.parties.operator)
    changes = replace(world.contract.changes, notice_seconds=1)
    first = replace(world.contract, local=before, changes=changes)
    successor = replace(first, sequence=1, previous=first.digest(), local=after)
    with pytest.raises(AmendmentRefused, match=r"contract\.succession"):
        following_contract(first, open_statement(sign_statement("contract", successor, signers)))


def test_the_state_knows_where_everything_stands():
    world = World()
    signers = (world.parties.owner, world.parties.operator)
    successor = replace(world.constitution, sequence=1, previous=world.constitution.digest())
    world.log.append(sign_statement("constitution", successor, signers))
    amended = replace(world.contract, sequence=1, previous=world.contract.digest())
    world.log.append(sign_statement("contract", amended, signers))
    state = folded(world)
    entries = world.log.entries
    placed = [*state.constitutions, *line(state, world).chain, line(state, world).epochs[0].placed]
    assert [place.index for place in placed] == [0, 5, 1, 6, 3]
    assert [place.entry for place in placed] == [entries[place.index] for place in placed]
    assert [place.digest for place in placed] == [entry_digest(place.entry) for place in placed]
    assert {record.instance for record in line(state, world).releases} == {world.kms.sign.public}


def test_a_successor_finds_its_line_among_several():
    world = World()
    signers = (world.parties.owner, world.parties.operator)
    second = world.make_contract(name="second")
    world.log.append(sign_statement("contract", second, signers))
    successor = replace(second, sequence=1, previous=second.digest())
    world.log.append(sign_statement("contract", successor, signers))
    assert folded(world).lines[second.digest()].current == successor


def test_the_reason_is_that_of_the_last_entry():
    world = World()
    world.log.append(b"noise")
    world.log.append(sign_statement("epoch", second_epoch(world), (world.kms.sign,)))
    state = folded(world)
    assert (state.void, state.reason) == (1, "")


def test_releases_of_a_kept_epoch_are_kept():
    world = World()
    world.log.append(sign_statement("epoch", second_epoch(world), (world.kms.sign,)))
    assert len(line(folded(world), world).releases) == 1


def test_decisions_hold_what_they_decided():
    published = Published()
    decision = published.decision
    assert decision.evidence.keys == published.world.gateway.keys
    assert (decision.evidence.platform, decision.evidence.workload) == ("software", WORKLOAD)
    assert published.examine().require().decision is decision


def test_a_verified_bundle_holds_what_was_verified():
    case = Case()
    bundle = case.bundle
    verified = case.examine().require()
    assert (verified.constitution, verified.contract) == (case.world.constitution, case.world.contract)
    assert verified.bundle.contracts == bundle.contracts
    assert verified.checkpoint.size == len(case.world.log.entries)
    assert verified.kms.keys == case.world.kms.keys
    assert (verified.memory.genesis, verified.memory.cosigned_at) == (case.policy.constitution, NOON)
    assert verified.key_config == verified.keys.active.key_config


def test_a_memory_is_read_as_it_was_written():
    case = Case()
    memory = case.examine().require().memory
    assert parse_memory(canonical.encode(memory)) == memory
    first = first_contact(bytes(32))
    assert (first.genesis, first.size, first.root, first.epoch, first.cosigned_at) == (bytes(32), 0, b"", 0, 0)
    with pytest.raises(TooLarge):
        parse_memory(bytes(1025))
    with pytest.raises(MalformedInput):
        parse_memory(bytes(1024))


def detail(examination, check):
    return next(step.detail for step in examination.steps if step.id == check)


def test_a_software_tee_says_what_it_is():
    examination = Case().examine()
    assert detail(examination, "evidence.software-tee") == SOFTWARE_WORDS
    assert detail(examination, "trust.unsafe") == detail(examination, "evidence.unsafe") == "UnsafeAllowSoftwareTee"
    assert detail(examination, "evidence.workload") == f"{WORKLOAD.hex()[:16]}…"
    assert detail(examination, "evidence.platform-measurement") == f"{PLATFORM.hex()[:16]}…"


def test_nothing_is_left_without_words():
    for examination in (Case().examine(), ReleaseCase().examine(), ReceiptCase().examine()):
        assert all(isinstance(step.detail, str) for step in examination.steps)


@pytest.mark.parametrize("payload", [b"noise", bytes(262_145)])
def test_a_signed_head_that_does_not_parse_is_refused_by_name(payload):
    case = Case()
    note = case.world.log.checkpoint(at=NOON)
    signed = sign1(case.world.kms.sign, payload, content_type=STATE_HEAD_TYPE)
    case.bundle = replace(case.world.bundle(note), head=signed)
    assert case.examine().failed == ["head.signature"]


def signed_noise(kind, payload, key):
    """A statement whose signature holds and whose payload is no record."""
    signature = sign1(key, payload, content_type=content_type(kind), detached=True)
    return canonical.encode(Statement(kind=kind, payload=payload, signatures=(signature,)))


@pytest.mark.parametrize("payload", [b"noise", bytes(20_000)])
@pytest.mark.parametrize(("kind", "check"), [("epoch", "epoch.signature"), ("release", "gateway.signature")])
def test_a_signed_entry_that_does_not_parse_is_refused_by_name(kind, check, payload):
    case = Case()
    indices = case.world.epoch_entries if kind == "epoch" else case.world.release_entries
    case.rewrite(indices, signed_noise(kind, payload, case.world.kms.sign))
    examination = case.examine()
    assert examination.failed == [check]
    assert next(step.outcome for step in examination.steps if step.id == check) is Outcome.FAILED


def test_evidence_and_receipts_over_their_caps_are_refused_by_name():
    case = Case()
    case.bundle = msgspec.structs.replace(case.world.bundle(), evidence=bytes(48 * 1024 + 1))
    assert case.examine().failed == ["evidence.signature"]
    receipt = ReceiptCase()
    receipt.altered = lambda _core: bytes(1024 * 1024 + 1)
    assert receipt.examine().failed == ["receipt.key"]
    receipt = ReceiptCase()
    receipt.altered = lambda _core: sign1(
        receipt.key, bytes(2000), content_type="application/vnd.cloister.response-receipt+cbor"
    )
    assert receipt.examine().failed == ["receipt.signature"]
