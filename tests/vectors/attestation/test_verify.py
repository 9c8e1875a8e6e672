"""`cloister evidence verify` over the recorded evidence of every case, as a person would run it: the same verdicts."""

import re
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from tests.vectors.attestation import Case, amd_snp, azure_vtpm, cases, intel_tdx, judges, nvidia
from tests.vectors.attestation.aws_nitro import LEAF_LIFE, document_of
from tests.vectors.attestation.test_cases import ABSENT

from cloister.attest.certificates import parse_certificates
from cloister.attest.snp.endorsement_key import read_endorsement_key
from cloister.cli.explained.nvidia import opaque_text
from cloister.cli.main import run
from cloister.cli.policy_examples import EXAMPLES
from cloister.formats.appraisal_policy import (
    AppraisalPolicy,
    AzureSnpPlatform,
    AzureTdxPlatform,
    NitroPlatform,
    Platform,
    SnpPlatform,
    TdxPlatform,
    exceptions,
)
from cloister.formats.appraisal_policy_file import format_appraisal_policy, no_comment
from cloister.formats.azure_evidence import parse_azure_buffers
from cloister.formats.hcl_report import declared_length as declared_hcl
from cloister.formats.hcl_report import parse_hcl_report
from cloister.formats.intel_quote import declared_length, parse_quote
from cloister.formats.nitro_document import parse_nitro_document
from cloister.formats.nitro_policy import NitroImage, NitroPolicy
from cloister.formats.nvidia_envelope import parse_nvidia_envelope
from cloister.formats.nvidia_report import DRIVER_VERSION, VBIOS_VERSION, parse_nvidia_report
from cloister.formats.snp_policy import SnpImage
from cloister.formats.snp_report import parse_snp_report
from cloister.formats.td_report import TdReport

# What cannot be said on the command line, since no policy takes it: evidence of SGX, and a paravisor's report alone.
NEVER = {"sgx", "hcl-snp", "hcl-tdx"}


def snp_policy(case: Case, hardware: bytes, certificate: bytes) -> Any:
    key = read_endorsement_key(parse_certificates(certificate)[0])
    report = parse_snp_report(hardware).report
    made: Any = SimpleNamespace(key=SimpleNamespace(product=key.product, csp_id=key.csp_id), report=report)
    return amd_snp.strict(made, relax=case.relax, unsafe=amd_snp.relaxed(case))


def tdx_policy(case: Case, quote: bytes) -> Any:
    body = parse_quote(quote[: declared_length(quote)]).body
    assert isinstance(body, TdReport)
    return intel_tdx.strict(body, case)


def snp(case: Case) -> tuple[Platform, dict[str, bytes]]:
    files = case.data["files"]
    report, certificate = case.read(files["report"]), case.read(files.get("vcek") or files["vlek"])
    policy = snp_policy(case, report, certificate)
    images = tuple(SnpImage(measurement=one, workload=bytes(48)) for one in policy.measurements)
    platform = SnpPlatform(report=policy, images=images, gpu="none")
    return platform, {"FILE": report, "key": certificate, "chain.pem": case.read(case.data["chain"])}


def tdx(case: Case) -> tuple[Platform, dict[str, bytes]]:
    quote = case.read(case.data["files"]["quote"])
    policy = EXAMPLES["tdx"]() if case.kind == "sgx" else TdxPlatform(quote=tdx_policy(case, quote), gpu="none")
    return policy, {"FILE": quote, "collateral.json": case.read(case.data["collateral"])}


def nitro(case: Case) -> tuple[Platform, dict[str, bytes]]:
    data = document_of(case)
    pcrs = parse_nitro_document(data).document.pcrs
    image = NitroImage(pcr0=pcrs[0], pcr1=pcrs[1], pcr2=pcrs[2])
    document = NitroPolicy(
        images=(image,), pcrs={}, maximum_age_seconds=LEAF_LIFE, maximum_ahead_seconds=5, expressions=()
    )
    return NitroPlatform(document=document), {"FILE": data}


def azure(case: Case) -> tuple[Platform, dict[str, bytes]]:
    data = case.read(case.data["files"]["evidence"])
    evidence = parse_azure_buffers(data)
    vm = azure_vtpm._policy(evidence)
    if evidence.hcl.kind == "tdx":
        collateral, _ = azure_vtpm._collateral(evidence, case)
        platform = AzureTdxPlatform(quote=tdx_policy(case, evidence.td_quote or b""), vm=vm, gpu="none")
        return platform, {"FILE": data, "collateral.json": msgspec.json.encode(collateral)}
    report = snp_policy(case, evidence.hcl.hardware, evidence.vcek or b"")
    return AzureSnpPlatform(report=report, vm=vm, gpu="none"), {"FILE": data, **amd_roots(case)}


def moment(case: Case) -> int:
    """Of Azure's TDs when the collateral is in date, which the case does not have."""
    if case.kind != "az-tdx-vtpm":
        return case.at
    return azure_vtpm._collateral(parse_azure_buffers(case.read(case.data["files"]["evidence"])), case)[1]


def hcl(case: Case) -> tuple[Platform, dict[str, bytes]]:
    data = case.read(case.data["files"]["hcl"])
    if parse_hcl_report(data[: declared_hcl(data)]).kind == "tdx":
        return EXAMPLES["azure-tdx"](), {"FILE": data}
    return EXAMPLES["azure-snp"](), {"FILE": data, "vcek": case.read(case.data["files"]["vcek"]), **amd_roots(case)}


def amd_roots(case: Case) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((case.root / "roots/amd").glob("as*_ark_*.pem"))}


def gpu(case: Case) -> tuple[Platform, dict[str, bytes]]:
    files = case.data["files"]
    if case.kind == "nvidia-rim":
        return with_gpu(case, []), {"FILE": case.read(files["rim"])}
    if case.kind == "nvidia-envelope":
        data = case.read(files["evidence"])
        return with_gpu(case, [one.report for one in parse_nvidia_envelope(data)]), {"FILE": data}
    given = {"FILE": case.read(files["report"]), "CHAIN": case.read(files["chain"])}
    used = [] if "no-rim" in case.relax else case.data.get("rims", [])
    rims = {f"{at}.xml": case.read(one["file"]) for at, one in enumerate(used)}
    return with_gpu(case, [given["FILE"]]), given | rims


def with_gpu(case: Case, reports: list[bytes]) -> Platform:
    def text(report: bytes, field: int) -> str:
        return opaque_text(field, parse_nvidia_report(report).signed.opaque.get(field, b"")).upper()

    devices: Any = [
        SimpleNamespace(
            kind="switch" if case.kind == "nvidia-switch" else "gpu",
            driver=text(report, DRIVER_VERSION),
            vbios=text(report, VBIOS_VERSION),
        )
        for report in reports
    ]
    return msgspec.structs.replace(EXAMPLES["snp"](), gpu=nvidia.policy(case, devices))


MADE: dict[str, Callable[[Case], tuple[Platform, dict[str, bytes]]]] = {
    "snp": snp,
    "tdx": tdx,
    "sgx": tdx,
    "nitro": nitro,
    "az-snp-vtpm": azure,
    "az-tdx-vtpm": azure,
    "hcl-snp": hcl,
    "hcl-tdx": hcl,
    "nvidia-gpu": gpu,
    "nvidia-switch": gpu,
    "nvidia-envelope": gpu,
    "nvidia-rim": gpu,
}
LISTED = [pytest.param(case, id=f"{case.folder.name}-{case.id}") for case in cases() if case.kind in MADE]


@pytest.mark.parametrize("case", LISTED or [pytest.param(None, marks=ABSENT)])
def test_a_recorded_case_gets_its_verdict_from_the_command_line(case, tmp_path, monkeypatch, capsys):
    platform, files = MADE[case.kind](case)
    (tmp_path / "endorsements").mkdir()
    for name, data in files.items():
        (tmp_path / ("" if name.isupper() else "endorsements") / name).write_bytes(data)
    if "crl" in case.data:
        (tmp_path / "endorsements/crl").write_bytes(case.read(case.data["crl"]))
    policy = AppraisalPolicy(unsafe=tuple(dict.fromkeys(exceptions(platform))), roots="vendors", platforms=(platform,))
    (tmp_path / "policy.toml").write_text(format_appraisal_policy(policy, comment=no_comment))
    monkeypatch.chdir(tmp_path)
    options = ["--appraisal-policy", "policy.toml", "--endorsements", "endorsements", "--at", str(moment(case))]
    chain = ["--chain", "CHAIN"] if "CHAIN" in files else []
    monkeypatch.setattr(
        sys, "argv", ["cloister", "evidence", "verify", "FILE", *options, *chain, "--unsafe-any-challenge"]
    )
    code, said = run(), capsys.readouterr()
    accepted = case.reason is None and case.kind not in NEVER
    assert code == (0 if accepted else 3), said.out + said.err
    assert ("ACCEPTED: all " if accepted else "REFUSED: ") in said.out
    assert "Traceback" not in said.out + said.err
    if not accepted and case.kind != "sgx":
        _, reasons = judges()[case.kind]
        failed = said.out.rpartition(" failed: ")[2].strip(".\n").split(", ")
        assert set(failed) >= {step for pattern, step in reasons if re.search(pattern, case.reason or "")}
