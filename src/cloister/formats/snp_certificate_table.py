"""Certificates that a host gives its SEV-SNP guest beside a report (AMD 56421, GHCB 2.03, section 4.1.8.1).

A table of entries, each a GUID, an offset and a length, ends with one of zeros; what they point at lies behind it.
Linux hands the same bytes out as configfs-tsm's `auxblob`. Nobody signed the table.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cloister.errors import MalformedInput, TooLarge

MAXIMUM_TABLE: Final = 64 * 1024  # bytes
MAXIMUM_ENTRIES: Final = 16
_ENTRY: Final = struct.Struct("<16sII")

ARK: Final = UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae")
ASK: Final = UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782")  # with a VLEK the ASVK
VCEK: Final = UUID("63da758d-e664-4564-adc5-f4b93be8accd")
VLEK: Final = UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1")
CRL: Final = UUID("92f81bc3-5811-4d3d-97ff-d19f88dc67ea")


@dataclass(frozen=True, slots=True)
class CertificateTable:
    """What the host gave, by GUID, in the table's order: certificates in DER or PEM, and what else it likes to tell."""

    entries: tuple[tuple[UUID, bytes], ...]

    def get(self, kind: UUID) -> bytes | None:
        """The entry of this kind, if there is one."""
        return dict(self.entries).get(kind)

    def chain(self) -> tuple[bytes, ...]:
        """VCEK or VLEK, ASK or ASVK, and ARK, those that are there, the chip's first."""
        return tuple(found for kind in (VCEK, VLEK, ASK, ARK) if (found := self.get(kind)) is not None)


def declared_length(data: bytes) -> int:
    """How many bytes of a buffer the table and what it points at take: kernels hand out whole pages.

    Raises:
        TooLarge, MalformedInput: the buffer does not begin with a table, or is shorter than it says.
    """
    count, reached = 0, 0
    while len(data) >= (count + 1) * _ENTRY.size:
        kind, offset, length = _ENTRY.unpack_from(data, count * _ENTRY.size)
        count += 1
        if not any(kind):
            return _within(max(reached, count * _ENTRY.size), data)
        if count > MAXIMUM_ENTRIES:
            raise TooLarge(f"a certificate table of more than {MAXIMUM_ENTRIES} entries")
        reached = max(reached, offset + length)
    raise MalformedInput("the certificate table has no entry of zeros at its end")


def parse_certificate_table(data: bytes) -> CertificateTable:
    """Parse a table with all that it points at.

    Raises:
        TooLarge: over 64 KiB, or more than 16 entries.
        MalformedInput: no end, two of one kind, entries that overlap or point elsewhere, or bytes of no entry.
    """
    if len(data) > MAXIMUM_TABLE:
        raise TooLarge(f"a certificate table of {len(data)} bytes, the cap is {MAXIMUM_TABLE}")
    found: list[tuple[UUID, int, int]] = []
    for count in range(MAXIMUM_ENTRIES + 1):
        if len(data) < (count + 1) * _ENTRY.size:
            raise MalformedInput("the certificate table has no entry of zeros at its end")
        kind, offset, length = _ENTRY.unpack_from(data, count * _ENTRY.size)
        if not any(kind):
            if (offset, length) != (0, 0):
                raise MalformedInput("the certificate table's last entry is not all zeros")
            _require_laid_out(found, data, start=(count + 1) * _ENTRY.size)
            return CertificateTable(tuple((kind, data[at : at + size]) for kind, at, size in found))
        found.append((UUID(bytes=kind), offset, length))
    raise TooLarge(f"a certificate table of more than {MAXIMUM_ENTRIES} entries")


def _within(length: int, data: bytes) -> int:
    if length > len(data):
        raise MalformedInput(f"a certificate table of {length} bytes in a buffer of {len(data)}")
    return length


def _require_laid_out(found: list[tuple[UUID, int, int]], data: bytes, *, start: int) -> None:
    """Every byte behind the table belongs to one entry, or is a zero between two: hosts may align what they give.

    Raises:
        MalformedInput: one belongs to two, or is neither.
    """
    if len({kind for kind, _, _ in found}) != len(found):
        raise MalformedInput("the certificate table has two entries of one kind")
    reached = start
    for _, at, size in sorted(found, key=lambda entry: entry[1]):
        if at < reached or at + size > len(data):
            raise MalformedInput("the certificate table's entries overlap, or point elsewhere")
        if any(data[reached:at]):
            raise MalformedInput("the certificate table has bytes between its entries")
        reached = at + size
    if reached != len(data):
        raise MalformedInput("something follows the certificate table's last entry")
