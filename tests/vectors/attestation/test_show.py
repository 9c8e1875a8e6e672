"""`cloister evidence show` spells out the recorded evidence of every case."""

import pytest
from tests.vectors.attestation import cases
from tests.vectors.attestation.aws_nitro import document_in
from tests.vectors.attestation.test_cases import ABSENT

from cloister.cli.explained.formats import explain

FORMATS = {
    "snp": {"report": "snp-report", "vcek": "certificates", "vlek": "certificates"},
    "tdx": {"quote": "tdx-quote"},
    "sgx": {"quote": "sgx-quote"},
    "nitro": {"document": "nitro-document"},
    "az-snp-vtpm": {"evidence": "azure-evidence"},
    "az-tdx-vtpm": {"evidence": "azure-evidence"},
    "hcl-snp": {"hcl": "azure-hcl-report", "vcek": "certificates"},
    "hcl-tdx": {"hcl": "azure-hcl-report"},
    "nvidia-gpu": {"report": "nvidia-report", "chain": "certificates"},
    "nvidia-switch": {"report": "nvidia-report", "chain": "certificates"},
    "nvidia-envelope": {"evidence": "nvidia-envelope"},
    "nvidia-rim": {"rim": "nvidia-rim"},
}
FILES = {
    f"{case.folder.name}-{path}".replace("/", "-"): (case, path, FORMATS[case.kind][name])
    for case in cases()
    for name, path in case.data["files"].items()
    if case.kind in FORMATS
}


@pytest.mark.parametrize(
    "file", [pytest.param(one, id=name) for name, one in FILES.items()] or [pytest.param(None, marks=ABSENT)]
)
def test_a_recorded_file_is_told_for_what_it_is(file):
    case, path, expected = file
    data = case.read(path)
    page = explain(document_in(data) if case.kind == "nitro" else data)
    assert page.format == expected
    fields = {field.name: field.value for part in page.parts for field in part.fields}
    for name in ("measurement", "report_data", "mr_td", "chip_id"):
        told = case.data.get("facts", {}).get(name)
        assert name not in fields or told is None or fields[name] == told
