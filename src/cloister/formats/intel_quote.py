"""Intel's ECDSA quotes: version 3 (SGX), 4 and 5 (TDX), with the certification data behind them.

Source: Intel SGX ECDSA Quote Library Reference, appendix A.4 (version 3); Intel TDX DCAP Quoting Library API, appendix
A.3 (versions 4 and 5). All integers are little-endian. What the attestation key signs is `Quote.signed`; what stands in
`QuoteSignature` is signed by others, or by nobody, and is of a type of its own.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import sgx_report, td_report
from cloister.formats.sgx_report import EnclaveReport, parse_enclave_report
from cloister.formats.td_report import TdReport, parse_td_report

MAXIMUM_QUOTE: Final = 32 * 1024  # bytes; real ones have about 5,000
TEE_SGX: Final = 0x00
TEE_TDX: Final = 0x81
PCK_CHAIN: Final = 5  # certification data: the PCK certificate's chain in PEM
QE_REPORT: Final = 6  # certification data: the QE's report, and certification data about it
_HEADER: Final = struct.Struct("<H H I H H 16s 20s")
_DESCRIPTOR: Final = struct.Struct("<H I")  # of a body (version 5), and of certification data: type, size
_LENGTH: Final = struct.Struct("<I")
_ECDSA_P256: Final = 2  # attestation key type
_VENDOR: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")  # Intel's quoting enclave
_TDREPORT: Final = (1024, b"\x81\0")  # TDREPORT_STRUCT: its size, and REPORTTYPE with its subtype
_BODIES: Final = {1: sgx_report.SIZE, 2: td_report.SIZE_1_0, 3: td_report.SIZE_1_5}  # of version 5, by type
_TEE_OF_BODY: Final = {1: TEE_SGX, 2: TEE_TDX, 3: TEE_TDX}


@dataclass(frozen=True, slots=True)
class QuoteHeader:
    """The 48 bytes that every quote begins with."""

    version: int
    attestation_key_type: int
    tee_type: int
    qe_svn: int  # version 3; reserved in others
    pce_svn: int  # version 3; reserved in others
    qe_vendor_id: bytes  # 16 bytes
    user_data: bytes  # 20 bytes


@dataclass(frozen=True, slots=True)
class QuoteSignature:
    """What comes with a quote to prove it: nothing of it is covered by the quote's own signature."""

    signature: bytes  # over `Quote.signed`, 64 bytes: r and s, big-endian
    attestation_key: bytes  # ECDSA P-256, 64 bytes: x and y, big-endian
    qe_report: bytes  # 384 bytes, as the PCK signs them
    qe_report_signature: bytes  # 64 bytes: r and s
    qe_authentication_data: bytes
    pck_chain: bytes  # PEM: the PCK certificate, its CA, the root

    @property
    def quoting_enclave(self) -> EnclaveReport:
        """The QE's report, parsed."""
        return parse_enclave_report(self.qe_report)


@dataclass(frozen=True, slots=True)
class Quote:
    """A parsed quote. Nothing in it is trusted yet."""

    header: QuoteHeader
    body: TdReport | EnclaveReport
    signed: bytes  # header, body descriptor (version 5) and body, as they stand in the quote
    signature: QuoteSignature


def declared_length(data: bytes) -> int:
    """How many bytes of a buffer are the quote, by its own words: buffers of real TDs are longer than their quotes.

    Raises:
        MalformedInput: not the beginning of a quote, or the buffer is shorter.
    """
    end = _signed_length(data, parse_header(data)) + _LENGTH.size
    total = end + _LENGTH.unpack(_slice(data, end - _LENGTH.size, _LENGTH.size))[0]
    if total > len(data):
        raise MalformedInput(f"a quote of {total} bytes in a buffer of {len(data)}")
    return int(total)


def parse_quote(data: bytes) -> Quote:
    """One quote and nothing behind it.

    Raises:
        TooLarge: over 32 KiB; nothing was parsed.
        MalformedInput: not such a quote; a TDREPORT is named as what it is.
    """
    if len(data) > MAXIMUM_QUOTE:
        raise TooLarge(f"a quote of {len(data)} bytes, the cap is {MAXIMUM_QUOTE}")
    header = parse_header(data)
    length = _signed_length(data, header)
    total = declared_length(data)
    if total != len(data):
        raise MalformedInput(f"{len(data) - total} bytes follow the quote: cut the buffer at its declared length")
    body = data[_body_offset(header) : length]
    parsed = parse_enclave_report(body) if header.tee_type == TEE_SGX else parse_td_report(body)
    signature = _parse_signature(data[length + _LENGTH.size :], version=header.version)
    return Quote(header, parsed, data[:length], signature)


def parse_header(data: bytes) -> QuoteHeader:
    """The header at the beginning of `data`.

    Raises:
        MalformedInput: not of a version, key type, TEE type or vendor that is spoken here.
    """
    if len(data) == _TDREPORT[0] and data.startswith(_TDREPORT[1]):
        raise MalformedInput("a TDREPORT, which only the same machine can check: have the quoting enclave quote it")
    header = QuoteHeader(*_HEADER.unpack(_slice(data, 0, _HEADER.size)))
    if header.version not in (3, 4, 5):
        raise MalformedInput(f"not a quote of version 3, 4 or 5: its version reads {header.version}")
    tees = {3: (TEE_SGX,), 4: (TEE_TDX, TEE_SGX), 5: (TEE_TDX, TEE_SGX)}[header.version]
    if header.tee_type not in tees:
        raise MalformedInput(f"a quote of version {header.version} has no TEE type {header.tee_type:#x}")
    if header.attestation_key_type != _ECDSA_P256:
        raise MalformedInput(f"attestation key type {header.attestation_key_type}, not 2 (ECDSA P-256)")
    if header.qe_vendor_id != _VENDOR:
        raise MalformedInput(f"quoted by an enclave of vendor {header.qe_vendor_id.hex()}, not of Intel's")
    return header


def _body_offset(header: QuoteHeader) -> int:
    return _HEADER.size + (_DESCRIPTOR.size if header.version == 5 else 0)


def _signed_length(data: bytes, header: QuoteHeader) -> int:
    """How many bytes from the beginning the attestation key signs."""
    if header.version < 5:
        return _HEADER.size + (sgx_report.SIZE if header.tee_type == TEE_SGX else td_report.SIZE_1_0)
    kind, size = _DESCRIPTOR.unpack(_slice(data, _HEADER.size, _DESCRIPTOR.size))
    if _BODIES.get(kind) != size or _TEE_OF_BODY[kind] != header.tee_type:
        raise MalformedInput(f"a body of type {kind} and {size} bytes under TEE type {header.tee_type:#x}")
    return _HEADER.size + _DESCRIPTOR.size + int(size)


def _parse_signature(data: bytes, *, version: int) -> QuoteSignature:
    """ECDSA 256-bit Quote Signature Data Structure: versions 4 and 5 wrap the QE's part as certification data."""
    signature, key = _slice(data, 0, 64), _slice(data, 64, 64)
    rest = data[128:] if version == 3 else _certification(data[128:], QE_REPORT)
    report, report_signature = _slice(rest, 0, sgx_report.SIZE), _slice(rest, sgx_report.SIZE, 64)
    at = sgx_report.SIZE + 64
    (size,) = struct.unpack("<H", _slice(rest, at, 2))
    authentication = _slice(rest, at + 2, size)
    chain = _certification(rest[at + 2 + size :], PCK_CHAIN)
    return QuoteSignature(signature, key, report, report_signature, authentication, chain)


def _certification(data: bytes, expected: int) -> bytes:
    """What certification data of the `expected` type holds; it ends where `data` ends."""
    kind, size = _DESCRIPTOR.unpack(_slice(data, 0, _DESCRIPTOR.size))
    if kind != expected:
        raise MalformedInput(f"certification data of type {kind}, not {expected}: configure the QE to send the chain")
    if size != len(data) - _DESCRIPTOR.size:
        raise MalformedInput(f"certification data of {size} bytes where {len(data) - _DESCRIPTOR.size} are left")
    return data[_DESCRIPTOR.size :]


def _slice(data: bytes, start: int, size: int) -> bytes:
    if start + size > len(data):
        raise MalformedInput(f"ends after {len(data)} bytes, within what goes on to {start + size}")
    return data[start : start + size]
