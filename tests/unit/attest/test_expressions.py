"""Each platform's expressions are asked of what its evidence says: true, false, or of something that is not there."""

import msgspec
import pytest
from tests.doubles import made_gpus
from tests.unit.attest import test_azure, test_nitro, test_snp_appraised, test_tdx_appraised

from cloister.attest.nvidia.appraisal import appraise_nvidia
from cloister.formats.nitro_policy import NitroPolicy


def asked(policy, *expressions):
    return msgspec.structs.replace(policy, expressions=expressions)


def snp(*expressions):
    return test_snp_appraised.appraised(asked(test_snp_appraised.POLICY, *expressions))


def tdx(*expressions):
    return test_tdx_appraised.appraise(policy=asked(test_tdx_appraised.POLICY, *expressions))


def nitro(*expressions):
    return test_nitro.appraised(policy=asked(test_nitro.POLICY, *expressions))


def azure(*expressions):
    return test_azure.appraised(policy=asked(test_azure.POLICY, *expressions))


def gpu(*expressions):
    policy = asked(made_gpus.POLICY, *expressions)
    return appraise_nvidia([made_gpus.GPU], made_gpus.RIMS, policy, nonce=made_gpus.NONCE)


TRUE = {
    "snp": [
        "product == 'Milan' && version == 5 && vmpl == 0 && signing_key == 'VCEK'",
        "policy.smt && !policy.debug && policy.abi_major == 1 && platform_info.alias_check_complete",
        "reported_tcb.snp == 24 && committed_tcb.microcode >= 219 && launch_tcb.tee == 0 && current_tcb.snp == 24",
        "committed_firmware.build == 39 && current_firmware.minor == 55 && launch_mit_vector == 3",
        f"measurement == '{'6d' * 48}' && chip_id.startsWith('') && size(report_data) == 128",
    ],
    "tdx": [
        "td_attributes.sept_ve_disable && !td_attributes.debug && tcb_status == 'UpToDate'",
        "size(mr_td) == 96 && size(rtmr3) == 96 && fmspc == '90c06f000000' && pce_svn == 13 && xfam > 0",
        "size(advisories) == 0 && tcb_date > 0 && size(mr_service_td) == 96",
    ],
    "nitro": ["module_id == 'i-0123-enc4567' && timestamp == 1800000000", f"pcr0 == '{'01' * 48}'"],
    "azure": ["vm_configuration.secure_boot && size(pcr4) == 64 && reset_count >= 0"],
    "gpu": ["driver == '550.90.07' && chip == 'hopper' && kind == 'gpu' && mode == 'single' && states_fwid"],
}
ASKED = {"snp": snp, "tdx": tdx, "nitro": nitro, "azure": azure, "gpu": gpu}
ROWS = [pytest.param(name, id=name, marks=pytest.mark.breaks(f"{name}.expressions")) for name in ASKED]


@pytest.mark.parametrize("name", ASKED)
def test_what_is_true_of_the_evidence_passes(name):
    examination = ASKED[name](*TRUE[name])
    assert examination.failed == []
    assert f"{name}.expressions" in examination.passed


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize(
    "expression", ["false", "absent == 1", "absent == 1 || true"], ids=["false", "absent", "hidden"]
)
def test_what_is_not_true_of_it_fails_that_check_alone(name, expression):
    examination = ASKED[name](*TRUE[name], expression)
    assert examination.failed == [f"{name}.expressions"]
    (step,) = (one for one in examination.steps if one.id == f"{name}.expressions")
    assert expression in step.detail


def test_what_is_no_expression_cannot_be_written_into_a_policy():
    with pytest.raises(ValueError, match="the expression 'pcr0 ='"):
        asked(test_nitro.POLICY, "pcr0 =")
    whole = msgspec.to_builtins(test_nitro.POLICY, builtin_types=(bytes,))
    with pytest.raises(msgspec.ValidationError, match="the expression"):
        msgspec.convert(whole | {"expressions": ["pcr0 ="]}, NitroPolicy, builtin_types=(bytes,))
