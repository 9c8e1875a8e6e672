"""A report of an NVIDIA GPU or switch becomes authentic: chain, revocation, signature, firmware id; no I/O, no clock.

The order is that of NVIDIA's own verifier (nvtrust, "local GPU verifier"). A report has no field that says whether
confidential computing is on or DEVTOOLS off: what it says of the state is in its measurements, which the appraisal
holds against NVIDIA's manifests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding

from cloister.attest.certificates import ChainRefused, fingerprint, parse_certificates
from cloister.attest.nvidia.chain import NvidiaTerms, check_revocation, check_signer, signing_key
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.dice_certificate import parse_device_name, parse_fwids
from cloister.formats.nvidia_policy import GpuMode
from cloister.formats.nvidia_report import (
    CHIP_INFO,
    CHIP_SKU,
    DRIVER_VERSION,
    FEATURE_FLAG,
    FWID,
    GPU_IDS,
    NVDEC0_STATUS,
    PROJECT,
    PROJECT_SKU,
    PROTECTED_PCIE_STATUS,
    SWITCH_IDS,
    VBIOS_VERSION,
    Measurement,
    NvidiaReport,
    SignedReport,
    parse_nvidia_report,
)

DEVICE_STEPS: Final = ("gpu.form", "gpu.chain", "gpu.revocation", "gpu.device", "gpu.signature", "gpu.fwid")
Chip = Literal["hopper", "blackwell", "ls10"]
_CHIPS: Final[Mapping[str, Chip]] = MappingProxyType(  # by the name in a device's certificate, whole
    {"GH100": "hopper", **dict.fromkeys(("GB100", "GB102", "GB110", "GB112", "GB202"), "blackwell"), "LS_10": "ls10"}
)
_NAME: Final = x509.ObjectIdentifier("1.3.6.1.4.1.412.274.1")  # DMTF: a device's maker, product and serial number
_FWID_EXTENSIONS: Final = ("2.23.133.5.4.1", "2.23.133.5.4.1.1")  # TCG DICE: Hopper and LS10; Blackwell
_LINK_ID_SIZE: Final = 8  # bytes
_GPUS_OF_A_SWITCH: Final = 8
_PCIE_PROTECTED: Final = b"\xaa"
_PCIE_OPEN: Final = b"\x55"
_MODES: Final[Mapping[bytes, GpuMode]] = MappingProxyType(
    {b"\0\0": "single", b"\1\0": "multi", b"\2\0": "protected-pcie"}
)


class GpuRefused(Refused):
    """Evidence of a GPU or switch failed a check."""


@dataclass(frozen=True, slots=True)
class DeviceEvidence:
    """What a device or its driver hands out: the report, and its certificates in PEM, the leaf first."""

    report: bytes
    chain: bytes


@dataclass(frozen=True, slots=True)
class AuthenticDevice:
    """What a genuine device signed. It is true; whether it is good enough is the appraisal's word."""

    chip: Chip
    product: str  # GH100, GB100, LS10
    board: str  # what newer reports call the chip, as GB200, and manifests are made for; empty where they do not
    serial: str  # as its certificate says
    identity: bytes  # SHA-256 of the key that was put into it at the factory, 32 bytes
    nonce: bytes  # 32 bytes
    driver: str  # empty for a switch
    vbios: str  # in capital letters
    project: tuple[str, str, str]  # project, its SKU, the chip's SKU: which VBIOS is for it; empty texts of a switch
    states_fwid: bool  # whether the report says the firmware id, too
    mode: GpuMode | Literal["contradictory"]
    nvdec0_disabled: bool
    link_id: bytes  # a switch's own name on the links, 8 bytes; empty of a GPU, whose report does not say it
    linked: frozenset[bytes]  # of a GPU the switches at its links, of a switch the GPUs; none where they do not say
    measurements: Mapping[int, Measurement]  # by index, from 1

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{self.product} {self.serial}"

    @property
    def manifests(self) -> tuple[str, ...]:
        """The ids of the manifests that it needs, in NVIDIA's RIM service: the driver's, then the VBIOS's."""
        vbios = self.vbios.replace(".", "")
        if self.chip == "ls10":  # a switch does not say its project: NVIDIA's tools know one alone
            return (f"NV_SWITCH_BIOS_5612_0002_890_{vbios}",)
        driver = "NV_GPU_DRIVER_GH100" if self.chip == "hopper" else f"NV_GPU_CC_DRIVER_{self.board or 'GB100'}"
        return f"{driver}_{self.driver}", f"NV_GPU_VBIOS_{'_'.join(self.project)}_{vbios}".upper()

    @property
    def kind(self) -> Literal["gpu", "switch"]:
        """Which of NVIDIA's devices."""
        return "switch" if self.chip == "ls10" else "gpu"


def examine_nvidia_device(evidence: DeviceEvidence, terms: NvidiaTerms) -> Examination[AuthenticDevice]:
    """Examine one device's evidence, with NVIDIA's root of devices, and OCSP answers for all above the leaf."""
    steps = Steps(DEVICE_STEPS, GpuRefused)
    # 1. Form: SPDM 1.1 (DSP0274 section 10.11), and certificates.
    read = steps.attempt("gpu.form", lambda: _read(evidence), MalformedInput, TooLarge, found="an SPDM report")
    if read is None:
        return steps.stopped()
    report, chain = read
    # 2. The device's chain ends in NVIDIA's root of devices, and its leaf signs measurements.
    found = "of NVIDIA's device root"
    led = steps.attempt(
        "gpu.chain", lambda: check_signer(chain, roots=terms.devices, terms=terms), ChainRefused, found=found
    )
    # 3. None of it was revoked; the leaf is the device's own making, and no responder knows of it.
    if led is not None:
        check_revocation(steps, "gpu.revocation", chain, terms, whole=False)
    # 4. Which device: the leaf's alternative name, which the key in the device's ROM signed (DSP0274, device name).
    device = steps.attempt("gpu.device", lambda: _device(report, chain), MalformedInput, ChainRefused, found="known")
    # 5. Signature over request and response (DSP0274 sections 10.11.1 and 15), by the leaf's key.
    steps.attempt(
        "gpu.signature", lambda: _check_signature(report, chain[0]), BadSignature, ChainRefused, found="by the leaf"
    )
    # 6. The firmware that the leaf was made for is the one that reports: TCG DICE, FWID. Old reports do not say it.
    stated = FWID in report.signed.opaque
    steps.attempt(
        "gpu.fwid",
        lambda: _check_fwid(report.signed, chain[0]),
        BadSignature,
        MalformedInput,
        found="the leaf's" if stated else "not stated by the report",
    )
    if device is None:
        return steps.stopped()
    return steps.examined(lambda: device)


def _read(evidence: DeviceEvidence) -> tuple[NvidiaReport, tuple[x509.Certificate, ...]]:
    chain = parse_certificates(evidence.chain)
    # PEM has many spellings; but for the ends of lines, the one that drivers write is taken.
    lines = evidence.chain.replace(b"\r\n", b"\n").split(b"\n")
    if b"\n".join(filter(None, lines)) != b"".join(one.public_bytes(Encoding.PEM) for one in chain).rstrip(b"\n"):
        raise MalformedInput("the device's chain is no PEM in lines of 64 characters, or there is more in it")
    if len(chain) < 3:
        raise MalformedInput("a device's chain has its leaf, the key of its ROM, and NVIDIA's certificates")
    return parse_nvidia_report(evidence.report), chain


def _device(report: NvidiaReport, chain: tuple[x509.Certificate, ...]) -> AuthenticDevice:
    name = parse_device_name(_device_name(chain[0]))
    chip = _CHIPS.get(name.product)
    if name.maker != "NVIDIA" or chip is None:
        raise MalformedInput(f"{name.maker} {name.product} is no device that we know")
    # The byte that some drivers of Hopper hand out behind the signature is accepted there, and nowhere else.
    if report.stray and chip != "hopper":
        raise MalformedInput(f"a byte follows the signature of a {name.product}; that is known of H100s only")
    signed = report.signed
    return AuthenticDevice(
        chip=chip,
        product=name.product.replace("_", ""),
        board=signed.text(CHIP_INFO),
        serial=name.serial,
        identity=fingerprint(chain[1]),
        nonce=signed.nonce,
        driver=signed.text(DRIVER_VERSION),
        vbios=signed.text(VBIOS_VERSION).upper() if chip == "ls10" else _vbios(signed.opaque.get(VBIOS_VERSION, b"")),
        project=(signed.text(PROJECT), signed.text(PROJECT_SKU), signed.text(CHIP_SKU)),
        states_fwid=FWID in signed.opaque,
        mode=_mode(signed.opaque),
        nvdec0_disabled=signed.opaque.get(NVDEC0_STATUS) == b"\x55",
        link_id=signed.opaque.get(SWITCH_IDS, b"") if chip == "ls10" else b"",
        linked=_linked(signed.opaque, chip),
        measurements=signed.measurements,
    )


def _device_name(leaf: x509.Certificate) -> bytes:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise MalformedInput("the device's certificate does not name the device") from error
    found = [one.value for one in names.get_values_for_type(x509.OtherName) if one.type_id == _NAME]
    if len(found) != 1:
        raise MalformedInput("the device's certificate does not name one device")
    return found[0]


def _linked(opaque: Mapping[int, bytes], chip: Chip) -> frozenset[bytes]:
    """Who is at the other end of its links. A GPU writes a name in the other order of bytes than the switch itself.

    A switch's field goes on behind its eight GPUs with how its links lead to them, which is not read.
    """
    if chip == "ls10":
        value, order = opaque.get(GPU_IDS, b"")[: _GPUS_OF_A_SWITCH * _LINK_ID_SIZE], 1
    else:
        value, order = opaque.get(SWITCH_IDS, b""), -1
    names = {value[at : at + _LINK_ID_SIZE][::order] for at in range(0, len(value), _LINK_ID_SIZE)}
    return frozenset(names - {bytes(_LINK_ID_SIZE)})  # zeros: a link that is off


def _vbios(value: bytes) -> str:
    """`96.00.9F.00.01`: four bytes, the last first, and a fifth; NULs follow."""
    if len(value) < 5 or any(value[5:]):
        raise MalformedInput("the VBIOS version has another form")
    return ".".join(f"{byte:02X}" for byte in (*value[3::-1], value[4]))


def _mode(opaque: Mapping[int, bytes]) -> GpuMode | Literal["contradictory"]:
    """What the feature flag of newer drivers says; the older field may only agree."""
    flag, pcie = opaque.get(FEATURE_FLAG), opaque.get(PROTECTED_PCIE_STATUS)
    if pcie not in (None, _PCIE_OPEN, _PCIE_PROTECTED):
        return "contradictory"
    if flag is None:
        return "protected-pcie" if pcie == _PCIE_PROTECTED else "unstated"
    mode = _MODES.get(flag)
    agrees = pcie is None or (pcie == _PCIE_PROTECTED) == (mode == "protected-pcie")
    return mode if mode is not None and agrees else "contradictory"


def _check_signature(report: NvidiaReport, leaf: x509.Certificate) -> EllipticCurvePublicKey:
    key = signing_key(leaf)
    r, s = report.signature[:48], report.signature[48:]
    signature = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    try:
        key.verify(signature, report.signed_bytes, ECDSA(SHA384()))
    except InvalidSignature as error:
        raise BadSignature(
            "the leaf's key did not sign this report: another device's chain, or a changed report"
        ) from error
    return key


def _check_fwid(signed: SignedReport, leaf: x509.Certificate) -> None:
    stated = signed.opaque.get(FWID)
    if stated is None:
        return
    known = [
        fwid
        for extension in leaf.extensions
        if extension.oid.dotted_string in _FWID_EXTENSIONS and isinstance(extension.value, x509.UnrecognizedExtension)
        for fwid in parse_fwids(extension.value.value)
    ]
    if stated not in known:
        raise BadSignature(f"the report is of firmware {stated.hex()[:16]}…, which the device's certificate is not for")
