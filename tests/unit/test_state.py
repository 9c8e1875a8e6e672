"""The fold: an entry counts where its rules allow it, and is void, with a reason, everywhere else."""

import dataclasses
from typing import Any

import msgspec
import pytest

from cloister.contract.fold import advance, begin, fold
from cloister.contract.instances import KEPT_EPOCHS
from cloister.contract.placed import EntryVoid
from cloister.contract.refusals import KEPT_REFUSALS
from cloister.contract.series import Series
from cloister.crypto.signing import SigningKey
from cloister.formats import canonical
from cloister.formats.governance import Vote, WitnessedTime
from cloister.formats.refusal import FailedCheck, Refusal
from cloister.formats.release import KmsInstance, Revocation
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.testing.world import DAY, Node, World, evidence, signed_report

replace = msgspec.structs.replace


@pytest.fixture
def world():
    return World()


def folded(world):
    entries = world.log.entries
    return fold(begin(entries[0], genesis=world.constitution.digest()), entries[1:])


def line(state, world):
    return state.lines[world.contract.digest()]


def test_the_whole_world_takes_effect(world):
    state = folded(world)
    assert (state.size, state.void, state.reason) == (5, 0, "")
    assert state.instances == (world.kms.sign.public,)
    assert [record.epoch.number for record in line(state, world).epochs] == [1]
    assert [record.release.node for record in line(state, world).releases] == [world.gateway.keys]


@pytest.mark.parametrize("entry", [b"", b"noise"])
def test_a_log_that_begins_with_no_constitution_counts_for_nothing(entry):
    with pytest.raises(EntryVoid, match=r"constitution\.genesis"):
        begin(entry, genesis=bytes(32))


def test_a_log_that_begins_with_another_constitution_counts_for_nothing(world):
    with pytest.raises(EntryVoid, match=r"constitution\.genesis"):
        begin(world.log.entries[0], genesis=bytes(32))


def refused(world):
    """What the KMS says of a node that got no key."""
    failed = (FailedCheck(check="evidence.workload", shortfall="is not named"),)
    return Refusal(
        subject=world.contract.digest(),
        number=1,
        role="gateway",
        wanted="assets",
        failed=failed,
        evidence=bytes(32),
        node=world.gateway.keys.thumbprint(),
        at=world.now,
        omitted=3,
    )


def stranger(kind, record):
    return lambda world: sign_statement(kind, record(world), (SigningKey.generate(),))


def by_kms(kind, record):
    return lambda world: sign_statement(kind, record(world), (world.kms.sign,))


def by_parties(kind, record):
    return lambda world: sign_statement(kind, record(world), (world.parties.owner, world.parties.operator))


def instance(world, node, **changes):
    subject = changes.get("subject", world.constitution.digest())
    shown = evidence(world.parties.platform, "kms", node, challenge=bytes(32), subject=subject)
    if "workload" in changes:
        shown = replace(
            shown,
            report=signed_report(world.parties.platform, shown.binding.report_data(), workload=changes["workload"]),
        )
    return KmsInstance(constitution=subject, evidence=canonical.encode(shown), at=changes.get("at", world.now))


def second_epoch(world, **changes):
    previous = entry_digest(world.log.entries[world.epoch_entries[-1]])
    return world.make_epoch(**({"number": 2, "previous": previous} | changes))


def revocation(world, **changes):
    target = entry_digest(world.log.entries[world.epoch_entries[0]])
    fields = {"contract": world.contract.digest(), "target": target, "reason": "lost"} | changes
    return Revocation(**fields)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda _world: b"noise", "not CBOR"),
        (lambda world: world.log.entries[0], "constitution.succession"),
        (lambda world: world.log.entries[1], "contract.succession"),
        (stranger("constitution", lambda world: world.constitution), "constitution.succession"),
        (by_parties("contract", lambda world: world.make_contract(name="x", constitution=bytes(32))), "contract.const"),
        (stranger("contract", lambda world: world.make_contract(name="x")), "contract.signatures"),
        (stranger("kms", lambda world: instance(world, Node())), "kms.signature"),
        (by_kms("kms", lambda world: instance(world, world.kms, subject=bytes(32))), "kms.constitution"),
        (by_kms("kms", lambda world: instance(world, world.kms, workload=bytes(48))), "evidence.workload"),
        (by_kms("kms", lambda world: instance(world, world.kms, at=world.now - 2 * DAY)), "kms.time"),
        (stranger("epoch", second_epoch), "kms.signature"),
        (by_parties("epoch", second_epoch), "kms.signature"),
        (by_kms("epoch", lambda world: second_epoch(world, number=3)), "epoch.chain"),
        (by_kms("epoch", lambda world: second_epoch(world, previous=bytes(32))), "epoch.chain"),
        (by_kms("epoch", lambda world: second_epoch(world, contract=bytes(32))), "contract.succession"),
        (by_kms("epoch", lambda world: second_epoch(world, key_config=b"x")), "not supported"),
        (by_kms("epoch", lambda world: second_epoch(world, not_after=world.epoch.not_before)), "epoch.window"),
        (by_kms("epoch", lambda world: second_epoch(world, stale_until=world.epoch.not_after - 1)), "epoch.window"),
        (stranger("release", lambda world: world.make_release()), "kms.signature"),
        (by_kms("release", lambda world: world.make_release(epoch=bytes(32))), "gateway.epoch"),
        (by_kms("release", lambda world: world.make_release(contract=bytes(32))), "contract.succession"),
        (stranger("revocation", revocation), "revocation.signature"),
        (stranger("refusal", refused), "kms.signature"),
        (by_parties("refusal", refused), "kms.signature"),
        (by_kms("refusal", lambda world: replace(refused(world), subject=bytes(32))), "refusal.subject"),
        (by_kms("refusal", lambda world: replace(refused(world), wanted="handover")), "refusal.subject"),
        (by_kms("revocation", revocation), "revocation.signature"),
        (by_parties("revocation", lambda world: revocation(world, contract=bytes(32))), "revocation.contract"),
        (by_parties("revocation", lambda world: revocation(world, target=bytes(32))), "revocation.target"),
    ],
)
def test_an_entry_that_its_rules_do_not_allow_has_no_effect(world, make, reason):
    before = folded(world)
    after = advance(before, make(world))
    assert reason in after.reason
    assert (after.size, after.void) == (before.size + 1, 1)
    assert (after.lines, after.instances, after.constitution) == (before.lines, before.instances, before.constitution)


def test_a_second_kms_instance_counts_beside_the_first(world):
    node = Node()
    state = advance(folded(world), sign_statement("kms", instance(world, node), (node.sign,)))
    assert state.instances == (world.kms.sign.public, node.sign.public)


def test_a_new_constitution_retires_every_instance(world):
    successor = replace(world.constitution, sequence=1, previous=world.constitution.digest())
    state = advance(folded(world), by_parties("constitution", lambda _world: successor)(world))
    assert state.constitution == successor
    assert state.instances == ()
    assert state.retired == (world.kms.sign.public,)
    assert advance(state, by_kms("epoch", second_epoch)(world)).reason.startswith("kms.signature")


def test_a_successor_contract_keeps_the_line_and_begins_a_new_epoch(world):
    successor = replace(world.contract, sequence=1, previous=world.contract.digest())
    state = advance(folded(world), by_parties("contract", lambda _world: successor)(world))
    assert line(state, world).current == successor
    assert "contract.succession" in advance(state, by_kms("epoch", second_epoch)(world)).reason
    epoch = by_kms("epoch", lambda world: second_epoch(world, contract=successor.digest()))(world)
    assert [record.epoch.number for record in line(advance(state, epoch), world).epochs] == [1, 2]


def test_a_second_contract_begins_a_line_of_its_own(world):
    other = world.make_contract(name="another")
    state = advance(folded(world), by_parties("contract", lambda _world: other)(world))
    assert set(state.lines) == {world.contract.digest(), other.digest()}


@pytest.mark.parametrize("signer", ["owner", "operator"])
def test_any_party_may_revoke_a_key(world, signer):
    entry = sign_statement("revocation", revocation(world), (getattr(world.parties, signer),))
    state = advance(folded(world), entry)
    assert line(state, world).revoked == {entry_digest(world.log.entries[world.epoch_entries[0]])}


def test_a_release_can_be_revoked_as_well(world):
    target = entry_digest(world.log.entries[world.release_entries[0]])
    entry = by_parties("revocation", lambda world: revocation(world, target=target))(world)
    assert line(advance(folded(world), entry), world).revoked == {target}


def test_a_node_is_revoked_with_its_release_and_does_not_come_back(world):
    again = sign_statement("release", world.make_release(at=world.make_release().at + 1), (world.kms.sign,))
    target = entry_digest(world.log.entries[world.release_entries[0]])
    revoked = by_parties("revocation", lambda world: revocation(world, target=target))(world)
    state = advance(advance(folded(world), again), revoked)
    assert line(state, world).releases == Series()
    assert line(state, world).revoked_nodes == {world.gateway.sign.public}
    later = sign_statement("release", world.make_release(at=world.make_release().at + 2), (world.kms.sign,))
    assert advance(state, later).reason.startswith("release.node")
    other = sign_statement("release", world.make_release(node=Node().keys), (world.kms.sign,))
    assert len(line(advance(state, other), world).releases) == 1


def test_only_the_last_epochs_and_their_releases_are_kept(world):
    state = folded(world)
    for number in range(2, KEPT_EPOCHS + 3):
        previous = line(state, world).epochs[-1].placed.digest
        epoch = world.make_epoch(number=number, previous=previous)
        state = advance(state, sign_statement("epoch", epoch, (world.kms.sign,)))
    assert state.void == 0
    assert [record.epoch.number for record in line(state, world).epochs] == list(range(3, KEPT_EPOCHS + 3))
    assert line(state, world).releases == Series()


def test_a_statement_signed_twice_by_one_key_is_void(world):
    entry = sign_statement("contract", world.make_contract(name="x"), (world.parties.owner,) * 2)
    assert "signs twice" in advance(folded(world), entry).reason


def test_a_clock_that_runs_ahead_at_a_release_shuts_no_later_instance_out(world):
    """A release says what the host's clock said; only what witnesses said of the time holds for others."""
    ahead = sign_statement("release", world.make_release(at=world.now + 300 * DAY), (world.kms.sign,))
    second = Node()
    state = advance(advance(folded(world), ahead), sign_statement("kms", instance(world, second), (second.sign,)))
    assert state.reason == ""
    assert second.sign.public in state.instances


class OthersLine:
    """A stranger's contract line, in which nothing is to be looked for."""

    def __init__(self, governed):
        self.first, self.known = governed, False

    @property
    def governed(self):
        assert not self.known, "an entry that is not about this line is looked for in it"
        return self.first


@pytest.mark.parametrize("name", ["release", "refusal", "successor", "vote", "time", "revocation", "another line"])
def test_what_is_said_of_one_line_is_not_looked_for_in_strangers_lines(world, name):
    """Whoever may write to the log can begin lines; if each cost something at every entry, replays were quadratic."""
    state, own = folded(world), world.contract.digest()
    quiet = line(state, world).governed
    successor = replace(world.contract, sequence=1, previous=own, not_after=world.contract.not_after + 1)
    proposal = sign_statement("contract", successor, (world.parties.operator,))
    state = advance(state, proposal)
    assert not state.reason
    others: list[Any] = [OthersLine(dataclasses.replace(quiet, digest=bytes([n]) * 32)) for n in range(200)]
    for n, one in enumerate(others):
        state = dataclasses.replace(state, lines=state.lines.put(bytes([n]) * 31 + b"-", one))
    for one in others:
        one.known = True
    entry = {
        "release": lambda: sign_statement("release", world.make_release(at=world.now + 1), (world.kms.sign,)),
        "refusal": lambda: sign_statement("refusal", refused(world), (world.kms.sign,)),
        "successor": lambda: sign_statement(
            "contract", replace(successor, not_after=successor.not_after + 1), (world.parties.operator,)
        ),
        "vote": lambda: sign_statement(
            "vote", Vote(proposal=entry_digest(proposal), choice="approve"), (world.parties.owner,)
        ),
        "time": lambda: sign_statement(
            "time", WitnessedTime(note=world.log.checkpoint(at=world.now + 60)), (world.kms.sign,)
        ),
        "revocation": lambda: sign_statement(
            "revocation", Revocation(contract=own, target=own, reason="over"), (world.parties.owner,)
        ),
        "another line": lambda: sign_statement(
            "contract", replace(world.contract, name="another line"), (world.parties.owner, world.parties.operator)
        ),
    }[name]()
    after = advance(state, entry)
    assert (after.reason, after.size) == ("", state.size + 1)


def test_refusals_are_counted_and_change_nothing_else(world):
    before = folded(world)
    entries = [sign_statement("refusal", replace(refused(world), number=n), (world.kms.sign,)) for n in (1, 4)]
    after = fold(before, entries)
    told = line(after, world).refusals
    assert (told.logged, told.omitted, [one.placed.index for one in told.latest]) == (2, 6, [5, 6])
    assert dataclasses.replace(line(after, world), refusals=line(before, world).refusals) == line(before, world)


@pytest.mark.parametrize("wanted", ["assets", "handover"])
def test_a_refusal_that_is_logged_again_is_counted_once(world, wanted):
    """Anyone who may write to the log has the entry; nobody makes one refusal look like many with it."""
    subject = world.constitution.digest() if wanted == "handover" else world.contract.digest()
    made = [replace(refused(world), wanted=wanted, subject=subject, number=number) for number in (1, 2)]
    entries = [sign_statement("refusal", one, (world.kms.sign,)) for one in made]
    once = fold(folded(world), entries)
    for again in entries:
        after = advance(once, again)
        assert after.broken == "refusal.number"
        assert (after.lines, after.refusals) == (once.lines, once.refusals)
    told = once.refusals if wanted == "handover" else line(once, world).refusals
    assert (told.logged, told.omitted) == (2, 6)


def test_the_latest_refusals_are_kept_and_all_are_counted(world):
    state = folded(world)
    for at in range(KEPT_REFUSALS + 3):
        made = replace(refused(world), at=at, number=at + 1)
        state = advance(state, sign_statement("refusal", made, (world.kms.sign,)))
    told = line(state, world).refusals
    assert (told.logged, len(told.latest), told.latest[0].refusal.at) == (KEPT_REFUSALS + 3, KEPT_REFUSALS, 3)
