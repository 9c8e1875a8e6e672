"""Nothing that was changed in accepted evidence of an Azure VM is accepted."""

import random

import pytest
from tests.vectors.attestation import cases, folder
from tests.vectors.attestation.azure_vtpm import judge_az_snp_evidence, judge_hcl_snp_report

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.azure_evidence import parse_azure_buffers
from cloister.formats.hcl_report import declared_length, parse_hcl_report

JUDGES = {
    "az-snp-vtpm": (judge_az_snp_evidence, "evidence", parse_azure_buffers),
    "hcl-snp": (judge_hcl_snp_report, "hcl", parse_hcl_report),
}
ACCEPTED = [case for case in cases() if case.kind in JUDGES and case.reason is None]
pytestmark = pytest.mark.skipif(not ACCEPTED, reason=f"no recorded evidence under {folder()}")


def mutants(data, chance):
    for _ in range(150):
        at = chance.randrange(len(data))
        yield data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
    for at in chance.sample(range(len(data)), 30):
        yield data[:at]
        yield data[:at] + data[at + 1 :]
        yield data[:at] + chance.choice((b"A", b"0", b'"', b"\xff")) + data[at:]
    yield data + b"\0"
    yield b"\0" + data


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.id)
def test_no_changed_evidence_is_accepted(case):
    judge, name, parse = JUDGES[case.kind]
    data = case.read(case.data["files"][name])
    data = data[: declared_length(data)] if name == "hcl" else data  # as a collector cuts an NV index
    assert judge(data, case) == []
    for mutant in mutants(data, random.Random(4)):
        try:
            if parse(mutant) == parse(data):  # other white space in JSON: the same evidence
                continue
            failed = judge(mutant, case)
        except (MalformedInput, TooLarge):
            continue
        assert failed, mutant.hex()
