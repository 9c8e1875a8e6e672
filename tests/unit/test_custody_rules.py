"""Custody in the fold: who may say what, in which order; and that no use is ever counted twice or beyond its grant."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doubles.custody_world import CUSTODIANS, CustodyWorld

from cloister.contract import custody
from cloister.contract.fold import advance
from cloister.crypto.signing import SigningKey
from cloister.formats.canonical import encode
from cloister.formats.contract import Custody, Grant
from cloister.formats.custody import Retirement, Rotation, parse_root
from cloister.formats.release import KmsInstance, Revocation
from cloister.formats.statement import parse_statement
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.testing.world import DAY, NOON, Node, evidence

replace = msgspec.structs.replace


@pytest.fixture
def world():
    """A root is made, and the password deposited."""
    made = CustodyWorld()
    made.log_all(made.root(), made.deposit())
    return made


def rotation(world, *keys, **changes):
    fields = {"contract": world.line, "generation": 1, "reason": "a custodian left"} | changes
    return sign_statement("rotation", Rotation(**fields), keys or (world.parties.operator,))


def retirement(world, *keys, **changes):
    fields = {"contract": world.line, "generation": 1, "reason": "all is sealed anew"} | changes
    return sign_statement("retirement", Retirement(**fields), keys or (world.parties.owner,))


def revocation(world, *keys, target):
    record = Revocation(contract=world.line, target=entry_digest(target), reason="lost")
    return sign_statement("revocation", record, keys or (world.parties.owner,))


def second_root(world, **changes):
    return world.root(2, entry_digest(world.log.entries[5]), **changes)


def successor(world, **changes):
    contract = replace(world.contract, sequence=1, previous=world.contract.digest(), **changes)
    signers = (world.parties.owner, world.parties.operator, *world.custodians.values())
    return contract, sign_statement("contract", contract, signers)


def second_kms(world):
    node, subject = Node(), world.constitution.digest()
    shown = evidence(world.parties.platform, "kms", node, challenge=bytes(32), subject=subject)
    instance = KmsInstance(constitution=subject, evidence=encode(shown), at=world.now)
    return node, sign_statement("kms", instance, (node.sign,))


def test_a_root_a_deposit_and_a_use_take_effect(world):
    line = world.line_after(world.use(world.log.entries[6]))
    assert [record.root.generation for record in line.custody.roots] == [1]
    assert line.custody.deposits["password"].owner == "model owner"
    assert line.custody.uses == {("password", "serve"): 1}


STRANGER = SigningKey.generate()
VOID = [
    # roots
    ("kms.signature", lambda world: world.root(node=Node())),
    ("contract.succession", lambda world: world.root(contract=bytes(32))),
    ("root.terms", lambda world: second_root(world, terms=bytes(32))),
    ("root.chain", lambda world: world.root()),
    ("root.chain", lambda world: world.root(3, entry_digest(world.log.entries[5]))),
    ("root.chain", lambda world: world.root(2, bytes(32))),
    ("root.due", second_root),
    # deposits
    ("contract.succession", lambda world: world.deposit(number=2, contract=bytes(32))),
    ("deposit.asset", lambda world: world.deposit(number=2, asset="pass-word")),
    ("deposit.signature", lambda world: world.deposit(STRANGER, number=2)),
    ("deposit.signature", lambda world: world.deposit(world.parties.operator, number=2)),
    ("deposit.signature", lambda world: world.deposit(world.parties.owner, world.parties.operator, number=2)),
    ("deposit.task", lambda world: world.deposit(number=2, task="train")),
    ("deposit.contract", lambda world: world.deposit(number=2, under=(bytes(32),))),
    ("deposit.generation", lambda world: world.deposit(number=2, generation=2)),
    ("deposit.number", lambda world: world.deposit(number=1, expires=NOON + 5)),
    ("deposit.expiry", lambda world: world.deposit(number=2, expires=NOON)),
    # uses
    ("kms.signature", lambda world: world.use(world.log.entries[6], node=Node())),
    ("contract.succession", lambda world: world.use(world.log.entries[6], contract=bytes(32))),
    ("asset.deposit", lambda world: world.use(world.log.entries[5])),
    ("asset.deposit", lambda world: world.use(world.log.entries[6], world.log.entries[6])),
    ("asset.task", lambda world: world.use(world.log.entries[6], task="train")),
    ("asset.expiry", lambda world: world.use(world.log.entries[6], at=NOON + DAY)),
    # recoveries
    ("recovery.generation", lambda world: world.recovery("bank", generation=2)),
    ("recovery.custodian", lambda world: world.recovery("bank", custodian="operator")),
    ("recovery.signature", lambda world: world.recovery("bank", world.custodians["notary"])),
    ("recovery.signature", lambda world: world.recovery("bank", world.custodians["bank"], world.parties.operator)),
    ("recovery.instance", lambda world: world.recovery("bank", instance=bytes(32))),
    # rotations, retirements, revocations
    ("custody.signature", lambda world: rotation(world, STRANGER)),
    ("rotation.generation", lambda world: rotation(world, generation=2)),
    ("custody.signature", lambda world: retirement(world, STRANGER)),
    ("retirement.generation", retirement),
    ("revocation.owner", lambda world: revocation(world, world.parties.operator, target=world.log.entries[6])),
]


@pytest.mark.parametrize(("reason", "make"), VOID, ids=[f"{at}-{one[0]}" for at, one in enumerate(VOID)])
def test_an_entry_that_its_rules_do_not_allow_has_no_effect(world, reason, make):
    before = world.state()
    after = advance(before, make(world))
    assert after.reason.startswith(reason)
    assert after.lines == before.lines


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 1},
        {"shares": lambda made: made.shares[:2]},
        {"shares": lambda made: made.shares[::-1]},
        {"shares": lambda made: (*made.shares, made.shares[0])},
    ],
    ids=["threshold", "fewer", "order", "more"],
)
def test_a_root_that_is_not_shared_as_the_contract_says_has_no_effect(changes):
    world = CustodyWorld()
    made = parse_root(parse_statement(world.root()).payload)
    changed = {name: change(made) if callable(change) else change for name, change in changes.items()}
    assert world.state(world.root(**changed)).reason.startswith("root.shares")


def test_a_contract_with_nothing_to_keep_may_have_a_first_root_and_no_second():
    world = CustodyWorld(assets=CustodyWorld().contract.assets[:1], grants=CustodyWorld().contract.grants[:1])
    first = world.root()
    assert not world.state(first).reason
    assert world.state(first, world.root(2, entry_digest(first))).reason.startswith("root.due")


def test_a_deposit_before_any_root_has_no_effect():
    world = CustodyWorld()
    assert world.state(world.deposit()).reason.startswith("deposit.generation")


def test_the_use_beyond_the_grant_is_void_whichever_replica_logs_it():
    """Two replicas see one use left and log at the same instant: the log's order decides, and one gives nothing."""
    world = CustodyWorld(uses=1)
    other, shown = second_kms(world)
    world.log_all(world.root(), deposit := world.deposit(), shown)
    first, second = world.use(deposit), world.use(deposit, node=other)
    for one, two in ((first, second), (second, first)):
        state = world.state(one, two)
        assert state.reason.startswith("asset.uses: password was used 1 times, 1 are granted")
        custody = state.lines[world.line].custody
        assert [record.placed.entry for record in custody.counted] == [one]
        assert custody.uses == {("password", "serve"): 1}


@settings(max_examples=25, deadline=None)
@given(granted=st.integers(1, 4), tried=st.integers(0, 7))
def test_never_more_uses_count_than_were_granted(granted, tried):
    world = CustodyWorld(uses=granted)
    world.log_all(world.root(), deposit := world.deposit())
    custody = world.line_after(*(world.use(deposit, at=NOON + at) for at in range(tried))).custody
    assert custody.uses.get(("password", "serve"), 0) == len(custody.counted) == min(granted, tried)


def test_a_use_that_is_logged_again_spends_nothing():
    """Whoever may write to the log has the entry, and so could burn what an owner granted."""
    world = CustodyWorld(uses=3)
    world.log_all(world.root(), deposit := world.deposit())
    use = world.use(deposit)
    once, again = world.state(use), world.state(use, use)
    assert again.broken == "use.number"
    assert again.lines == once.lines
    assert world.line_after(use, use, use, world.use(deposit)).custody.uses == {("password", "serve"): 2}


def test_each_instance_counts_its_own_uses():
    world = CustodyWorld(uses=4)
    other, shown = second_kms(world)
    world.log_all(world.root(), deposit := world.deposit(), shown)
    uses = [world.use(deposit, number=1), world.use(deposit, node=other, number=1), world.use(deposit, number=2)]
    assert world.line_after(*uses, *uses).custody.uses == {("password", "serve"): 3}


def test_an_instance_that_shows_itself_again_under_a_successor_has_no_use_counted_again():
    """A successor of the constitution retires every instance, and the same keys come back under it."""
    world = CustodyWorld(uses=3)
    world.log_all(world.root(), deposit := world.deposit(), use := world.use(deposit))
    successor = replace(world.constitution, sequence=1, previous=world.constitution.digest(), name="the next")
    amended = sign_statement("constitution", successor, (world.parties.owner, world.parties.operator))
    subject = successor.digest()
    shown = evidence(world.parties.platform, "kms", world.kms, challenge=bytes(32), subject=subject)
    instance = KmsInstance(constitution=subject, evidence=encode(shown), at=world.now)
    back = sign_statement("kms", instance, (world.kms.sign,))
    state = world.state(amended, back)
    assert state.instances == (world.kms.sign.public,)
    assert advance(state, use).broken == "use.number"


@settings(max_examples=25, deadline=None)
@given(order=st.lists(st.integers(0, 4), max_size=12))
def test_however_entries_are_repeated_and_put_elsewhere_no_use_counts_twice(order):
    world = CustodyWorld(uses="unlimited")
    world.log_all(world.root(), deposit := world.deposit())
    uses = [world.use(deposit, at=NOON + at) for at in range(5)]
    counted: list[int] = []
    for one in order:
        if not counted or one > counted[-1]:
            counted.append(one)
    custody = world.line_after(*(uses[one] for one in order)).custody
    assert [record.placed.entry for record in custody.counted] == [uses[one] for one in counted]
    assert sum(custody.uses.values()) == len(counted)


def test_unlimited_uses_are_counted_and_never_over():
    world = CustodyWorld(uses="unlimited")
    world.log_all(world.root(), deposit := world.deposit())
    assert world.line_after(*(world.use(deposit, at=NOON + at) for at in range(5))).custody.uses == {
        ("password", "serve"): 5
    }


def test_a_use_of_two_assets_spends_both_or_neither():
    world = CustodyWorld(uses=1)
    secret = world.contract.assets[1]
    grants = (*world.contract.grants, Grant(asset="token", task="serve", uses=1, not_after=NOON + DAY, policy=()))
    world = CustodyWorld(uses=1, assets=(*world.contract.assets, replace(secret, name="token")), grants=grants)
    deposits = world.deposit(), world.deposit(asset="token")
    world.log_all(world.root(), *deposits, world.use(deposits[1]))
    state = world.state(world.use(*deposits))
    assert state.reason.startswith("asset.uses: token")
    assert state.lines[world.line].custody.uses == {("token", "serve"): 1}


def test_uses_count_on_through_a_successor_of_the_contract(world):
    contract, entry = successor(world, not_after=world.contract.not_after + 1)
    deposit = world.log.entries[6]
    first = world.use(deposit)
    uses = [world.use(deposit, contract=contract.digest(), at=NOON + at) for at in range(2)]
    state = world.state(first, entry, *uses)
    assert state.reason.startswith("asset.uses: password was used 2 times")


def test_a_grant_that_a_successor_takes_away_lets_nothing_out(world):
    contract, entry = successor(world, grants=world.contract.grants[:1])
    use = world.use(world.log.entries[6], contract=contract.digest())
    assert world.state(entry, use).reason.startswith("asset.grant")


def test_the_latest_deposit_counts_and_no_other(world):
    newer = world.deposit(number=2)
    assert world.state(newer, world.use(world.log.entries[6])).reason.startswith("asset.deposit")
    assert world.state(newer, world.use(newer)).reason == ""


def test_a_revoked_deposit_lets_nothing_out_and_its_number_is_spent(world):
    revoked = revocation(world, target=world.log.entries[6])
    assert world.state(revoked, world.use(world.log.entries[6])).reason.startswith("asset.deposit")
    assert world.state(revoked, world.deposit(number=1)).reason.startswith("deposit.number")
    newer = world.deposit(number=2)
    assert world.state(revoked, newer, world.use(newer)).reason == ""


def test_a_deposit_of_another_line_cannot_be_replayed_into_this_one(world):
    stranger = CustodyWorld()
    assert world.state(stranger.deposit(number=2)).reason.startswith("contract.succession")


def test_a_rotation_makes_the_next_root_due_once(world):
    after = world.state(rotation(world), second_root(world))
    assert after.reason == ""
    assert [record.root.generation for record in after.lines[world.line].custody.roots] == [1, 2]
    third = world.root(3, entry_digest(second_root(world)))
    assert advance(after, third).reason.startswith("root.")
    assert advance(after, rotation(world)).reason.startswith("rotation.generation")


def test_no_more_roots_are_asked_for_than_can_be_kept(world, monkeypatch):
    monkeypatch.setattr(custody, "MAXIMUM_ROOTS", 2)
    rotated = (rotation(world), second_root(world))
    more = rotation(world, generation=2)
    assert world.state(*rotated, more).reason.startswith("rotation.number")
    assert world.state(*rotated, retirement(world), more).reason == ""


def test_a_revoked_contract_takes_nothing_into_custody(world):
    ended = Revocation(contract=world.line, target=world.line, reason="it is over")
    entry = sign_statement("revocation", ended, (world.parties.owner,))
    for late in (world.deposit(number=2), rotation(world), world.recovery("bank"), world.use(world.log.entries[6])):
        assert world.state(entry, late).reason.startswith("contract.succession")


def test_other_custodians_make_the_next_root_due(world):
    contract, entry = successor(world, custody=Custody(custodians=CUSTODIANS, threshold=3))
    root = second_root(world, terms=contract.digest(), threshold=3)
    assert world.state(entry, root).reason == ""
    assert world.state(entry, second_root(world, terms=contract.digest())).reason.startswith("root.shares")


def test_a_retirement_takes_out_what_was_deposited_before_and_all_its_owners_agree(world):
    rotated = (rotation(world), second_root(world))
    assert world.state(*rotated, retirement(world, world.parties.operator)).reason.startswith("retirement.owners")
    gone = world.state(*rotated, retirement(world))
    assert gone.reason == ""
    assert advance(gone, world.use(world.log.entries[6])).reason.startswith("asset.deposit")
    assert advance(gone, world.deposit(number=2)).reason.startswith("deposit.generation")
    assert advance(gone, world.deposit(number=2, generation=2)).reason == ""


def test_a_retirement_needs_nobody_whose_asset_was_deposited_anew(world):
    entries = (rotation(world), second_root(world), world.deposit(number=2, generation=2))
    assert world.state(*entries, retirement(world, world.parties.operator)).reason == ""


def test_a_custodians_last_word_to_an_instance_counts_once(world):
    entries = [world.recovery("bank"), world.recovery("notary"), world.recovery("bank")]
    given = world.line_after(*entries).custody.recoveries
    assert [one.custodian for one in given] == ["notary", "bank"]


def test_what_custodians_gave_ends_with_the_next_root(world):
    line = world.line_after(world.recovery("bank"), rotation(world), second_root(world))
    assert line.custody.recoveries == ()
