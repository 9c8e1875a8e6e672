"""`cloister evidence collect` on machines that are a TEE, and on others."""

import base64
import json

import pytest
from tests.doubles.nvml_library import NvmlLibrary
from tests.doubles.tee_reports import CHAIN, TABLE, snp_report
from tests.doubles.tsm_kernel import TsmKernel

from cloister.cli.evidence_collect import collect
from cloister.cli.explained.formats import explain
from cloister.errors import UsageError
from cloister.formats.nvidia_envelope import parse_nvidia_envelope
from cloister.formats.nvidia_report import parse_nvidia_report
from cloister.formats.snp_report import parse_snp_report
from cloister.tee.collectors.collected import NoTee, TeeDenied
from cloister.tee.collectors.machine import Machine

CHALLENGE = bytes(range(32))


@pytest.fixture
def run(capsys):
    def run(*arguments, machine=None):
        here = machine or Machine(calls=TsmKernel(snp_report))
        collect.main(list(map(str, arguments)), obj=here, standalone_mode=False)
        return capsys.readouterr().out

    return run


def test_the_report_answers_the_challenge_and_what_the_host_gave_lies_beside_it(run, tmp_path):
    out = tmp_path / "here.evidence"
    said = run("--challenge", CHALLENGE.hex(), "--out", out)
    assert parse_snp_report(out.read_bytes()).report.report_data == CHALLENGE + bytes(32)
    first = tmp_path / "here.evidence.amd-certificates.1"
    assert first.read_bytes() == CHAIN[0]
    assert len(list(tmp_path.glob("here.evidence.amd-revocations.*"))) == 1
    assert f"challenge  {CHALLENGE.hex()}" in said
    assert "Nothing of this was checked" in said


def test_everything_comes_as_json_too_with_a_challenge_that_is_drawn_anew(run):
    first, second = (json.loads(run("--json")) for _ in range(2))
    report = parse_snp_report(base64.b64decode(first["report"])).report
    assert report.report_data == base64.b64decode(first["challenge"]) + bytes(32)
    assert first["challenge"] != second["challenge"]
    assert [one["kind"] for one in first["endorsements"]] == ["amd-certificates"] * 3 + ["amd-revocations"]


def test_report_data_is_carried_whole(run):
    said = json.loads(run("--json", "--report-data", "ab" * 64))
    assert parse_snp_report(base64.b64decode(said["report"])).report.report_data == b"\xab" * 64


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "--out FILE, or take it as --json"),
        (("--json", "--challenge", "ab" * 31), "a challenge of 31 bytes: it has 32"),
        (("--json", "--report-data", "ab" * 32), "evidence of snp carries 64"),
    ],
    ids=["nowhere", "challenge", "report-data"],
)
def test_what_makes_no_sense_is_refused_before_the_hardware_is_asked(run, arguments, named):
    with pytest.raises(UsageError, match=named):
        run(*arguments)


def test_a_malformed_table_of_the_hosts_is_told_in_a_remark(run, tmp_path):
    kernel = TsmKernel(lambda data, level: (snp_report(data, level)[0], TABLE[:400]))
    said = run("--out", tmp_path / "e", machine=Machine(calls=kernel))
    assert "remark     the host's certificate table was left out" in said
    assert [path.name for path in tmp_path.iterdir()] == ["e"]


def test_a_machine_without_a_tee_says_what_was_looked_for(run, tmp_path):
    with pytest.raises(NoTee, match="Looked for:\nconfigfs-tsm at") as refused:
        run("--json", machine=Machine(root=tmp_path))
    assert (refused.value.exit_code, refused.value.retry) == (4, False)


def test_the_platform_that_is_named_has_to_be_the_machines(run):
    with pytest.raises(NoTee, match="no way to evidence of tdx was found"):
        run("--json", "--platform", "tdx")


def test_a_user_without_rights_is_told_so(run):
    with pytest.raises(TeeDenied, match="Only root may ask"):
        run("--json", machine=Machine(calls=TsmKernel(snp_report, faults={("mkdir", ""): [13]})))


def test_a_provider_that_nothing_here_judges_is_named(run):
    with pytest.raises(NoTee, match="its provider arm_cca_guest"):
        run("--json", machine=Machine(calls=TsmKernel(snp_report, provider="arm_cca_guest")))


def test_gpus_answer_the_same_challenge_in_an_envelope_beside_the_report(run, tmp_path):
    machine = Machine(calls=TsmKernel(snp_report), nvml=NvmlLibrary)
    run("--gpus", "--challenge", CHALLENGE.hex(), "--out", tmp_path / "e", machine=machine)
    devices = parse_nvidia_envelope((tmp_path / "e.gpus").read_bytes())
    assert [(device.architecture, device.nonce) for device in devices] == [("hopper", CHALLENGE)] * 2
    assert {parse_nvidia_report(device.report).signed.nonce for device in devices} == {CHALLENGE}
    said = json.loads(run("--gpus", "--json", machine=machine))
    assert [base64.b64decode(gpu["chain"]) for gpu in said["gpus"]]


def test_without_gpus_that_attest_nothing_is_written(run, tmp_path):
    machine = Machine(calls=TsmKernel(snp_report), nvml=lambda: NvmlLibrary(feature=0))
    with pytest.raises(NoTee, match="not in confidential mode"):
        run("--gpus", "--out", tmp_path / "e", machine=machine)
    assert list(tmp_path.iterdir()) == []


def test_every_file_that_is_written_is_one_that_evidence_show_can_read(run, tmp_path):
    run("--gpus", "--out", tmp_path / "e", machine=Machine(calls=TsmKernel(snp_report), nvml=NvmlLibrary))
    what = {path.name: explain(path.read_bytes()).title for path in tmp_path.iterdir()}
    assert what["e"].startswith("AMD SEV-SNP attestation report")
    assert "NVIDIA" in what["e.gpus"]
    assert {"e.amd-certificates.1", "e.amd-certificates.3", "e.amd-revocations.4"} < set(what)
