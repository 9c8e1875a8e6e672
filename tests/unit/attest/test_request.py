"""Every step before a verifier judges evidence: each row breaks one link and nothing else."""

import msgspec
import pytest

from cloister.attest.request import (
    ATTESTATION_STEPS,
    AttestationRefused,
    examine_attestation_request,
    sign_attestation_request,
)
from cloister.crypto.cose import sign1
from cloister.crypto.signing import SigningKey
from cloister.formats import canonical
from cloister.formats.attestation_request import DEMAND_TYPE
from cloister.formats.cose_sign1 import CoseSign1
from cloister.testing.world import Node, evidence

CHALLENGE, SUBJECT, NONCE = bytes(range(32)), bytes(32), b"relying party's"
replace = msgspec.structs.replace


class Case:
    """A node's request, and the one challenge that is open."""

    def __init__(self):
        self.node = Node()
        self.platform = SigningKey.generate()
        self.evidence = self.answering(CHALLENGE)
        self.request = self.ask(self.node.sign, self.evidence)
        self.open = {CHALLENGE}

    def answering(self, challenge):
        return evidence(self.platform, "gateway", self.node, challenge=challenge, subject=SUBJECT)

    def ask(self, key, shown):
        return sign_attestation_request(key, shown, policy="default", audience="https://rp.test", nonce=NONCE)

    def use(self, challenge):
        live = challenge in self.open
        self.open.discard(challenge)
        return live

    def examine(self):
        return examine_attestation_request(self.request, self.use)


def no_evidence(case):
    case.request = replace(case.request, evidence=b"no evidence")


def a_request_of_another_node(case):
    case.request = replace(case.request, demand=case.ask(Node().sign, case.evidence).demand)


def a_demand_signed_as_something_else(case):
    payload = CoseSign1.parse(case.request.demand).payload or b""
    case.request = replace(case.request, demand=sign1(case.node.sign, payload, content_type="application/cbor"))


def a_demand_altered(case):
    demand = bytearray(case.request.demand)
    demand[-1] ^= 1
    case.request = replace(case.request, demand=bytes(demand))


def a_demand_that_says_something_else(case):
    demand = sign1(case.node.sign, canonical.encode(case.node.keys), content_type=DEMAND_TYPE)
    case.request = replace(case.request, demand=demand)


def a_demand_before_other_evidence(case):
    earlier = case.ask(case.node.sign, case.answering(bytes(32)))
    case.request = replace(case.request, demand=earlier.demand)


def a_challenge_that_was_answered(case):
    case.open.clear()


ROWS = [
    ("attestation.evidence", no_evidence),
    ("attestation.possession", a_request_of_another_node),
    ("attestation.possession", a_demand_signed_as_something_else),
    ("attestation.possession", a_demand_altered),
    ("attestation.possession", a_demand_that_says_something_else),
    ("attestation.digest", a_demand_before_other_evidence),
    ("attestation.challenge", a_challenge_that_was_answered),
]


@pytest.mark.parametrize(
    ("check", "row"),
    [pytest.param(check, row, marks=pytest.mark.breaks(check), id=f"{check}-{row.__name__}") for check, row in ROWS],
)
def test_each_broken_link_fails_its_own_check_alone(check, row):
    case = Case()
    row(case)
    examination = case.examine()
    assert examination.failed == [check]
    with pytest.raises(AttestationRefused, match=check):
        examination.require()


def test_a_good_request_passes_every_step_and_says_for_whom_it_is():
    examination = Case().examine()
    assert examination.passed == list(ATTESTATION_STEPS)
    demand = examination.require().demand
    assert (demand.policy, demand.audience, demand.nonce) == ("default", "https://rp.test", NONCE)


def test_a_challenge_is_used_up_by_whoever_answers_it_badly_too():
    case = Case()
    a_request_of_another_node(case)
    assert case.examine().failed == ["attestation.possession"]
    case.request = case.ask(case.node.sign, case.evidence)
    assert case.examine().failed == ["attestation.challenge"]
