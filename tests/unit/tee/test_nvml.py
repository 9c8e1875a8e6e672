"""Evidence of GPUs by NVML, by way of a library that behaves as nvml.h says."""

import ctypes
import ctypes.util
from dataclasses import replace

import pytest
from tests.doubles.nvml_library import VENDOR, NvmlLibrary

from cloister.attest.nvidia.chain import NvidiaTerms
from cloister.attest.nvidia.device import DeviceEvidence, examine_nvidia_device
from cloister.attest.ocsp import STAPLED, parse_answer
from cloister.tee.collectors import nvml
from cloister.tee.collectors.collected import NoTee, TeeDenied, TeeFault, TeeUnavailable
from cloister.tee.collectors.nvml import collect_gpus, load_nvml
from cloister.testing.nvidia_hardware import MadeDevice
from cloister.testing.ocsp_answers import Responder
from cloister.testing.world import NOON

NONCE = bytes(range(32))


def collected(library):
    return collect_gpus(NONCE, load=lambda: library)


def test_every_gpu_answers_the_nonce_and_is_accepted_by_the_examination_of_nvidia():
    library = NvmlLibrary()
    found = collected(library)
    for made, gpu in zip(library.gpus, found, strict=True):
        terms = NvidiaTerms(
            devices=[VENDOR.device_root.pin],
            manifests=[],
            answers=[parse_answer(one) for one in made.answers(Responder(life=VENDOR.life))],
            nonce=STAPLED,
            at=NOON,
            unsafe=(),
        )
        evidence = DeviceEvidence(gpu.evidence.report, gpu.evidence.chain)
        authentic = examine_nvidia_device(evidence, terms).require()
        assert (authentic.nonce, authentic.serial, gpu.architecture) == (NONCE, made.serial, "hopper")
    assert (library.asked, library.begun) == ([0, 1], 0)


def test_the_structures_are_as_large_as_the_headers_are():
    sizes = [ctypes.sizeof(kind) for kind in (nvml._Settings, nvml._Certificate, nvml._Report)]
    assert sizes == [20, 8 + 0x1000 + 0x1400, 12 + 0x20 + 0x2000 + 0x1000]


def test_blackwell_is_told_from_hopper_and_protected_pcie_is_a_confidential_mode():
    assert [gpu.architecture for gpu in collected(NvmlLibrary(architecture=10))] == ["blackwell"] * 2
    assert collected(NvmlLibrary(feature=0, multi_gpu=1))


def test_the_stray_byte_of_an_h100_is_no_fault():
    device = MadeDevice(vendor=VENDOR)
    assert collected(NvmlLibrary(report=device.report(NONCE) + b"\0"))[0].evidence.report[-1] == 0


REPORT = "nvmlDeviceGetConfComputeGpuAttestationReport"


@pytest.mark.parametrize(
    ("changes", "error", "named"),
    [
        ({"feature": 0}, NoTee, "not in confidential mode"),
        ({"devtools": 1}, NoTee, "open to debuggers"),
        ({"count": 0}, NoTee, "knows no GPU"),
        ({"count": 17}, TeeFault, "knows 17 GPUs"),
        ({"architecture": 7}, NoTee, r"architecture \(7\)"),
        ({"codes": {"nvmlInit_v2": 9}}, NoTee, "modprobe nvidia"),
        ({"codes": {REPORT: 3}}, NoTee, "from Hopper on"),
        ({"codes": {REPORT: 4}}, TeeDenied, "/dev/nvidiactl"),
        ({"codes": {REPORT: 15}}, TeeUnavailable, r"Words \(15\)"),
        ({"absent": ("nvmlSystemGetConfComputeSettings",)}, NoTee, "too old to attest"),
        ({"sizes": {"report": 0}}, TeeFault, "0 bytes of the report of GPU 0 in a buffer of 8192"),
        ({"sizes": {"report": 8193}}, TeeFault, "8193 bytes of the report"),
        ({"sizes": {"chain": 9999}}, TeeFault, "9999 bytes of the chain"),
        ({"sizes": {"report": 900}}, TeeFault, "for a report is none"),
        ({"report": MadeDevice(vendor=VENDOR).report(bytes(32))}, TeeFault, "answers another nonce"),
    ],
    ids=[
        *("off", "devtools", "none", "many", "ampere", "unloaded", "unsupported", "denied", "lost", "old"),
        *("empty", "large", "chain", "cut", "foreign"),
    ],
)
def test_what_stands_in_the_way_is_named_and_the_library_is_ended(changes, error, named):
    library = replace(NvmlLibrary(), **changes)
    with pytest.raises(error, match=named):
        collected(library)
    assert library.begun == 0


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_gpu_takes_32_bytes_and_nothing_else(size):
    with pytest.raises(ValueError, match="a GPU takes 32"):
        collect_gpus(bytes(size), load=NvmlLibrary)


@pytest.mark.skipif(ctypes.util.find_library("nvidia-ml") is not None, reason="an NVIDIA driver is installed here")
def test_without_a_driver_there_are_no_gpus():
    with pytest.raises(NoTee, match="no NVIDIA driver is installed"):
        load_nvml()
