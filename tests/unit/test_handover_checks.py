"""Every step before a secret goes from one KMS instance to another, and before it is used there."""

import hashlib

import msgspec
import pytest

from cloister.attest.seen import SEEN_NOTHING
from cloister.contract.fold import advance, begin, fold
from cloister.contract.handover import (
    HANDED_STEPS,
    HANDOVER_STEPS,
    LOGGED_HANDOVER_STEPS,
    AskedByInstance,
    HandoverRefused,
    examine_handed,
    examine_handover,
    examine_logged_handover,
)
from cloister.crypto.hpke import X_WING, KemPrivateKey, wrap
from cloister.crypto.signing import SigningKey
from cloister.formats import canonical
from cloister.formats.handover import (
    HANDOVER_INFO,
    HandedOver,
    HandedSecret,
    Handover,
    HandoverReply,
    HandoverRequest,
    NamedSecret,
)
from cloister.formats.release import KmsInstance, Revocation
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.testing.world import NOON, Node, World, evidence, signed_report

replace = msgspec.structs.replace
CHALLENGE = hashlib.sha256(b"challenge of these tests").digest()


class Case:
    """A second instance, which the log took in, asks the first for the epoch's key; a row changes one thing."""

    def __init__(self):
        self.world = World()
        self.asker = Node()
        self.at = NOON
        self.live = True
        self.take_in(self.asker)
        self.shown = self.evidence(self.asker)
        self.constitution = self.world.constitution.digest()
        self.secret = NamedSecret(kind="epoch", name=entry_digest(self.world.log.entries[self.world.epoch_entries[0]]))
        self.wants = (self.secret,)
        self.held = {self.secret.name}

    def take_in(self, node):
        shown = self.evidence(node, challenge=bytes(32))
        subject = self.world.constitution.digest()
        instance = KmsInstance(constitution=subject, evidence=canonical.encode(shown), at=NOON)
        self.world.log.append(sign_statement("kms", instance, (node.sign,)))

    def evidence(self, node, *, role="kms", challenge=CHALLENGE):
        subject = self.world.constitution.digest()
        return evidence(self.world.parties.platform, role, node, challenge=challenge, subject=subject)

    def rebind(self, **changes):
        binding = replace(self.shown.binding, **changes)
        report = signed_report(self.world.parties.platform, binding.report_data())
        self.shown = replace(self.shown, binding=binding, report=report)

    def report(self, **changes):
        report = signed_report(self.world.parties.platform, self.shown.binding.report_data(), **changes)
        self.shown = replace(self.shown, report=report)

    def state(self):
        entries = self.world.log.entries
        return fold(begin(entries[0], genesis=self.world.constitution.digest()), entries[1:])

    def examine(self):
        request = HandoverRequest(constitution=self.constitution, wants=self.wants, evidence=b"-")
        asked = AskedByInstance(request, self.shown, CHALLENGE, self.live, SEEN_NOTHING)
        return examine_handover(self.state(), asked, held=self.held, at=self.at)


def revoke(world):
    target = entry_digest(world.log.entries[world.epoch_entries[0]])
    revocation = Revocation(contract=world.contract.digest(), target=target, reason="lost")
    world.log.append(sign_statement("revocation", revocation, (world.parties.owner,)))


def amend(world):
    successor = replace(world.constitution, sequence=1, previous=world.constitution.digest())
    world.log.append(sign_statement("constitution", successor, (world.parties.owner, world.parties.operator)))


def test_a_handover_with_everything_in_order_is_decided_for():
    case = Case()
    examination = case.examine()
    assert examination.passed == list(HANDOVER_STEPS)
    assert examination.require().secrets == (case.secret,)


def another_constitution(case):
    case.constitution = bytes(32)


def an_instance_that_nobody_sees(case):
    case.shown = case.evidence(Node())


def an_answer_to_nobody(case):
    case.live = False


def a_key_that_is_not_here(case):
    case.held = set()


def a_key_that_was_revoked(case):
    revoke(case.world)


def a_key_that_the_log_does_not_know(case):
    case.wants = (NamedSecret(kind="epoch", name=bytes(32)),)
    case.held = {bytes(32)}


@pytest.mark.parametrize(
    ("check", "row"),
    [
        pytest.param(check, row, id=f"{check}-{row.__name__}", marks=pytest.mark.breaks(check))
        for check, row in [
            ("handover.constitution", another_constitution),
            ("handover.instance", an_instance_that_nobody_sees),
            ("handover.challenge", an_answer_to_nobody),
            ("handover.secrets", a_key_that_is_not_here),
            ("handover.secrets", a_key_that_was_revoked),
            ("handover.secrets", a_key_that_the_log_does_not_know),
        ]
    ],
)
def test_each_broken_link_is_refused_by_its_own_check_alone(check, row):
    case = Case()
    row(case)
    examination = case.examine()
    assert examination.failed == [check]
    with pytest.raises(HandoverRefused, match=check):
        examination.require()


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("evidence.challenge", lambda case: case.rebind(challenge=bytes(32))),
        ("evidence.subject", lambda case: case.rebind(subject=bytes(32))),
        ("evidence.workload", lambda case: case.report(workload=bytes(48))),
        ("evidence.platform-measurement", lambda case: case.report(platform_measurement=bytes(48))),
    ],
)
def test_the_askers_evidence_is_judged_as_a_nodes_is(check, change):
    case = Case()
    change(case)
    assert case.examine().failed == [check]


class Logged(Case):
    """A handover decided and logged."""

    def __init__(self):
        super().__init__()
        self.decision = self.examine().require()
        self.entry = sign_statement("handover", self.record(), (self.world.kms.sign,))
        self.world.log.append(self.entry)

    def record(self, **changes):
        record = Handover(
            constitution=self.world.constitution.digest(),
            to=self.asker.sign.public,
            secrets=self.wants,
            evidence=hashlib.sha256(b"evidence").digest(),
            checks=("handover.instance",),
            at=NOON,
        )
        return replace(record, **changes)

    def examine_logged(self):
        return examine_logged_handover(self.decision, self.entry, self.state())

    def handed(self, *, secret=None, entry=None, name=None, to=None):
        """What the receiver makes of a reply with one thing changed."""
        value = self.world.transport.secret.reveal() if secret is None else secret
        entry = entry or self.entry
        handed = HandedOver(secrets=(HandedSecret(kind="epoch", name=name or self.secret.name, secret=value),))
        public = (to or self.asker).keys.wrap
        wrapped = wrap(public, canonical.encode(handed), info=HANDOVER_INFO, aad=entry_digest(entry))
        reply = HandoverReply(entry=entry, checkpoint=b"-", wrapped=wrapped)
        return examine_handed(self.state(), reply, own=self.asker.sign.public, wrap_key=self.asker.wrap)


def test_a_handover_in_the_witnessed_log_lets_the_secrets_go():
    examination = Logged().examine_logged()
    assert examination.passed == list(LOGGED_HANDOVER_STEPS)
    assert examination.require().entry


@pytest.mark.breaks("handover.effect")
def test_a_handover_that_the_log_holds_void_is_refused_by_that_check_alone():
    logged = Logged()
    logged.entry = sign_statement("handover", logged.record(), (SigningKey.generate(),))
    logged.world.log.append(logged.entry)
    assert logged.examine_logged().failed == ["handover.effect"]


@pytest.mark.breaks("handover.unchanged")
@pytest.mark.parametrize("overtake", [amend, revoke])
def test_an_entry_that_overtakes_a_handover_holds_the_secrets_back(overtake):
    logged = Logged()
    overtake(logged.world)
    assert logged.examine_logged().failed == ["handover.unchanged"]


def test_what_was_handed_over_is_taken_where_it_is_what_the_log_says():
    examination = Logged().handed()
    assert examination.passed == list(HANDED_STEPS)
    assert examination.require().secrets


@pytest.mark.breaks("handed.logged")
def test_a_handover_to_another_instance_is_not_taken():
    logged = Logged()
    third = Node()
    logged.take_in(third)
    entry = sign_statement("handover", logged.record(to=third.sign.public), (logged.world.kms.sign,))
    logged.world.log.append(entry)
    assert logged.handed(entry=entry).failed == ["handed.logged"]


@pytest.mark.breaks("handed.seal")
def test_what_was_sealed_for_another_is_not_taken():
    assert Logged().handed(to=Node()).failed == ["handed.seal"]


@pytest.mark.breaks("handed.secrets")
def test_another_key_than_the_log_says_is_not_taken():
    logged = Logged()
    world, key = logged.world, KemPrivateKey.generate(X_WING)
    second = world.make_epoch(number=2, previous=logged.secret.name)
    config = replace(second, key_config=second.key_config.replace(world.transport.public, key.public))
    entry = sign_statement("epoch", config, (world.kms.sign,))
    world.log.append(entry)
    assert logged.handed(name=entry_digest(entry), secret=key.secret.reveal()).failed == ["handed.secrets"]


@pytest.mark.breaks("handed.keys")
@pytest.mark.parametrize("secret", [bytes(32), bytes(33)])
def test_a_key_that_is_not_the_one_clients_encrypt_to_is_not_taken(secret):
    assert Logged().handed(secret=secret).failed == ["handed.keys"]


def test_a_retired_instance_may_hand_over_and_nothing_else():
    logged = Logged()
    world = logged.world
    amend(world)
    successor = replace(world.constitution, sequence=1, previous=world.constitution.digest())
    world.constitution, genesis = successor, world.constitution
    node = Node()
    logged.take_in(node)
    world.constitution = genesis
    state = logged.state()
    assert state.instances == (node.sign.public,)
    record = logged.record(constitution=successor.digest(), to=node.sign.public)
    after = advance(state, sign_statement("handover", record, (world.kms.sign,)))
    assert after.handovers[-1].giver == world.kms.sign.public
    release = sign_statement("release", world.make_release(at=NOON), (world.kms.sign,))
    assert advance(state, release).reason.startswith("kms.signature")


@pytest.mark.parametrize(
    ("changes", "signer", "reason"),
    [
        ({}, "stranger", "kms.signature"),
        ({"constitution": bytes(32)}, "kms", "handover.constitution"),
        ({"to": bytes(32)}, "kms", "handover.instance"),
        ({"secrets": (NamedSecret(kind="epoch", name=bytes(32)),)}, "kms", "handover.secrets"),
    ],
)
def test_a_handover_that_the_rules_do_not_allow_has_no_effect(changes, signer, reason):
    logged = Logged()
    key = logged.world.kms.sign if signer == "kms" else SigningKey.generate()
    before = logged.state()
    after = advance(before, sign_statement("handover", logged.record(**changes), (key,)))
    assert after.reason.startswith(reason)
    assert after.handovers == before.handovers


def test_every_step_is_shown_above():
    assert LOGGED_HANDOVER_STEPS == ("handover.effect", "handover.unchanged")
    assert HANDED_STEPS == ("handed.logged", "handed.seal", "handed.secrets", "handed.keys")
