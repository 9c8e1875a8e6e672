"""What Intel writes into a PCK certificate: the SGX extensions, OID 1.2.840.113741.1.13.1.

Source: Intel SGX PCK Certificate and Certificate Revocation List Profile Specification, section 1.3.5. The extension is
a DER sequence of (OID, value) pairs; TCB and Configuration hold such a sequence again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cloister.errors import MalformedInput, TooLarge

EXTENSIONS_OID: Final = "1.2.840.113741.1.13.1"
MAXIMUM_EXTENSIONS: Final = 4096  # bytes; real ones have about 560
_ARC: Final = bytes.fromhex("2a864886f84d010d01")  # the same OID, encoded; one byte more names a member
_BOOLEAN, _INTEGER, _OCTETS, _OID, _ENUMERATED, _SEQUENCE = 0x01, 0x02, 0x04, 0x06, 0x0A, 0x30  # DER tags
_PPID, _TCB, _PCE_ID, _FMSPC, _SGX_TYPE, _INSTANCE, _CONFIGURATION = range(1, 8)
_PCE_SVN, _CPU_SVN = 17, 18  # of the TCB; 1 to 16 are its components
_SMT: Final = 3  # of the configuration
_COMPONENTS: Final = 16
_Members = dict[int, tuple[int, bytes]]  # by number: DER tag and value


@dataclass(frozen=True, slots=True)
class PckExtensions:
    """Which platform a PCK certificate is of, and which TCB its key was derived for."""

    ppid: bytes  # PPID, 16 bytes: the platform's own
    fmspc: bytes  # FMSPC, 6 bytes: family, model, stepping, platform type, custom SKU
    pce_id: bytes  # PCE-ID, 2 bytes
    sgx_type: int  # 0 standard, 1 scalable, 2 scalable with integrity
    components: tuple[int, ...]  # SGX TCB Comp01 SVN to Comp16 SVN
    pce_svn: int  # PCESVN
    cpu_svn: bytes  # CPUSVN, 16 bytes
    smt_enabled: bool | None  # of platforms with several packages only; others do not say


def parse_pck_extensions(data: bytes) -> PckExtensions:
    """The extension's value, as it stands in the certificate.

    Raises:
        TooLarge: over 4 KiB.
        MalformedInput: not that sequence, or a member is missing, twice there, unknown, or of another size.
    """
    if len(data) > MAXIMUM_EXTENSIONS:
        raise TooLarge(f"SGX extensions of {len(data)} bytes, the cap is {MAXIMUM_EXTENSIONS}")
    tag, content, rest = _read(data)
    if tag != _SEQUENCE or rest:
        raise MalformedInput("SGX extensions that are not one sequence")
    members = _members(content, _ARC, last=_CONFIGURATION)
    tcb = _nested(members, _TCB, last=_CPU_SVN)
    configuration = _nested(members, _CONFIGURATION, last=_SMT) if _CONFIGURATION in members else {}
    return PckExtensions(
        ppid=_octets(members, _PPID, 16),
        fmspc=_octets(members, _FMSPC, 6),
        pce_id=_octets(members, _PCE_ID, 2),
        sgx_type=_integer(members, _SGX_TYPE, _ENUMERATED, 0xFF),
        components=tuple(_integer(tcb, one, _INTEGER, 0xFF) for one in range(1, _COMPONENTS + 1)),
        pce_svn=_integer(tcb, _PCE_SVN, _INTEGER, 0xFFFF),
        cpu_svn=_octets(tcb, _CPU_SVN, 16),
        smt_enabled=_boolean(configuration, _SMT) if _SMT in configuration else None,
    )


def _nested(members: _Members, number: int, *, last: int) -> _Members:
    return _members(_value(members, number, _SEQUENCE), _ARC + bytes([number]), last=last)


def _members(data: bytes, prefix: bytes, *, last: int) -> _Members:
    """The pairs in a sequence, whose OIDs are `prefix` and a number from 1 to `last`."""
    found: _Members = {}
    while data:
        tag, pair, data = _read(data)
        name_tag, name, value = _read(pair)
        known = name.startswith(prefix) and len(name) == len(prefix) + 1 and 1 <= name[-1] <= last
        if tag != _SEQUENCE or name_tag != _OID or not known or name[-1] in found:
            raise MalformedInput(f"an SGX extension that is not known, or there twice: OID {name.hex()[:64]}")
        kind, content, rest = _read(value)
        if rest:
            raise MalformedInput(f"an SGX extension of more than one value: OID {name.hex()}")
        found[name[-1]] = (kind, content)
    return found


def _value(members: _Members, number: int, tag: int) -> bytes:
    found = members.get(number)
    if found is None or found[0] != tag:
        raise MalformedInput(f"SGX extension {number} is missing, or of another type")
    return found[1]


def _octets(members: _Members, number: int, size: int) -> bytes:
    value = _value(members, number, _OCTETS)
    if len(value) != size:
        raise MalformedInput(f"SGX extension {number} has {len(value)} bytes, not {size}")
    return value


def _integer(members: _Members, number: int, tag: int, most: int) -> int:
    value = _value(members, number, tag)
    found = int.from_bytes(value, "big", signed=True)
    if not value or len(value) > 4 or not 0 <= found <= most:
        raise MalformedInput(f"SGX extension {number} is not an integer from 0 to {most}")
    return found


def _boolean(members: _Members, number: int) -> bool:
    value = _value(members, number, _BOOLEAN)
    if value not in (b"\0", b"\xff"):
        raise MalformedInput(f"SGX extension {number} is not a boolean in DER")
    return value == b"\xff"


def _read(data: bytes) -> tuple[int, bytes, bytes]:
    """The first DER element: its tag, its value, and what follows it. Lengths are below 64 KiB, in the fewest bytes."""
    if len(data) < 2:
        raise MalformedInput("SGX extensions that end within an element")
    more = data[1] - 0x80 if data[1] >= 0x80 else 0
    length = int.from_bytes(data[2 : 2 + more], "big") if more else data[1]
    start = 2 + more
    if more > 2 or (data[1] >= 0x80 and length < (0x80 if more == 1 else 0x100)):
        raise MalformedInput("SGX extensions with a length that is not in DER")
    if start + length > len(data):
        raise MalformedInput("SGX extensions that end within an element")
    return data[0], data[start : start + length], data[start + length :]
