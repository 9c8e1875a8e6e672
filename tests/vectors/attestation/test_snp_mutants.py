"""Nothing derived from a recorded SEV-SNP report by a small change is accepted, and refusals have names."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.vectors.attestation import cases, folder
from tests.vectors.attestation.amd_snp import endorsements, relaxed, strict

from cloister.attest.certificates import parse_certificates
from cloister.attest.roots import AMD_ARKS
from cloister.attest.seen import SEEN_NOTHING
from cloister.attest.snp.appraised import appraise_snp
from cloister.attest.snp.authentic import SNP_STEPS, SnpRefused, examine_snp

RECORDED = [case for case in cases() if case.kind == "snp" and case.reason is None]
ABSENT = pytest.mark.skip(f"no recorded evidence under {folder()}: CLOISTER_VECTORS says where it is")
ACCEPTED = [pytest.param(case, id=case.id) for case in RECORDED] or [pytest.param(None, marks=ABSENT)]
EACH = 40  # changes of each kind to each case


def one_byte(data, chance):
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ chance.randint(1, 255)]) + data[at + 1 :]


def cut(data, chance):
    return data[: chance.randrange(len(data))]


def longer(data, chance):
    return data + chance.randbytes(chance.randint(1, 16))


def moved(data, chance):
    first, second = (chance.randrange(0, 0x280, 8) for _ in range(2))
    a, b = data[first : first + 8], data[second : second + 8]
    data = data[:first] + b + data[first + 8 :]
    return data[:second] + a + data[second + 8 :]


def refused(case, report, given):
    examination = examine_snp(report, given, roots=AMD_ARKS, at=case.at, unsafe=relaxed(case), seen=SEEN_NOTHING)
    if not examination.failed:
        return False
    assert set(examination.failed) <= set(SNP_STEPS)
    with pytest.raises(SnpRefused):
        examination.require()
    return True


@pytest.mark.parametrize("case", ACCEPTED)
@pytest.mark.parametrize("change", [one_byte, cut, longer, moved])
def test_no_changed_report_is_authentic(case, change):
    chance = random.Random(f"{case.id} {change.__name__}")
    data, given = case.read(case.data["files"]["report"]), endorsements(case)
    for changed in {change(data, chance) for _ in range(EACH)} - {data}:
        assert refused(case, changed, given), changed.hex()


@pytest.mark.parametrize("case", ACCEPTED)
def test_no_changed_endorsement_key_is_authentic(case):
    chance = random.Random(case.id)
    report, given = case.read(case.data["files"]["report"]), endorsements(case)
    own = parse_certificates(given.chain[0])[0].public_bytes(Encoding.DER)
    assert not refused(case, report, replace(given, chain=(own, *given.chain[1:])))
    for change in (one_byte, cut, longer):
        for changed in {change(own, chance) for _ in range(EACH)}:
            assert refused(case, report, replace(given, chain=(changed, *given.chain[1:]))), changed.hex()


@pytest.mark.parametrize("case", ACCEPTED)
def test_the_endorsements_of_no_other_case_serve(case):
    report, own = case.read(case.data["files"]["report"]), endorsements(case)
    for other in RECORDED:
        given = endorsements(other)
        if given.chain[0] != own.chain[0]:
            assert refused(case, report, replace(given, revocations=own.revocations)), other.id
            assert refused(case, report, replace(own, chain=(given.chain[0], own.chain[1]))), other.id


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_is_relaxed_for_a_case_is_what_it_needs(case):
    report, given = case.read(case.data["files"]["report"]), endorsements(case)
    assert refused(replaced(case, relax=[]), report, replace(given, revocations=()))
    authentic = examine_snp(
        report, given, roots=AMD_ARKS, at=case.at, unsafe=relaxed(case), seen=SEEN_NOTHING
    ).require()
    failed = appraise_snp(
        authentic, strict(authentic, relax=frozenset(), unsafe=()), report_data=authentic.report.report_data
    ).failed
    assert failed == (["snp.vmpl", "snp.signer", "snp.csp-id"] if "vlek" in case.relax else [])


def replaced(case, **data):
    return replace(case, data={**case.data, **data})
