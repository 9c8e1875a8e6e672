"""A node's whole evidence on each platform, on made-up hardware: accepted under its own policy, and under no other."""

from dataclasses import dataclass, replace

import msgspec
import pytest

from cloister.attest.endorsed import MAXIMUM_ANSWERS
from cloister.attest.evidence import EVIDENCE_STEPS, EvidenceRejected, Expected, examine_evidence
from cloister.attest.nitro import NITRO_APPRAISAL_STEPS, NITRO_STEPS
from cloister.attest.nvidia.appraisal import NVIDIA_APPRAISAL_STEPS
from cloister.attest.nvidia.device import DEVICE_STEPS
from cloister.attest.nvidia.rim import RIM_STEPS
from cloister.attest.seen import SEEN_NOTHING, SeenEndorsements, SeenList
from cloister.attest.snp.appraised import SNP_APPRAISAL_STEPS
from cloister.attest.snp.authentic import SNP_STEPS
from cloister.errors import MalformedInput
from cloister.formats import canonical
from cloister.formats.appraisal_policy import (
    BOOT_PCRS,
    AppraisalPolicy,
    AzureSnpPlatform,
    AzureTdxPlatform,
    RoleReference,
    SnpPlatform,
)
from cloister.formats.endorsements import Endorsement
from cloister.formats.evidence import SecuritySettings, gpu_nonce, parse_evidence
from cloister.node.evidence import evidence
from cloister.node.keys import NodeSecrets
from cloister.tee.collectors.collected import Collected
from cloister.testing.made_tees import (
    MadeAzureTdxTee,
    MadeAzureTee,
    MadeGpus,
    MadeNitroTee,
    MadeSnpTee,
    MadeTdxTee,
    policy_of,
)

NOW = 1_800_000_000
WORKLOAD, OTHER = b"\5" * 48, b"\6" * 48
KEYS = NodeSecrets.generate().public
CHALLENGE, SUBJECT = b"c" * 32, b"s" * 32
GPUS = MadeGpus(NOW, devices=2)
SNP, TDX = MadeSnpTee(NOW, WORKLOAD), MadeTdxTee(NOW, WORKLOAD)
WITH_GPUS = replace(SNP, gpu_vendor=GPUS)
TEES = {
    "snp": SNP,
    "snp with GPUs": WITH_GPUS,
    "tdx": TDX,
    "tdx with GPUs": MadeTdxTee(NOW, WORKLOAD, GPUS),
    "azure-snp": MadeAzureTee(NOW, WORKLOAD),
    "azure-tdx": MadeAzureTdxTee(NOW, WORKLOAD),
    "nitro": MadeNitroTee(NOW, WORKLOAD),
}


def policy(tee):
    return policy_of([tee], [WORKLOAD])


def shown(tee, **changes):
    """Its evidence, with all that its vendors say."""
    settings = SecuritySettings(role="gateway", unsafe=policy(tee).unsafe, values={})
    made = evidence(tee, challenge=CHALLENGE, settings=settings, subject=SUBJECT, keys=KEYS)
    return msgspec.structs.replace(made, **{"endorsements": (*made.endorsements, *tee.fetched())} | changes)


def examined(tee, given=None, *, held=None, at=NOW, seen=SEEN_NOTHING, challenge=CHALLENGE, workloads=(WORKLOAD,)):
    given = given or shown(tee)
    reference = RoleReference(role="gateway", workloads=workloads, settings=(given.settings.digest(),))
    wanted = Expected(challenge, SUBJECT, reference)
    return examine_evidence(given, held or policy(tee), wanted, at=at, seen=seen)


@pytest.mark.parametrize("tee", TEES.values(), ids=TEES)
def test_evidence_of_each_platform_is_appraised_under_its_own_policy(tee):
    examination = examined(tee)
    assert examination.failed == []
    found = examination.require()
    assert (found.platform, found.workload, found.keys) == (tee.platform, WORKLOAD, KEYS)
    assert len(found.gpus) == len(shown(tee).gpu)
    assert len(found.platform_measurement) == 48


def test_the_steps_of_the_platform_and_of_its_gpus_stand_where_they_belong():
    ids = [step.id for step in examined(WITH_GPUS).steps]
    before = EVIDENCE_STEPS.index("evidence.signature")
    after = EVIDENCE_STEPS.index("evidence.gpu")
    own = (*SNP_STEPS, *SNP_APPRAISAL_STEPS)
    gpus = (*DEVICE_STEPS, *RIM_STEPS, *NVIDIA_APPRAISAL_STEPS)
    assert ids == [*EVIDENCE_STEPS[:before], *own, *EVIDENCE_STEPS[before:after], *gpus, *EVIDENCE_STEPS[after:]]
    nitro = [step.id for step in examined(TEES["nitro"]).steps]
    assert nitro[before : before + len(NITRO_STEPS)] == list(NITRO_STEPS)
    assert set(NITRO_APPRAISAL_STEPS) < set(nitro)


@pytest.mark.parametrize("tee", TEES.values(), ids=TEES)
@pytest.mark.parametrize("other", TEES.values(), ids=TEES)
def test_evidence_is_refused_under_another_platforms_policy(tee, other):
    if tee is other:
        return
    held = policy(other)
    given = shown(tee, settings=shown(other).settings)
    failed = examined(tee, given, held=held).failed
    counted = "gpu.count" if other in (WITH_GPUS, TEES["tdx with GPUs"]) else "evidence.gpu"
    assert failed[0] == (counted if tee.platform == other.platform else "evidence.platform")


@pytest.mark.parametrize("tee", TEES.values(), ids=TEES)
def test_made_up_hardware_is_a_stranger_where_the_vendors_roots_hold(tee):
    held = msgspec.structs.replace(policy(tee), roots="vendors")
    chains = {
        "snp": "snp.chain",
        "azure-snp": "snp.chain",
        "tdx": "tdx.pck-chain",
        "azure-tdx": "tdx.pck-chain",
        "nitro": "nitro.chain",
    }
    assert examined(tee, held=held).failed[0] == chains[tee.platform]


@pytest.mark.parametrize("tee", TEES.values(), ids=TEES)
def test_another_workload_is_refused_wherever_it_was_measured(tee):
    failed = examined(replace(tee, workload=OTHER), held=policy(tee)).failed
    assert failed[-1] == "evidence.workload"
    assert set(failed) <= {"evidence.workload", "snp.measurement", "tdx.image"}


@pytest.mark.breaks("evidence.workload")
@pytest.mark.parametrize("tee", TEES.values(), ids=TEES)
def test_a_workload_that_the_role_does_not_name_is_refused(tee):
    assert "evidence.workload" in examined(tee, workloads=(OTHER,)).failed


def test_a_policy_that_names_a_platform_measurement_alone_does_not_parse():
    """Two measurements, always: of a launch measurement somebody has to say which workload it boots."""
    told = msgspec.to_builtins(policy(SNP).platforms[0], builtin_types=(bytes,))
    for images in ((), (*told["images"], {"measurement": OTHER, "workload": WORKLOAD})):
        with pytest.raises(msgspec.ValidationError, match="an image that names its workload"):
            msgspec.convert(told | {"images": images}, SnpPlatform, builtin_types=(bytes,))


@pytest.mark.parametrize("name", ["azure-snp", "azure-tdx"])
@pytest.mark.parametrize("index", BOOT_PCRS)
def test_a_policy_that_leaves_the_kernel_to_the_disks_owner_does_not_parse(name, index):
    """Whoever boots a kernel of his own extends PCR 13 by whatever workload he likes."""
    told = msgspec.to_builtins(policy(TEES[name]).platforms[0], builtin_types=(bytes,))
    del told["vm"]["tpm"]["pcrs"][index]
    kind = AzureSnpPlatform if name == "azure-snp" else AzureTdxPlatform
    with pytest.raises(msgspec.ValidationError, match=f"PCR {index} is not named"):
        msgspec.convert(told, kind, builtin_types=(bytes,))


def test_a_role_that_names_no_workload_takes_none():
    assert "evidence.workload" in examined(SNP, workloads=()).failed


@pytest.mark.parametrize("tee", TEES.values(), ids=TEES)
def test_true_evidence_beside_false_claims_is_refused(tee):
    given = shown(tee)
    binding = msgspec.structs.replace(given.binding, subject=bytes(32))
    failed = examined(tee, msgspec.structs.replace(given, binding=binding)).failed
    assert "evidence.binding" in failed
    assert "evidence.subject" in failed


@pytest.mark.parametrize("tee", TEES.values(), ids=TEES)
def test_recorded_evidence_answers_no_other_challenge(tee):
    assert "evidence.challenge" in examined(tee, challenge=bytes(32)).failed


@pytest.mark.parametrize("tee", [WITH_GPUS, TEES["tdx with GPUs"]], ids=["snp", "tdx"])
def test_a_gpu_that_answered_another_nonce_is_refused_though_the_cpu_binds_it(tee):
    """Whoever holds a genuine GPU elsewhere could let it answer for this node otherwise."""

    @dataclass(frozen=True)
    class Elsewhere(MadeGpus):
        def evidence(self, nonce):
            return super().evidence(gpu_nonce(bytes(32), KEYS.thumbprint()))

    borrowed = replace(tee, gpu_vendor=Elsewhere(NOW, devices=2))
    assert examined(borrowed, held=policy(tee)).failed == ["gpu.nonce"]


@pytest.mark.breaks("evidence.gpu")
def test_a_gpu_exchanged_after_the_cpu_signed_is_refused():
    given = shown(WITH_GPUS)
    again = WITH_GPUS.gpus(gpu_nonce(CHALLENGE, KEYS.thumbprint()))
    assert examined(WITH_GPUS, msgspec.structs.replace(given, gpu=tuple(reversed(again)))).failed == ["evidence.gpu"]


def test_the_same_gpu_twice_is_refused():
    @dataclass(frozen=True)
    class Doubled(MadeGpus):
        def evidence(self, nonce):
            first, _ = super().evidence(nonce)
            return first, first

    twice = replace(WITH_GPUS, gpu_vendor=Doubled(NOW, devices=2))
    assert examined(twice, held=policy(WITH_GPUS)).failed == ["gpu.distinct"]


def test_fewer_gpus_than_the_policy_wants_are_refused():
    alone = MadeSnpTee(NOW, WORKLOAD, MadeGpus(NOW, devices=1))
    assert examined(alone, held=policy(WITH_GPUS)).failed == ["gpu.count"]


def test_gpus_are_refused_where_the_policy_takes_none():
    given = shown(WITH_GPUS, settings=shown(SNP).settings)
    held = policy(SNP)
    assert "evidence.gpu" in examined(WITH_GPUS, given, held=held).failed


def test_a_gpu_without_its_manifests_is_refused():
    given = shown(WITH_GPUS)
    kept = tuple(one for one in given.endorsements if one.kind != "nvidia-manifest")
    assert examined(WITH_GPUS, msgspec.structs.replace(given, endorsements=kept)).failed == ["gpu.rim"]


def test_what_came_along_is_remembered_and_nothing_older_is_taken_after_it():
    found = examined(SNP).require().seen
    assert examined(SNP, seen=found).failed == []
    later = {one: SeenList(seen.number + 1, seen.this_update) for one, seen in found.amd.items()}
    assert examined(SNP, seen=SeenEndorsements(later, {})).failed == ["snp.freshness"]
    assert examined(TDX).require().seen.intel.keys() == {f"TDX {TDX.hardware.fmspc.hex()}"}


@pytest.mark.breaks("evidence.endorsements")
@pytest.mark.parametrize(
    "kept",
    [
        pytest.param((), id="none"),
        pytest.param((*TDX.fetched(), *TDX.fetched()), id="twice"),
        pytest.param((Endorsement(kind="intel-collateral", data=b"{}"),), id="not Intel's"),
        pytest.param((*TDX.fetched(), Endorsement(kind="amd-certificates", data=b"x")), id="another vendor's besides"),
        pytest.param((*TDX.fetched(), Endorsement(kind="ocsp-answer", data=b"x")), id="an answer that is none"),
    ],
)
def test_a_quote_needs_intels_collateral_once_and_nothing_that_is_not_for_it(kept):
    assert examined(TDX, shown(TDX, endorsements=kept)).failed == ["evidence.endorsements"]


@pytest.mark.breaks("evidence.endorsements")
def test_more_answers_than_sixteen_devices_need_are_refused_before_any_signature_is_held():
    given = shown(WITH_GPUS).endorsements
    answers = [one for one in given if one.kind == "ocsp-answer"]
    filled = (*given, *answers[:1] * (MAXIMUM_ANSWERS - len(answers)))
    assert not examined(WITH_GPUS, shown(WITH_GPUS, endorsements=filled)).failed
    examination = examined(WITH_GPUS, shown(WITH_GPUS, endorsements=(*filled, answers[0])))
    assert examination.failed == ["evidence.endorsements"]
    assert not [step for step in examination.passed if step.startswith(("snp.", "gpu.", "rim."))]


@pytest.mark.parametrize("tee", TEES.values(), ids=TEES)
def test_a_report_that_is_none_is_one_named_refusal(tee):
    for report in (b"\0", b"noise" * 100, shown(tee).report[:-1], shown(tee).report + b"\0"):
        with pytest.raises(EvidenceRejected):
            examined(tee, shown(tee, report=report)).require()


@pytest.mark.parametrize("tee", TEES.values(), ids=TEES)
def test_evidence_travels_and_comes_back_the_same(tee):
    given = shown(tee)
    assert parse_evidence(canonical.encode(given), limit=1 << 20) == given


POLICY = policy(SNP).platforms[0]
DEBUGGED = msgspec.structs.replace(POLICY.report, unsafe=("UnsafeAllowSnpDebug",))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"platforms": policy(SNP).platforms * 2}, "named twice"),
        ({"unsafe": ()}, "UnsafeAllowOtherRoots"),
        (
            {
                "platforms": (
                    msgspec.structs.replace(
                        policy(SNP).platforms[0],
                        report=msgspec.structs.replace(
                            policy(SNP).platforms[0].report, unsafe=("UnsafeAllowSnpDebug",)
                        ),
                    ),
                )
            },
            "UnsafeAllowSnpDebug",
        ),
    ],
    ids=["a platform twice", "other roots unsaid", "an exception unsaid"],
)
def test_a_policy_that_hides_something_does_not_parse(change, says):
    whole = msgspec.to_builtins(policy(SNP), builtin_types=(bytes,))
    told = whole | {name: msgspec.to_builtins(value, builtin_types=(bytes,)) for name, value in change.items()}
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert(told, AppraisalPolicy, builtin_types=(bytes,))
    with pytest.raises(MalformedInput):
        canonical.decode(b"\xa0", AppraisalPolicy, limit=10)


def test_a_signed_document_without_its_image_is_refused_and_crashes_nothing():
    """Under roots of somebody's own, modules sign what AWS's never would."""

    @dataclass(frozen=True)
    class Imageless(MadeNitroTee):
        def collect(self, report_data, *, challenge):
            pcrs = {one: value for one, value in self.hardware.fields()["pcrs"].items() if one != 0}
            return Collected(self.hardware.document(pcrs=pcrs, user_data=report_data, nonce=challenge))

    nitro = Imageless(NOW, WORKLOAD)
    assert "nitro.image" in examined(nitro, held=policy(TEES["nitro"])).failed
