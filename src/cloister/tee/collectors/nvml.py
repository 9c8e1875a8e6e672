"""Evidence of NVIDIA's GPUs, from the driver's own library (NVML): a report that answers a nonce, and its chain.

The library comes with the driver (`libnvidia-ml.so.1`); it is spoken to by `ctypes`, so that nothing is to be installed
for it. Switches have a library of their own (NSCQ) and are not asked here. Confidential mode is looked at to say early
what is wrong; what proves it is the report's measurements, in `attest.nvidia`.
Source: nvml.h, "Confidential Computing" (NVML API Reference, CUDA 12.4).
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from cloister.errors import CloisterError, MalformedInput, TooLarge
from cloister.formats.evidence import GpuEvidence
from cloister.formats.nvidia_report import parse_nvidia_report
from cloister.tee.collectors.collected import NoTee, TeeDenied, TeeFault, TeeUnavailable

LIBRARY: Final = "libnvidia-ml.so.1"
MAXIMUM_GPUS: Final = 16  # that evidence has room for
NONCE: Final = 32  # bytes: NVML_CC_GPU_CEC_NONCE_SIZE
Architecture = Literal["hopper", "blackwell"]
_ARCHITECTURES: Final[dict[int, Architecture]] = {9: "hopper", 10: "blackwell"}  # NVML_DEVICE_ARCH_…
_NOT_SUPPORTED, _NO_PERMISSION, _DRIVER_NOT_LOADED = 3, 4, 9  # nvmlReturn_t
_PROTECTED_PCIE: Final = 1  # NVML_CC_SYSTEM_MULTIGPU_PROTECTED_PCIE
_REPORT_SIZE, _CHAIN_SIZE = 0x2000, 0x1400


class _Settings(ctypes.Structure):
    """What `nvmlSystemConfComputeSettings_v1_t` is."""

    _fields_ = tuple((name, ctypes.c_uint) for name in ("version", "environment", "feature", "devtools", "multi_gpu"))


class _Certificate(ctypes.Structure):
    """What `nvmlConfComputeGpuCertificate_t` is."""

    _fields_ = (
        ("chain_size", ctypes.c_uint),
        ("attestation_chain_size", ctypes.c_uint),
        ("chain", ctypes.c_ubyte * 0x1000),
        ("attestation_chain", ctypes.c_ubyte * _CHAIN_SIZE),
    )


class _Report(ctypes.Structure):
    """What `nvmlConfComputeGpuAttestationReport_t` is."""

    _fields_ = (
        ("is_cec_report_present", ctypes.c_uint),
        ("report_size", ctypes.c_uint),
        ("cec_report_size", ctypes.c_uint),
        ("nonce", ctypes.c_ubyte * NONCE),
        ("report", ctypes.c_ubyte * _REPORT_SIZE),
        ("cec_report", ctypes.c_ubyte * 0x1000),
    )


class _Answered(Exception):
    """A function of the library that returned something else than success."""

    def __init__(self, function: str, code: int) -> None:
        super().__init__(function)
        self.function = function
        self.code = code


@dataclass(frozen=True, slots=True)
class CollectedGpu:
    """One GPU's evidence, and what the driver calls its architecture."""

    architecture: Architecture
    evidence: GpuEvidence


def load_nvml() -> Any:
    """The driver's library.

    Raises:
        NoTee: there is none.
    """
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise NoTee(f"{LIBRARY} is not there: no NVIDIA driver is installed ({error})") from error


def collect_gpus(nonce: bytes, *, load: Callable[[], Any] = load_nvml) -> tuple[CollectedGpu, ...]:
    """The evidence of every GPU of this machine, each with `nonce`, 32 bytes; a second or so for each.

    Raises:
        NoTee: there is no driver, no GPU, or none that attests.
        TeeDenied, TeeUnavailable, TeeFault: the driver does not answer, and why.
    """
    if len(nonce) != NONCE:
        raise ValueError(f"a nonce of {len(nonce)} bytes; a GPU takes {NONCE}")
    library = load()
    try:
        with _begun(library):
            _require_confidential(library)
            return tuple(_gpu(library, index, nonce) for index in range(_count(library)))
    except _Answered as answered:
        raise _said(library, answered) from None
    except AttributeError as error:  # ctypes: the library has no such function
        raise NoTee(f"the NVIDIA driver is too old to attest ({error}): 550 or later is needed") from error


@contextlib.contextmanager
def _begun(library: Any) -> Iterator[None]:
    _call(library, "nvmlInit_v2")
    try:
        yield
    finally:
        library.nvmlShutdown()


def _require_confidential(library: Any) -> None:
    """Say early what every appraisal would refuse: a GPU that is not in confidential mode, or open to debuggers.

    Raises:
        NoTee: it is so.
    """
    settings = _Settings(version=ctypes.sizeof(_Settings) | 1 << 24)  # NVML_STRUCT_VERSION of version 1
    _call(library, "nvmlSystemGetConfComputeSettings", ctypes.pointer(settings))
    if not settings.feature and settings.multi_gpu != _PROTECTED_PCIE:  # in that mode the feature reads as off
        raise NoTee("the GPUs are not in confidential mode: switch it on from the host (nvidia_gpu_tools.py)")
    if settings.devtools:
        raise NoTee("the GPUs are in DEVTOOLS mode, open to debuggers: switch confidential mode to on, from the host")


def _count(library: Any) -> int:
    count = ctypes.c_uint()
    _call(library, "nvmlDeviceGetCount_v2", ctypes.pointer(count))
    if not count.value:
        raise NoTee("the NVIDIA driver knows no GPU: is one passed through to this machine?")
    if count.value > MAXIMUM_GPUS:
        raise TeeFault(f"the NVIDIA driver knows {count.value} GPUs; evidence has room for {MAXIMUM_GPUS}")
    return count.value


def _gpu(library: Any, index: int, nonce: bytes) -> CollectedGpu:
    device, architecture = ctypes.c_void_p(), ctypes.c_uint()
    _call(library, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.pointer(device))
    _call(library, "nvmlDeviceGetArchitecture", device, ctypes.pointer(architecture))
    if architecture.value not in _ARCHITECTURES:
        raise NoTee(
            f"GPU {index} is of an architecture ({architecture.value}) that does not attest, or is not known here"
        )
    report, certificate = _Report(), _Certificate()
    report.nonce[:] = nonce
    _call(library, "nvmlDeviceGetConfComputeGpuAttestationReport", device, ctypes.pointer(report))
    _call(library, "nvmlDeviceGetConfComputeGpuCertificate", device, ctypes.pointer(certificate))
    data = _cut(report.report, report.report_size, f"the report of GPU {index}")
    chain = _cut(certificate.attestation_chain, certificate.attestation_chain_size, f"the chain of GPU {index}")
    _require_answer(data, index, nonce)
    return CollectedGpu(_ARCHITECTURES[architecture.value], GpuEvidence(report=data, chain=chain))


def _require_answer(report: bytes, index: int, nonce: bytes) -> None:
    try:
        said = parse_nvidia_report(report).signed.nonce
    except (MalformedInput, TooLarge) as error:
        raise TeeFault(f"what GPU {index} gave for a report is none: {error}") from error
    if said != nonce:
        raise TeeFault(f"the report of GPU {index} answers another nonce than was asked with")


def _cut(buffer: Any, size: int, what: str) -> bytes:
    """The part of a buffer that the driver says it filled.

    Raises:
        TeeFault: it says none, or more than there is.
    """
    if not 0 < size <= len(buffer):
        raise TeeFault(f"the driver speaks of {size} bytes of {what} in a buffer of {len(buffer)}")
    return bytes(buffer[:size])


def _call(library: Any, function: str, *arguments: Any) -> None:
    if code := getattr(library, function)(*arguments):
        raise _Answered(function, code)


def _said(library: Any, answered: _Answered) -> CloisterError:
    """What a function returned, as a sentence that says what to do."""
    library.nvmlErrorString.restype = ctypes.c_char_p
    words = library.nvmlErrorString(ctypes.c_int(answered.code)) or b""
    said = f"NVML's {answered.function}: {words.decode('ascii', 'replace') or 'no words'} ({answered.code})"
    match answered.code:
        case code if code == _DRIVER_NOT_LOADED:
            return NoTee(f"{said}: the NVIDIA driver is installed, and not loaded: modprobe nvidia")
        case code if code == _NOT_SUPPORTED:
            return NoTee(f"{said}: GPUs attest from Hopper on, in confidential mode, with driver 550 or later")
        case code if code == _NO_PERMISSION:
            return TeeDenied(f"{said}: this user may not open /dev/nvidiactl and /dev/nvidia0")
    return TeeUnavailable(f"{said}: nvidia-smi conf-compute -grs says whether the GPUs are ready")
