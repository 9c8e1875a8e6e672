"""An attestation report of an NVIDIA GPU or LS10 switch: SPDM 1.1 GET_MEASUREMENTS, the request and its response.

The messages are of DMTF DSP0274 1.1 (section 10.11, tables 36 to 39); the opaque data and its field ids are NVIDIA's,
as nvtrust and the Attestation SDK publish them. Nothing here is trusted yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.byte_reader import ByteReader

MAXIMUM_REPORT: Final = 8 * 1024  # bytes: NVML_CC_GPU_ATTESTATION_REPORT_SIZE
SIGNATURE_SIZE: Final = 96  # ECDSA over P-384: r and s, each of 48 bytes, big-endian
_HEADER_REQUEST: Final = bytes.fromhex("11e001ff")  # SPDM 1.1, GET_MEASUREMENTS, signed, all measurements
_HEADER_RESPONSE: Final = bytes.fromhex("1160")  # SPDM 1.1, MEASUREMENTS
_DMTF: Final = 1  # MeasurementSpecification, bit 0
_RAW: Final = 0x80  # DMTFSpecMeasurementValueType, bit 7: the value itself, not its digest

# The ids of the fields in the opaque data that are read here. Others are kept as they are.
DRIVER_VERSION: Final = 3
VBIOS_VERSION: Final = 6
NVDEC0_STATUS: Final = 11
CHIP_SKU: Final = 15
PROJECT: Final = 17
PROJECT_SKU: Final = 18
FWID: Final = 20
PROTECTED_PCIE_STATUS: Final = 21
SWITCH_IDS: Final = 22
GPU_IDS: Final = 26
CHIP_INFO: Final = 35
FEATURE_FLAG: Final = 36
FIELD_NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {
        1: "certificate issuer name",
        2: "certificate authority key identifier",
        DRIVER_VERSION: "driver version",
        4: "GPU information",
        5: "SKU",
        VBIOS_VERSION: "VBIOS version",
        7: "manufacturer id",
        8: "tamper detection",
        9: "SMC",
        10: "VPR",
        NVDEC0_STATUS: "NVDEC0 status",
        12: "measurement counts",
        13: "CPR information",
        14: "board id",
        CHIP_SKU: "chip SKU",
        16: "chip SKU modifier",
        PROJECT: "project",
        PROJECT_SKU: "project SKU",
        19: "project SKU modifier",
        FWID: "firmware id (FWID)",
        PROTECTED_PCIE_STATUS: "protected PCIe status",
        SWITCH_IDS: "device ids of the switches (of a switch: its own)",
        23: "disabled ports",
        24: "position id",
        25: "switch lock status",
        GPU_IDS: "device ids of the GPUs",
        32: "GPU link connections",
        33: "system enable status",
        34: "version of the opaque data",
        CHIP_INFO: "chip information",
        FEATURE_FLAG: "feature flag",
    }
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement block with its DMTF header (DSP0274 1.1, tables 38 and 39)."""

    kind: int  # DMTFSpecMeasurementValueType, bits 0 to 6: 0 immutable ROM, 1 mutable firmware, 2, 3 configurations
    raw: bool  # bit 7: the value itself, not its digest
    value: bytes


@dataclass(frozen=True, slots=True)
class SignedReport:
    """What the device's signature covers: the whole request, and the response up to the signature."""

    nonce: bytes  # 32 bytes, the requester's: what the report answers
    slot: int  # of the certificate chain, 0 to 7
    response_nonce: bytes  # 32 bytes, the device's own
    measurements: Mapping[int, Measurement]  # by index, from 1
    opaque: Mapping[int, bytes]  # by field id

    def text(self, field: int) -> str:
        """A field of ASCII text, without the NULs behind it; empty where the report has no such field.

        Raises:
            MalformedInput: not printable ASCII.
        """
        value = self.opaque.get(field, b"").rstrip(b"\0")
        if not all(0x20 < byte < 0x7F for byte in value):
            raise MalformedInput(f"the {FIELD_NAMES[field]} is no text")
        return value.decode("ascii")


@dataclass(frozen=True, slots=True)
class NvidiaReport:
    """A report: what is signed, and what is not."""

    signed: SignedReport
    signed_bytes: bytes  # as they came
    signature: bytes  # 96 bytes
    stray: bytes  # nothing, or the one zero byte that some reports of H100s carry behind the signature


def parse_nvidia_report(data: bytes) -> NvidiaReport:
    """A request of 37 bytes and its response, at most 8 KiB.

    Raises:
        TooLarge: over the cap.
        MalformedInput: another message, version or form; more than the one stray byte behind the signature.
    """
    if len(data) > MAXIMUM_REPORT:
        raise TooLarge(f"a report of {len(data)} bytes, the cap is {MAXIMUM_REPORT}")
    reader = ByteReader(data, "little")
    # GET_MEASUREMENTS (table 36): header, Nonce, SlotIDParam.
    reader.constant(_HEADER_REQUEST, "the request's header")
    nonce, slot = reader.take(32, "the requester's nonce"), reader.integer(1, "SlotIDParam")
    # MEASUREMENTS (table 37): header, Param1, Param2, NumberOfBlocks, MeasurementRecordLength, MeasurementRecord …
    reader.constant(_HEADER_RESPONSE, "the response's header")
    reader.constant(b"\0", "the number of indices, which only a request for it is told")
    if reader.integer(1, "the response's slot") != slot or slot > 7:
        raise MalformedInput("the response is of another certificate slot than the request")
    blocks, length = reader.integer(1, "NumberOfBlocks"), reader.integer(3, "MeasurementRecordLength")
    measurements = _measurements(reader.take(length, "the measurement record"), blocks)
    # … Nonce, OpaqueLength, OpaqueData, Signature.
    response_nonce = reader.take(32, "the device's nonce")
    opaque = _opaque(reader.take(reader.integer(2, "OpaqueLength"), "the opaque data"))
    signed_bytes = data[: reader.at]
    signature = reader.take(SIGNATURE_SIZE, "the signature")
    if reader.rest() not in (b"", b"\0"):
        raise MalformedInput(f"{reader.left} bytes follow the signature; only one of zero is known of some H100s")
    signed = SignedReport(nonce, slot, response_nonce, measurements, opaque)
    return NvidiaReport(signed, signed_bytes, signature, reader.rest())


def _measurements(record: bytes, blocks: int) -> Mapping[int, Measurement]:
    """Table 38: Index, MeasurementSpecification, MeasurementSize, Measurement."""
    reader, found = ByteReader(record, "little"), dict[int, Measurement]()
    for _ in range(blocks):
        index, specification = reader.integer(1, "Index"), reader.integer(1, "MeasurementSpecification")
        block = ByteReader(reader.take(reader.integer(2, "MeasurementSize"), "a measurement"), "little")
        kind = block.integer(1, "DMTFSpecMeasurementValueType")
        value = block.take(block.integer(2, "DMTFSpecMeasurementValueSize"), "DMTFSpecMeasurementValue")
        block.end("a measurement's value")
        if specification != _DMTF or index in found or not 0 < index < 255:
            raise MalformedInput(f"measurement {index} comes twice, or is not of the DMTF's form")
        found[index] = Measurement(kind & ~_RAW, bool(kind & _RAW), value)
    reader.end("the last measurement")
    return MappingProxyType(found)


def _opaque(data: bytes) -> Mapping[int, bytes]:
    """NVIDIA's fields: type and size of 2 bytes each, little-endian, then the value."""
    reader, found = ByteReader(data, "little"), dict[int, bytes]()
    while reader.left:
        field, size = reader.integer(2, "an opaque field's type"), reader.integer(2, "an opaque field's size")
        if field in found:
            raise MalformedInput(f"the opaque field {field} comes twice")
        found[field] = reader.take(size, f"the opaque field {field}")
    return MappingProxyType(found)
