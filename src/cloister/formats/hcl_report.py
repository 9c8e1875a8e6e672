"""The report of Azure's paravisor (HCL) for a confidential VM, as its vTPM keeps it in NV index 0x01400001.

A header that nobody signs, the hardware's report (SEV-SNP) or what one is made of (TDX's TDREPORT, which its own CPU
alone can check), and the runtime data: JSON that names the vTPM's keys, whose hash is the hardware's REPORT_DATA.
Source: "Azure confidential VM guest attestation", learn.microsoft.com, report layout; integers are little-endian.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.byte_reader import ByteReader

MAXIMUM_HCL: Final = 8192  # bytes
AK_NAME: Final = "HCLAkPub"
HASH_NAMES: Final = {1: "sha256", 2: "sha384", 3: "sha512"}  # report_data_hash_type
SNP_REPORT_SIZE: Final = 1184
TD_REPORT_SIZE: Final = 1024
_HARDWARE_SIZE: Final = 1184  # bytes that the report has room in, filled up with zeros
_HEADER_SIZE: Final = 32
_REQUEST_SIZE: Final = 20  # bytes of the request data before the runtime data
_VERSIONS: Final = (1, 2)
_REQUEST_TYPE: Final = 2  # attestation, of a report
_SIZES: Final[dict[int, tuple[Literal["snp", "tdx"], int]]] = {2: ("snp", SNP_REPORT_SIZE), 4: ("tdx", TD_REPORT_SIZE)}


@dataclass(frozen=True, slots=True)
class HclReport:
    """Nothing in it is trusted yet; what only the header says is not in it."""

    kind: Literal["snp", "tdx"]  # report_type
    hardware: bytes  # an SNP report, 1,184 bytes, or a TDREPORT, 1,024
    hash: str  # report_data_hash_type: sha256, sha384 or sha512
    runtime_data: bytes  # as hashed


class RuntimeKey(msgspec.Struct, frozen=True):
    """A JSON Web Key of the vTPM (RFC 7517). Its `key_ops` says nothing: older paravisors write "encrypt" for both."""

    kid: str
    kty: str
    e: str = ""
    n: str = ""

    def numbers(self) -> tuple[int, int]:
        """Modulus and exponent of an RSA key (RFC 7518 section 6.3.1).

        Raises:
            MalformedInput: it is none.
        """
        if self.kty != "RSA" or not self.n or not self.e:
            raise MalformedInput(f"the key {self.kid[:40]} is no RSA key")
        return int.from_bytes(base64url(self.n), "big"), int.from_bytes(base64url(self.e), "big")


class RuntimeData(msgspec.Struct, frozen=True, rename="kebab"):
    """What the paravisor says at runtime; members that are not named here are hashed with it, and not read."""

    keys: Annotated[tuple[RuntimeKey, ...], msgspec.Meta(min_length=1, max_length=8)]
    vm_configuration: dict[str, Any]
    user_data: str = ""  # hex digits


def declared_length(data: bytes) -> int:
    """How many bytes of an NV index (2,048 or 2,600) are the report, by its own words: collectors cut it there.

    Raises:
        MalformedInput: not the beginning of a report, or the index is shorter.
    """
    size = _header(ByteReader(data, "little"))
    if not _HEADER_SIZE < size <= len(data):
        raise MalformedInput(f"an HCL report of {size} bytes in an NV index of {len(data)}")
    return size


def parse_hcl_report(data: bytes) -> HclReport:
    """A report, at most 8 KiB, with nothing behind it.

    Raises:
        TooLarge, MalformedInput: not such a report.
    """
    if len(data) > MAXIMUM_HCL:
        raise TooLarge(f"an HCL report of {len(data)} bytes, the cap is {MAXIMUM_HCL}")
    read = ByteReader(data, "little")
    report_size = _header(read)
    hardware = read.take(_HARDWARE_SIZE, "the hardware report")
    data_size = read.integer(4, "data_size")
    read.constant((1).to_bytes(4, "little"), "the request data's version")
    kind, size = _SIZES.get(read.integer(4, "report_type"), (None, 0))
    hash_name = HASH_NAMES.get(read.integer(4, "report_data_hash_type"))
    if kind is None or hash_name is None:
        raise MalformedInput("an HCL report is of SNP or TDX, its runtime data hashed with SHA-256, SHA-384 or SHA-512")
    runtime_data = read.take(read.integer(4, "variable_data_size"), "the runtime data")
    if report_size != read.at or data_size != _REQUEST_SIZE + len(runtime_data):
        raise MalformedInput("report_size or data_size is not what the report's parts add up to")
    read.end("the runtime data")
    if any(hardware[size:]):
        raise MalformedInput("something follows the hardware report that does not belong there")
    return HclReport(kind, hardware[:size], hash_name, runtime_data)


def parse_runtime_data(data: bytes) -> RuntimeData:
    """The runtime data of a report, at most 8 KiB.

    Raises:
        TooLarge, MalformedInput: not such data.
    """
    if len(data) > MAXIMUM_HCL:
        raise TooLarge(f"runtime data of {len(data)} bytes, the cap is {MAXIMUM_HCL}")
    try:
        return msgspec.json.decode(data, type=RuntimeData)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise MalformedInput(f"not the runtime data of an HCL report: {error}") from error


def base64url(text: str) -> bytes:
    """The bytes that base64url says (RFC 4648 section 5), with all of its padding or without any: no other spelling.

    Raises:
        MalformedInput: anything else stands there.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedInput(f"not base64url: {error}") from error
    told = base64.urlsafe_b64encode(data).decode()
    if text not in (told, told.rstrip("=")):
        raise MalformedInput("not base64url, but another spelling of the same bytes")
    return data


def _header(read: ByteReader) -> int:
    """The header; what it says of the report's size."""
    read.constant(b"HCLA", "signature")
    if (version := read.integer(4, "version")) not in _VERSIONS:
        raise MalformedInput(f"an HCL report of version {version}; 1 and 2 are read")
    size = read.integer(4, "report_size")
    if read.integer(4, "request_type") != _REQUEST_TYPE or any(read.take(16, "status and reserved")):
        raise MalformedInput("not an HCL report that succeeded: request_type is not 2, or its status not 0")
    return size
