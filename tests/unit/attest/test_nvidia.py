"""Evidence of NVIDIA's GPUs and switches: each link of the chain broken alone, over made-up hardware."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPCertStatus
from hypothesis import given
from hypothesis import strategies as st
from tests.doubles.made_gpus import (
    ANSWERS,
    BLACKWELL,
    CHAIN,
    DEVICE,
    DRIVER_RIM,
    FOREIGN,
    GPU,
    LIFE,
    NO_OCSP,
    NONCE,
    NOW,
    OTHER,
    POLICY,
    REPORT,
    RESPONDER,
    RIMS,
    SWITCH,
    VBIOS_RIM,
    VENDOR,
    authentic,
    rim,
    trusted,
)

from cloister.attest.nvidia.appraisal import appraise_nvidia, compare
from cloister.attest.nvidia.chain import UNCHECKED
from cloister.attest.nvidia.device import DeviceEvidence, GpuRefused, examine_nvidia_device
from cloister.attest.nvidia.rim import RimRefused, examine_nvidia_rim
from cloister.formats import nvidia_report as fields
from cloister.formats.nvidia_policy import NvidiaPolicy
from cloister.testing.certificates import Life, made_key
from cloister.testing.nvidia_hardware import SIGNS, MadeDevice, MadeRim, NvidiaVendor, measured, signed_by
from cloister.testing.ocsp_answers import Responder


def failed(evidence, **given):
    return examine_nvidia_device(evidence, trusted(**{"answers": ANSWERS} | given)).failed


def test_a_genuine_gpu_is_authentic_with_its_certificates_answered_for():
    found = examine_nvidia_device(DEVICE.evidence(NONCE), trusted(ANSWERS)).require()
    assert (found.name, found.chip, found.driver) == ("GH100 48B02D0000000001", "hopper", "550.90.07")
    assert (found.vbios, found.mode, found.nonce) == ("96.00.9F.00.01", "single", NONCE)


def test_the_made_up_vendor_is_a_stranger_where_its_root_is_not_given():
    assert failed(DEVICE.evidence(NONCE), vendor=FOREIGN) == ["gpu.chain"]


@pytest.mark.parametrize("device", [BLACKWELL, SWITCH])
def test_blackwell_and_switches_are_authentic_too(device):
    found = authentic(device)
    assert found.product == device.product.replace("_", "")
    assert found.board == ("GB200" if device is BLACKWELL else "")


def test_a_device_names_the_manifests_that_it_needs():
    project = {fields.PROJECT: b"1010\0", fields.PROJECT_SKU: b"0200\0", fields.CHIP_SKU: b"882\0\0"}
    vbios = "NV_GPU_VBIOS_1010_0200_882_96009F0001"
    assert authentic(replace(DEVICE, opaque=project)).manifests == ("NV_GPU_DRIVER_GH100_550.90.07", vbios)
    blackwell = replace(BLACKWELL, driver="595.91.07", opaque=project)
    assert authentic(blackwell).manifests == ("NV_GPU_CC_DRIVER_GB100_595.91.07", vbios)
    blackwell = replace(blackwell, opaque=project | {fields.CHIP_INFO: b"GB200\0"})
    assert authentic(blackwell).manifests == ("NV_GPU_CC_DRIVER_GB200_595.91.07", vbios)
    assert authentic(SWITCH).manifests == ("NV_SWITCH_BIOS_5612_0002_890_9610550001",)


def test_a_report_without_a_firmware_id_is_authentic_and_says_so():
    assert GPU.states_fwid
    assert not authentic(old_driver()).states_fwid


def old_driver():
    """A device whose report has none of the newer fields."""
    return replace(DEVICE, fwid_stated=False, mode=None, pcie=None)


@pytest.mark.breaks("gpu.form")
def test_a_report_of_another_form_is_refused():
    report = DEVICE.report(NONCE)
    for other in (report + b"\0\0", report + b"\1", report[:-1], report[:37], b"\x12" + report[1:], b""):
        assert failed(DeviceEvidence(other, DEVICE.chain())) == ["gpu.form"]
    for chain in (b"", b"x\n" + CHAIN, CHAIN + b"\0", CHAIN.replace(b"\n", b" ", 2), CHAIN[28:]):
        assert failed(DeviceEvidence(report, chain)) == ["gpu.form"]
    assert not failed(DeviceEvidence(report, CHAIN.replace(b"\n", b"\r\n").rstrip()))
    assert failed(DeviceEvidence(bytes(2**20), DEVICE.chain())) == ["gpu.form"]


@pytest.mark.breaks("gpu.chain")
def test_a_chain_out_of_date_is_refused():
    answers = DEVICE.answers(Responder(life=Life(NOW, NOW + 9000)))
    assert failed(DEVICE.evidence(NONCE), answers=answers, at=NOW + 1001) == ["gpu.chain"]
    assert failed(DEVICE.evidence(NONCE), answers=[], at=NOW + 1001) == ["gpu.chain"]  # and nobody is asked


@pytest.mark.breaks("gpu.chain")
def test_a_leaf_that_may_not_sign_reports_is_refused():
    leaf, *above = DEVICE.certificates()
    others = [(one.value, one.critical) for one in leaf.extensions if not isinstance(one.value, x509.KeyUsage)]
    only = x509.KeyUsage(False, False, True, *[False] * 6)
    for usage in ([(only, True)], []):
        false = DEVICE.rom.issue("leaf", DEVICE.leaf.public_key(), LIFE, usage + others)
        pem = b"".join(one.public_bytes(Encoding.PEM) for one in (false, *above))
        assert "gpu.chain" in failed(DeviceEvidence(DEVICE.report(NONCE), pem))


@pytest.mark.breaks("gpu.revocation")
@pytest.mark.parametrize("status", [OCSPCertStatus.REVOKED, OCSPCertStatus.UNKNOWN], ids=["revoked", "unknown"])
def test_a_gpu_that_was_revoked_or_that_nobody_knows_is_refused(status):
    answers = DEVICE.answers(Responder(life=LIFE, status=status))
    assert failed(DEVICE.evidence(NONCE), answers=answers) == ["gpu.revocation"]
    assert failed(DEVICE.evidence(NONCE), answers=[ANSWERS[0], answers[1]]) == ["gpu.revocation"]


@pytest.mark.breaks("gpu.revocation")
def test_silence_about_revocation_is_no_consent():
    assert failed(DEVICE.evidence(NONCE), answers=ANSWERS[:1]) == ["gpu.revocation"]
    assert failed(DEVICE.evidence(NONCE), answers=OTHER.answers(RESPONDER)) == ["gpu.revocation"]


def test_unchecked_revocation_is_said():
    steps = examine_nvidia_device(DEVICE.evidence(NONCE), trusted(unsafe=NO_OCSP)).steps
    assert [one.detail for one in steps if one.id == "gpu.revocation"] == [UNCHECKED]


@pytest.mark.breaks("gpu.device")
@pytest.mark.parametrize(
    "device",
    [
        replace(DEVICE, product="AD102"),
        replace(DEVICE, vbios=b"\1"),
        replace(DEVICE, vbios=bytes(7) + b"\1"),
        replace(DEVICE, driver="550\x07"),
    ],
    ids=["another chip", "a vbios version cut off", "a vbios version with more", "a driver version that is no text"],
)
def test_a_device_that_nobody_knows_is_refused(device):
    assert failed(device.evidence(NONCE)) == ["gpu.device"]


def test_one_stray_byte_is_taken_behind_the_report_of_a_hopper_and_of_no_other_device():
    stray = DeviceEvidence(DEVICE.report(NONCE) + b"\0", DEVICE.chain())
    assert not failed(stray)
    for device in (BLACKWELL, SWITCH):
        evidence = DeviceEvidence(device.report(NONCE) + b"\0", device.chain())
        assert failed(evidence, answers=device.answers(RESPONDER)) == ["gpu.device"]


@pytest.mark.breaks("gpu.signature")
def test_a_swapped_chain_is_refused():
    swapped = DeviceEvidence(DEVICE.report(NONCE), OTHER.chain())
    assert failed(swapped, answers=OTHER.answers(RESPONDER)) == ["gpu.signature"]


@pytest.mark.breaks("gpu.signature")
@given(st.integers(0, len(REPORT) - 1), st.integers(1, 255))
def test_a_report_with_a_byte_changed_is_refused(at, change):
    data = bytearray(REPORT)
    data[at] ^= change
    steps = failed(DeviceEvidence(bytes(data), CHAIN))
    assert steps
    assert set(steps) <= {"gpu.form", "gpu.device", "gpu.signature", "gpu.fwid"}


@pytest.mark.breaks("gpu.fwid")
def test_a_report_of_other_firmware_than_the_certificate_is_refused():
    for device in (DEVICE, BLACKWELL):
        reporting = replace(device, opaque={fields.FWID: bytes(range(48))})
        evidence = DeviceEvidence(reporting.report(NONCE), device.chain())
        assert failed(evidence, answers=device.answers(RESPONDER)) == ["gpu.fwid"]


def test_a_layer_without_firmware_vouches_for_none():
    reporting = replace(BLACKWELL, opaque={fields.FWID: bytes(48)})
    evidence = DeviceEvidence(reporting.report(NONCE), BLACKWELL.chain())
    assert failed(evidence, answers=BLACKWELL.answers(RESPONDER)) == ["gpu.fwid"]


@pytest.mark.breaks("gpu.chain")
def test_the_root_of_manifests_vouches_for_no_device():
    devices = replace(trusted(ANSWERS), devices=[VENDOR.rim_root.pin], manifests=[VENDOR.device_root.pin])
    assert examine_nvidia_device(DEVICE.evidence(NONCE), devices).failed == ["gpu.chain"]


@pytest.mark.breaks("gpu.revocation")
def test_answers_that_were_stapled_are_no_consent_where_a_nonce_is_demanded():
    sent = b"thirty-two bytes that were sent."
    asked = DEVICE.answers(replace(RESPONDER, nonce=sent))
    assert not failed(DEVICE.evidence(NONCE), answers=asked, nonce=sent)
    assert failed(DEVICE.evidence(NONCE), nonce=sent) == ["gpu.revocation"]
    unknown = DEVICE.answers(replace(RESPONDER, nonce=sent, status=OCSPCertStatus.UNKNOWN))
    assert failed(DEVICE.evidence(NONCE), answers=[*ANSWERS, *unknown], nonce=sent) == ["gpu.revocation"]


def refused(devices=(GPU,), rims=RIMS, *, nonce=NONCE, **policy):
    given = {name: getattr(POLICY, name) for name in POLICY.__struct_fields__} | policy
    return appraise_nvidia(devices, rims, NvidiaPolicy(**given), nonce=nonce).failed


def test_a_gpu_of_the_policy_is_appraised():
    appraised = appraise_nvidia([GPU], RIMS, POLICY, nonce=NONCE).require()
    assert appraised.measured
    assert appraised.devices == (GPU,)


def test_two_gpus_and_a_switch_are_appraised_together():
    bios = rim(MadeRim(version="96.10.55.00.01", product="LS10", edition="SWITCH", measurements={0: [measured(0)]}))
    devices = [GPU, authentic(OTHER), authentic(SWITCH)]
    assert not refused(devices, [*RIMS, bios], gpus=2, switches=1)
    assert refused(devices, RIMS, gpus=2, switches=1) == ["gpu.rim"]
    assert refused(devices, [*RIMS, bios], gpus=2, switches=1, switch_bioses=()) == ["gpu.vbios"]


def test_a_switch_never_states_a_firmware_id_and_needs_no_acceptance_for_it():
    report = replace(SWITCH, fwid_stated=False)
    bios = rim(MadeRim(version="96.10.55.00.01", product="LS10", edition="SWITCH", measurements={0: [measured(0)]}))
    assert not refused([authentic(report)], [bios], gpus=0, switches=1)


def test_an_empty_policy_takes_nothing():
    empty = {"architectures": (), "modes": (), "drivers": (), "vbioses": ()}
    assert refused(**empty) == ["gpu.architecture", "gpu.mode", "gpu.driver", "gpu.vbios"]


@pytest.mark.breaks("gpu.nonce")
def test_a_gpu_report_that_is_not_bound_to_the_cpu_is_refused():
    assert refused(nonce=bytes(32)) == ["gpu.nonce"]
    assert refused([GPU, authentic(OTHER, bytes(32))], gpus=2) == ["gpu.nonce"]


@pytest.mark.breaks("gpu.count")
@pytest.mark.parametrize("counts", [{"gpus": 2}, {"gpus": 0}, {"switches": 1}], ids=["more", "fewer", "no switch"])
def test_another_number_of_devices_is_refused(counts):
    assert refused(**counts) == ["gpu.count"]


@pytest.mark.breaks("gpu.distinct")
def test_the_same_gpu_twice_is_refused():
    again = authentic(replace(DEVICE, nvdec0=b"\x55"))
    assert refused([GPU, again], gpus=2) == ["gpu.distinct"]
    assert refused([GPU, replace(authentic(OTHER), identity=GPU.identity)], gpus=2) == ["gpu.distinct"]
    assert refused([GPU, replace(authentic(OTHER), serial=GPU.serial)], gpus=2) == ["gpu.distinct"]
    assert not refused([GPU, authentic(OTHER)], gpus=2)


@pytest.mark.breaks("gpu.architecture")
def test_an_architecture_that_the_policy_does_not_name_is_refused():
    assert refused(architectures=("blackwell",)) == ["gpu.architecture"]


@pytest.mark.breaks("gpu.fwid-stated")
def test_a_report_that_does_not_state_its_firmware_id_needs_to_be_accepted_by_name():
    old = authentic(old_driver())
    assert refused([old], modes=("unstated",)) == ["gpu.fwid-stated"]
    assert not refused([old], modes=("unstated",), without_fwid=True)


@pytest.mark.breaks("gpu.mode")
@pytest.mark.parametrize(
    ("device", "mode"),
    [
        (replace(DEVICE, mode=b"\1\0"), "multi"),
        (replace(DEVICE, mode=b"\2\0", pcie=b"\xaa"), "protected-pcie"),
        (replace(DEVICE, mode=None, pcie=b"\xaa"), "protected-pcie"),
        (replace(DEVICE, mode=None), "unstated"),
        (replace(DEVICE, mode=b"\0\0", pcie=b"\xaa"), "contradictory"),
        (replace(DEVICE, mode=b"\2\0", pcie=b"\x55"), "contradictory"),
        (replace(DEVICE, mode=b"\3\0"), "contradictory"),
        (replace(DEVICE, pcie=b"\0"), "contradictory"),
    ],
    ids=[
        "several gpus",
        "protected pcie",
        "protected pcie of an older driver",
        "unstated",
        "single under protected pcie",
        "protected pcie that is off",
        "an unknown flag",
        "an unknown status",
    ],
)
def test_gpus_tied_in_another_way_than_the_policy_names_are_refused(device, mode):
    found = authentic(device)
    assert found.mode == mode
    assert refused([found], unsafe=("UnsafeAllowUnattestedSwitches",)) == ["gpu.mode"]


def test_gpus_tied_in_two_ways_are_refused_though_each_is_accepted():
    both = [GPU, authentic(replace(OTHER, mode=b"\1\0"))]
    assert refused(both, gpus=2, modes=("single", "multi")) == ["gpu.mode"]


IDS = [bytes([number]) * 7 + b"\1" for number in range(1, 5)]  # of two switches, then of two GPUs
PROTECTED: dict[str, Any] = {"mode": b"\2\0", "pcie": b"\xaa", "linked": [IDS[0], IDS[0], IDS[1], bytes(8)]}
FIRST, SECOND = replace(DEVICE, **PROTECTED), replace(OTHER, **PROTECTED)
SWITCHES = [
    replace(SWITCH, serial=f"48B02D000000001{number}", link_id=IDS[number], linked=IDS[2:]) for number in range(2)
]
BIOS_RIM = MadeRim(version="96.10.55.00.01", product="LS10", edition="SWITCH", measurements={0: [measured(0)]})


def protected(*made, **policy):
    """The machine of these GPUs and switches, under protected PCIe."""
    counted = {"gpus": sum(not one.link_id for one in made), "switches": sum(bool(one.link_id) for one in made)}
    given = counted | {"modes": ("protected-pcie",)} | policy
    return refused([authentic(one) for one in made], [*RIMS, rim(BIOS_RIM)], **given)


def test_a_whole_machine_under_protected_pcie_is_appraised():
    assert not protected(FIRST, SECOND, *SWITCHES)


@pytest.mark.breaks("gpu.links")
@pytest.mark.parametrize(
    "made",
    [
        (FIRST,),
        (FIRST, SECOND, SWITCHES[0]),
        (FIRST, SECOND, *SWITCHES, replace(SWITCH, link_id=b"another.", linked=IDS[2:])),
        (FIRST, SECOND, SWITCHES[0], replace(SWITCHES[1], link_id=b"another.")),
        (FIRST, replace(SECOND, linked=[*IDS[:2], b"another."]), *SWITCHES),
        (FIRST, replace(SECOND, linked=()), *SWITCHES),
        (FIRST, *SWITCHES),
        (FIRST, SECOND, SWITCHES[0], replace(SWITCHES[1], linked=[IDS[2], b"another."])),
        (FIRST, SECOND, *[replace(one, linked=[*IDS[2:], b"another."]) for one in SWITCHES]),
        (FIRST, SECOND, *[replace(one, linked=()) for one in SWITCHES]),
    ],
    ids=[
        "a gpu whose switches stayed silent",
        "one switch that did not attest",
        "a switch that no gpu is linked to",
        "another switch",
        "a gpu with one more switch",
        "a gpu that does not say its switches",
        "a gpu that did not attest",
        "switches that know different gpus",
        "switches that know one more gpu",
        "switches that name no gpus",
    ],
)
def test_under_protected_pcie_everything_at_the_links_attested(made):
    assert protected(*made) == ["gpu.links"]
    assert not protected(*made, unsafe=("UnsafeAllowUnattestedSwitches",))


@pytest.mark.parametrize("product", ["GH200", "GH100A", "GB10B", "GB300", "LS_100", "GH"])
def test_a_chip_whose_name_only_begins_like_a_known_one_is_none(product):
    made = replace(DEVICE, product=product)
    assert failed(made.evidence(NONCE), answers=made.answers(RESPONDER)) == ["gpu.device"]


@pytest.mark.breaks("gpu.driver")
def test_a_driver_that_the_policy_does_not_name_is_refused():
    assert refused(drivers=("550.90.08",)) == ["gpu.driver"]


@pytest.mark.breaks("gpu.vbios")
def test_a_vbios_that_the_policy_does_not_name_is_refused():
    assert refused(vbioses=("96.00.9F.00.02",)) == ["gpu.vbios"]
    assert not refused(vbioses=("96.00.9f.00.01",))


@pytest.mark.breaks("gpu.rim")
def test_a_gpu_without_a_manifest_of_its_own_versions_is_refused():
    others = [rim(replace(DRIVER_RIM, version="550.90.08")), rim(replace(DRIVER_RIM, product="GB100"))]
    assert refused(rims=[RIMS[1], *others]) == ["gpu.rim"]
    assert refused(rims=RIMS[:1]) == ["gpu.rim"]
    assert refused(rims=[*RIMS[:1], rim(replace(VBIOS_RIM, edition="SWITCH"))]) == ["gpu.rim"]


@pytest.mark.breaks("gpu.measurements")
def test_a_gpu_that_measured_something_else_is_refused_and_the_indices_are_named():
    wrong = authentic(replace(DEVICE, measurements=dict(DEVICE.measurements) | {3: b"x" * 48, 30: b"y" * 48}))
    examination = appraise_nvidia([wrong], RIMS, POLICY, nonce=NONCE)
    assert examination.failed == ["gpu.measurements"]
    with pytest.raises(GpuRefused, match="differs from NVIDIA's manifests at index 3, 30"):
        examination.require()


@pytest.mark.breaks("gpu.measurements")
def test_a_measurement_that_is_not_there_does_not_match():
    few = {index: value for index, value in DEVICE.measurements.items() if index != 25}
    assert refused([authentic(replace(DEVICE, measurements=few))]) == ["gpu.measurements"]


@pytest.mark.breaks("gpu.measurements")
def test_manifests_that_speak_of_the_same_index_are_refused():
    both = rim(replace(VBIOS_RIM, measurements={20: [measured(20)]}))
    assert refused(rims=[RIMS[0], both]) == ["gpu.measurements"]


def test_a_decoder_that_is_switched_off_is_not_measured():
    off = authentic(replace(DEVICE, nvdec0=b"\x55", measurements=dict(DEVICE.measurements) | {35: bytes(48)}))
    assert not refused([off])
    on = authentic(replace(DEVICE, measurements=dict(DEVICE.measurements) | {35: bytes(48)}))
    assert refused([on]) == ["gpu.measurements"]


def test_of_several_manifests_of_one_version_the_one_that_fits_counts():
    other_board = rim(replace(VBIOS_RIM, measurements={0: [b"z" * 48]}))
    assert not refused(rims=[other_board, *RIMS])
    assert compare(GPU, other_board).mismatched == (0,)


def test_a_gpu_that_was_not_measured_has_to_be_accepted_by_name():
    found = appraise_nvidia([GPU], [], replace_policy(unsafe=("UnsafeAllowUnmeasuredGpu",)), nonce=NONCE).require()
    assert not found.measured


def replace_policy(**changes):
    return NvidiaPolicy(**{name: getattr(POLICY, name) for name in POLICY.__struct_fields__} | changes)


def test_refusals_name_their_step():
    with pytest.raises(RimRefused, match=r"rim\.form"):
        examine_nvidia_rim(b"", trusted()).require()


def test_the_hardware_made_up_is_the_same_each_time():
    assert DEVICE.unsigned(NONCE) == MadeDevice(vendor=NvidiaVendor(LIFE)).unsigned(NONCE)
    assert len(signed_by(made_key("x"), b"")) == 96
    assert SIGNS.digital_signature
