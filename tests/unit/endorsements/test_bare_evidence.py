"""Evidence is told by what is in the file, and brought into the one shape that needs are read from."""

import pytest
from tests.doubles.made_evidence import made_evidence

from cloister.endorsements.bare_evidence import read_bare_evidence
from cloister.errors import MalformedInput
from cloister.formats.intel_quote import parse_quote
from cloister.formats.snp_report import parse_snp_report

MADE = made_evidence()
PLATFORMS = {
    "snp-report": "snp",
    "snp-report:turin": "snp",
    "snp-report:2": "snp",
    "tsm-report": "snp",
    "tsm-report:cbor": "snp",
    "tdx-quote": "tdx",
    "tdx-quote:buffer": "tdx",
    "sgx-quote": "sgx",
    "azure-evidence": "azure-snp",
    "azure-evidence:tdx": "azure-tdx",
    "nitro-document": "nitro",
    "nvidia-envelope": "",
    "cloister-evidence": "software",
    "cloister-evidence:verifier": "verifier",
}


@pytest.mark.parametrize("name", PLATFORMS)
def test_each_format_is_told(name):
    found = read_bare_evidence(MADE[name])
    assert found.platform == PLATFORMS[name]
    assert len(found.gpu) == (name == "nvidia-envelope")


def test_a_report_in_an_envelope_and_a_quote_in_a_buffer_are_taken_out_whole():
    assert parse_snp_report(read_bare_evidence(MADE["tsm-report"]).report).report.version == 5
    assert parse_quote(read_bare_evidence(MADE["tdx-quote:buffer"]).report).header.version == 4


def test_what_a_host_lays_beside_a_report_comes_along():
    kinds = [one.kind for one in read_bare_evidence(MADE["tsm-report"]).endorsements]
    assert kinds == ["amd-certificates"] * 3 + ["amd-revocations"]


@pytest.mark.parametrize("name", sorted(set(MADE) - set(PLATFORMS)))
def test_what_is_no_evidence_by_itself_is_refused(name):
    with pytest.raises(MalformedInput, match="not evidence that endorsements can be told for"):
        read_bare_evidence(MADE[name])


def test_a_quote_with_something_behind_it_is_no_evidence():
    with pytest.raises(MalformedInput):
        read_bare_evidence(MADE["tdx-quote"] + b"\1")
