"""Every step a KMS performs before it issues a certificate: each row breaks one link and nothing else."""

from dataclasses import replace as altered

import pytest
from msgspec.structs import replace
from tests.doubles.identity_world import CHALLENGE, IdentityWorld

from cloister.attest.seen import SEEN_NOTHING
from cloister.contract.identity_key import sign_identity_key
from cloister.contract.identity_release import (
    ISSUE_STEPS,
    OWN_IDENTITY_STEPS,
    IdentityAsked,
    examine_identity,
    examine_issue,
    examine_own_identity,
    identity_steps,
)
from cloister.contract.release import ReleaseRefused
from cloister.contract.replay import examine_first_log
from cloister.crypto.p256 import P256Key
from cloister.formats.contract import NamedDigest
from cloister.formats.release import Revocation
from cloister.ledger.statements import sign_statement
from cloister.testing.world import DAY, NOON, Node, evidence


class Case:
    """A node that asks for a certificate with everything in order; a row changes one thing."""

    def __init__(self, role="service", node=None):
        self.world = IdentityWorld()
        self.role = role
        self.node = node or self.world.service
        self.at = NOON
        self.live = True
        self.subject = self.world.constitution.digest() if role == "kms" else self.world.line
        self.named_for = CHALLENGE
        self.line = self.world.line
        self.proof = None

    def asked(self):
        world = self.world
        shown = evidence(world.parties.platform, self.role, self.node, challenge=CHALLENGE, subject=self.subject)
        key, proof = sign_identity_key(self.node.sign, world.tls, line=world.line, challenge=self.named_for)
        return IdentityAsked(self.line, key, self.proof or proof, shown, CHALLENGE, self.live, SEEN_NOTHING)

    def examine(self):
        examine = examine_own_identity if self.role == "kms" else examine_identity
        return examine(self.world.state(), self.asked(), at=self.at)


@pytest.mark.parametrize("role", ["service", "gateway"])
def test_a_node_in_order_may_have_a_certificate(role):
    decision = Case(role).examine().require()
    assert (decision.name.role, decision.checks) == (role, tuple(identity_steps(role)))


def test_a_kms_instance_in_order_may_have_one():
    case = Case("kms")
    case.node = case.world.kms
    decision = case.examine().require()
    assert (decision.name.role, decision.checks) == ("kms", OWN_IDENTITY_STEPS)


def changed(role="service", **changes):
    case = Case(role)
    for name, value in changes.items():
        setattr(case, name, value)
    return case


def without_the_role():
    case = Case()
    case.world = IdentityWorld(roles=("gateway",))
    case.node, case.line, case.subject = case.world.service, case.world.line, case.world.line
    return case


def revoked_contract():
    case = Case()
    record = Revocation(contract=case.world.line, target=case.world.line, reason="it is over")
    case.world.log.append(sign_statement("revocation", record, (case.world.parties.owner,)))
    return case


BREAKS = [
    ("release.contract", "an unknown contract", lambda: changed(line=bytes(32))),
    ("release.contract", "a contract that was revoked", revoked_contract),
    ("release.validity", "a contract that is over", lambda: changed(at=NOON + DAY)),
    ("release.role", "a role that the contract does not name", without_the_role),
    ("release.challenge", "a challenge that was used before", lambda: changed(live=False)),
    ("evidence.subject", "evidence under another contract", lambda: changed(subject=bytes(32))),
    ("identity.key", "a key named for another challenge", lambda: changed(named_for=bytes(32))),
    ("identity.key", "a key that the node does not have", lambda: changed(proof=P256Key.generate().sign(b"x"))),
    ("identity.instance", "an instance that nobody saw", lambda: changed("kms", node=Node())),
]


@pytest.mark.parametrize(
    ("check", "make"),
    [pytest.param(check, make, id=words, marks=pytest.mark.breaks(check)) for check, words, make in BREAKS],
)
def test_what_is_out_of_order_is_refused_by_that_check_alone(check, make):
    examination = make().examine()
    assert examination.failed == [check]
    with pytest.raises(ReleaseRefused, match=check):
        examination.require()


def test_a_gateway_that_runs_something_else_gets_no_certificate():
    case = Case("gateway")
    state = case.world.state()
    line = state.lines[case.world.line]
    task = replace(case.world.contract.serving, engine=NamedDigest(name="another", digest=bytes(32)))
    contract = replace(case.world.contract, tasks=(task,))
    governed = altered(line.governed, current=contract)
    state = altered(state, lines=state.lines.put(case.world.line, altered(line, governed=governed)))
    case.subject = contract.digest()
    assert examine_identity(state, case.asked(), at=NOON).failed == ["release.engine"]


class Published:
    """An identity decided and logged; what overtakes it is appended before it is examined."""

    def __init__(self):
        self.case = Case()
        self.decision = self.case.examine().require()
        self.entry = self.case.world.identity()

    def examine(self, path=None):
        log = self.case.world.log
        index = log.append(self.entry)
        (logged,) = log.logged([index])
        genesis = self.case.world.constitution.digest()
        replayed = examine_first_log(log.entries, log.checkpoint(at=NOON), genesis=genesis).require()
        return examine_issue(
            self.decision,
            self.entry,
            index=index,
            path=logged.path if path is None else path,
            checkpoint=replayed.checkpoint,
            state=replayed.state,
        )


def test_an_identity_in_the_witnessed_log_lets_the_certificate_be_made():
    assert Published().examine().require().record.identity.role == "service"


@pytest.mark.breaks("release.inclusion")
def test_an_identity_that_is_not_in_the_log_is_refused_by_that_check_alone():
    assert Published().examine(path=(bytes(32),)).failed == ["release.inclusion"]


@pytest.mark.breaks("identity.effect")
def test_an_identity_that_the_log_holds_void_is_refused_by_that_check_alone():
    published = Published()
    published.entry = published.case.world.identity(by=Node())
    examination = published.examine()
    assert examination.failed == ["identity.effect"]
    assert {step.id for step in examination.steps} == set(ISSUE_STEPS)


@pytest.mark.breaks("release.unchanged")
def test_a_contract_that_ended_meanwhile_lets_nothing_be_issued():
    published = Published()
    world = published.case.world
    record = Revocation(contract=world.line, target=world.line, reason="it is over")
    world.log.append(sign_statement("revocation", record, (world.parties.owner,)))
    assert "release.unchanged" in published.examine().failed
