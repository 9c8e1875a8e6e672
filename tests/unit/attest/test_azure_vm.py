"""Whole Azure VMs: the hardware's report first, then what ties the vTPM to it, on synthetic hardware."""

from dataclasses import replace

import msgspec
import pytest

from cloister.attest.azure_vm import (
    AZURE_SNP_APPRAISAL_STEPS,
    AZURE_SNP_STEPS,
    AZURE_TDX_APPRAISAL_STEPS,
    AZURE_TDX_STEPS,
    appraise_azure_snp,
    appraise_azure_tdx,
    examine_azure_snp,
    examine_azure_tdx,
)
from cloister.attest.seen import SEEN_NOTHING
from cloister.formats.appraisal_policy import BOOT_PCRS
from cloister.formats.azure_evidence import parse_azure_evidence
from cloister.formats.azure_policy import AzurePolicy
from cloister.formats.tpm_policy import TpmPolicy
from cloister.testing.azure_hardware import PCRS, azure_evidence, hcl_report, report_data_of, runtime_data
from cloister.testing.snp_hardware import SnpHardware
from cloister.testing.tdx_hardware import TD, TdxHardware, image_of, td_report

NOW = 1_800_000_000
NONCE = b"\7" * 64
RUNTIME = runtime_data()
POLICY = AzurePolicy(
    vm_configuration={"secure-boot": True},
    tpm=TpmPolicy(bank="sha256", pcrs={index: (PCRS[index],) for index in BOOT_PCRS}),
    expressions=(),
)
CHIP = SnpHardware()
PLATFORM = TdxHardware(at=NOW)


def snp_examined(*, data=RUNTIME, chip=CHIP, endorsed=CHIP):
    report = replace(chip.report(), report_data=report_data_of(RUNTIME))
    hcl = hcl_report(chip.sign(report), data)
    evidence = parse_azure_evidence(azure_evidence(hcl, NONCE, beside={"vcek": endorsed.certificate()}))
    return examine_azure_snp(evidence, endorsed.endorsements(), roots=CHIP.roots, at=NOW, unsafe=(), seen=SEEN_NOTHING)


BOUND = replace(TD, report_data=report_data_of(RUNTIME))


def tdx_examined(*, data=RUNTIME, td=BOUND, shown=BOUND, quoted=True):
    beside = {"td_quote": PLATFORM.quote(td)} if quoted else {}
    hcl = hcl_report(td_report(shown), data, tdx=True)
    evidence = parse_azure_evidence(azure_evidence(hcl, NONCE, beside=beside))
    collateral = PLATFORM.collateral(tcb_info=PLATFORM.tcb_info())
    return examine_azure_tdx(evidence, collateral, roots=PLATFORM.roots, at=NOW, seen=SEEN_NOTHING)


TDX_POLICY = PLATFORM.policy()


def test_a_vm_on_snp_is_authentic_and_appraised():
    assert snp_examined().passed == list(AZURE_SNP_STEPS)
    appraised = appraise_azure_snp(snp_examined().require(), CHIP.policy(), POLICY, nonce=NONCE)
    assert appraised.passed == list(AZURE_SNP_APPRAISAL_STEPS)
    assert appraised.require().azure.quote.pcrs == {index: PCRS[index] for index in BOOT_PCRS}


def test_a_vm_on_tdx_is_authentic_and_appraised():
    assert tdx_examined().passed == list(AZURE_TDX_STEPS)
    appraised = appraise_azure_tdx(tdx_examined().require(), TDX_POLICY, POLICY, nonce=NONCE, at=NOW)
    assert appraised.passed == list(AZURE_TDX_APPRAISAL_STEPS)
    assert appraised.require().tdx.image == image_of(TD)


def test_runtime_data_beside_the_wrong_report_is_refused_on_both():
    other = runtime_data(**{"user-data": "11" * 64})
    assert snp_examined(data=other).failed == ["azure.runtime-data"]
    assert tdx_examined(data=other).failed == ["azure.runtime-data"]


def test_what_follows_a_report_that_is_not_authentic_is_not_reached():
    examination = snp_examined(chip=SnpHardware(chip="second"))
    assert "snp.signature" in examination.failed
    assert not any(step.startswith(("azure.", "tpm.")) for step in examination.passed + examination.failed)


def test_a_vm_on_tdx_without_a_quote_is_refused_by_name():
    assert tdx_examined(quoted=False).failed == ["azure.hardware"]


@pytest.mark.breaks("azure.td-report")
@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(replace(BOUND, mr_td=b"\x55" * 48), id="another firmware"),
        pytest.param(replace(BOUND, rtmrs=(*BOUND.rtmrs[:3], b"\x55" * 48)), id="another rtmr3"),
        pytest.param(replace(BOUND, td_attributes=BOUND.td_attributes ^ 1), id="other attributes"),
        pytest.param(replace(BOUND, report_data=bytes(64)), id="other report data"),
    ],
)
def test_a_tdreport_of_another_td_beside_the_quote_fails_alone(shown):
    assert tdx_examined(shown=shown).failed == ["azure.td-report"]


def test_shortfalls_of_hardware_and_vtpm_are_told_together():
    none = msgspec.structs.replace(CHIP.policy(), measurements=())
    on_snp = appraise_azure_snp(snp_examined().require(), none, POLICY, nonce=bytes(64))
    assert on_snp.failed == ["snp.measurement", "tpm.nonce"]
    without = msgspec.structs.replace(TDX_POLICY, images=())
    on_tdx = appraise_azure_tdx(tdx_examined().require(), without, POLICY, nonce=bytes(64), at=NOW)
    assert on_tdx.failed == ["tdx.image", "tpm.nonce"]
