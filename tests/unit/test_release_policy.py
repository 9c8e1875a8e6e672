"""Release policies: typed claims, all of a list, any of several by `||`; what is not there denies."""

import msgspec
import pytest

from cloister.attest.evidence import Expected, examine_evidence
from cloister.attest.seen import SEEN_NOTHING
from cloister.contract.release_policy import (
    Purpose,
    ReleasePolicyRefused,
    examine_release_policy,
    release_claims,
)
from cloister.formats.appraisal_policy import RoleReference
from cloister.formats.evidence import SecuritySettings
from cloister.node.evidence import evidence
from cloister.node.keys import NodeSecrets
from cloister.testing.made_tees import MadeAzureTdxTee, MadeAzureTee, MadeGpus, MadeNitroTee, MadeSnpTee, MadeTdxTee
from cloister.testing.made_tees import policy_of as appraisal_of
from cloister.testing.world import NOON, World

WORKLOAD = b"\5" * 48
KEYS = NodeSecrets.generate().public
CHALLENGE = b"c" * 32
WORLD = World()
CONTRACT = WORLD.contract
TEES = {
    "snp": MadeSnpTee(NOON, WORKLOAD, MadeGpus(NOON, devices=2)),
    "tdx": MadeTdxTee(NOON, WORKLOAD),
    "azure-snp": MadeAzureTee(NOON, WORKLOAD),
    "azure-tdx": MadeAzureTdxTee(NOON, WORKLOAD),
    "nitro": MadeNitroTee(NOON, WORKLOAD),
}


def claims(tee, **changes):
    """What a decision on a node on made-up hardware is asked of."""
    policy = appraisal_of([tee], [WORKLOAD])
    values: dict[str, str | int | bool] = {"maximum_request_bytes": 33_554_432, "sandbox": "ab" * 32, "strict": True}
    settings = SecuritySettings(role="gateway", unsafe=policy.unsafe, values=values)
    shown = evidence(tee, challenge=CHALLENGE, settings=settings, subject=CONTRACT.digest(), keys=KEYS)
    shown = msgspec.structs.replace(shown, endorsements=(*shown.endorsements, *tee.fetched()))
    reference = RoleReference(role="gateway", workloads=(WORKLOAD,), settings=(settings.digest(),))
    wanted = Expected(CHALLENGE, CONTRACT.digest(), reference)
    appraised = examine_evidence(shown, policy, wanted, at=NOON, seen=SEEN_NOTHING).require()
    purpose = Purpose(CONTRACT.digest(), CONTRACT, "speech", "gateway")
    return {**release_claims(appraised, purpose, at=NOON), **changes}


SNP = claims(TEES["snp"])


def refusal(policy, told=SNP):
    examination = examine_release_policy({"model": policy}, told)
    assert examination.failed == ["release.policy"]
    with pytest.raises(ReleasePolicyRefused, match=r"release\.policy") as error:
        examination.require()
    return error.value.shortfall


@pytest.mark.parametrize(
    ("tee", "expression"),
    [
        ("snp", "snp.reported_tcb.snp >= 0 && snp.vmpl == 0 && !snp.policy.debug"),
        ("snp", "gpus.count == 2 && gpus.switches == 0 && size(gpus.products) == 1 && 'GH100' in gpus.products"),
        ("tdx", "!tdx.td_attributes.debug && tdx.tcb_status == 'UpToDate'"),
        ("azure-snp", "snp.vmpl == 0 && azure.vm_configuration.secure_boot && size(azure.pcr13) == 64"),
        ("azure-tdx", "tdx.tcb_status == 'UpToDate' && azure.vm_configuration.secure_boot"),
        ("nitro", "size(nitro.pcr0) == 96 && nitro.timestamp > 0"),
    ],
)
def test_each_platform_tells_what_it_signed(tee, expression):
    told = claims(TEES[tee])
    assert examine_release_policy({"model": (expression,)}, told).failed == []
    assert told["platform"] == tee


@pytest.mark.parametrize(
    "expression",
    [
        f"workload == '{WORKLOAD.hex()}' && size(platform_measurement) == 96",
        "role == 'gateway' && task == 'speech'",
        "settings.maximum_request_bytes <= 33554432 && settings.strict",
        "'UnsafeAllowOtherRoots' in unsafe && !('UnsafeAllowSnpDebug' in unsafe)",
        f"contract.name == 'contract of these tests' && contract.digest == '{CONTRACT.digest().hex()}'",
        f"contract.sequence == 0 && contract.line == contract.digest && time == {NOON}",
        f"node.key == '{KEYS.sign.hex()}' && node.keys == '{KEYS.thumbprint().hex()}'",
    ],
)
def test_contract_task_node_and_time_are_claims(expression):
    assert examine_release_policy({"model": (expression,)}, SNP).require() == {"model": (expression,)}


def test_a_key_without_an_expression_is_decided_by_contract_and_appraisal_policy_alone():
    assert examine_release_policy({"model": ()}, SNP).require() == {"model": ()}


def test_all_of_a_list_have_to_hold():
    assert examine_release_policy({"model": ("gpus.count >= 1", "gpus.count <= 2")}, SNP).failed == []
    assert refusal(("gpus.count >= 1", "gpus.count >= 3")) == "model: gpus.count >= 3 is false (gpus.count is 2)"


def test_any_of_several_is_enough():
    assert examine_release_policy({"model": ("platform == 'tdx' || platform == 'snp'",)}, SNP).failed == []


@pytest.mark.breaks("release.policy")
@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("gpus.count >= 8", "gpus.count >= 8 is false (gpus.count is 2)"),
        ("tdx.td_attributes.debug == false", "says nothing of tdx"),
        ("platform == 'snp' || tdx.tcb_status == 'UpToDate'", "says nothing of tdx"),
        ("settings.nothing == 1", "says nothing of settings.nothing"),
        ("settings.maximum_request_bytes == '33554432'", "of another type"),
        ("settings.maximum_request_bytes", "is 33554432"),
        ("gpus.count > '1'", "have no order"),
        ("unsafe == unsafe", "lists are not compared"),
        (f"time < {NOON}", f"time < {NOON} is false (time is {NOON})"),
    ],
)
def test_what_does_not_hold_denies_and_the_reason_names_it(expression, says):
    assert says in refusal((expression,))


def test_every_key_is_asked_by_its_name_and_one_that_denies_denies_all():
    policies = {"model": ("gpus.count == 2",), "lexicon": ("gpus.count == 4",)}
    examination = examine_release_policy(policies, SNP)
    with pytest.raises(ReleasePolicyRefused, match=r"^release\.policy: lexicon: gpus\.count == 4 is false"):
        examination.require()


def test_a_number_as_text_is_no_number():
    told = {**SNP, "settings": {"workers": "8"}}
    assert "of another type" in refusal(("settings.workers == 8",), told)
