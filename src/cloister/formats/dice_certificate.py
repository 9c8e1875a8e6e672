"""What the certificates of DICE devices say of them: the firmware ids of their layers, and who they are.

TCG "DICE Attestation Architecture" 1.1, section 6.1.1 (DiceTcbInfo), and the composite device id that came before it
(RIoT, 2.23.133.5.4.1); DMTF DSP0274 1.1, annex on leaf certificates, for the device's name. DER only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cloister.errors import MalformedInput
from cloister.formats.byte_reader import ByteReader

MAXIMUM_EXTENSION: Final = 4096  # bytes
_SEQUENCE: Final = 0x30
_INTEGER: Final = 0x02
_OCTETS: Final = 0x04
_UTF8: Final = 0x0C
_FWIDS: Final = 0xA6  # DiceTcbInfo: fwids [6] IMPLICIT FWIDLIST
_SHA384: Final = bytes.fromhex("0609608648016503040202")


@dataclass(frozen=True, slots=True)
class DeviceName:
    """Who a device is: DMTF's otherName 1.3.6.1.4.1.412.274.1 in a leaf's alternative names."""

    maker: str
    product: str
    serial: str


def parse_fwids(extension: bytes) -> tuple[bytes, ...]:
    """The firmware ids, SHA-384 of 48 bytes each, in an extension of either kind; layers without one are left out.

    Raises:
        MalformedInput: neither kind, or an id by another hash.
    """
    fields = _fields(_only(extension, _SEQUENCE))
    if fields and fields[0][0] == _INTEGER:  # CompositeDeviceID: version, deviceID, fwid
        if len(fields) != 3:
            raise MalformedInput("a composite device id has a version, a key and a firmware id")
        layers = [fields[2]]
    else:  # DiceTcbInfo: everything optional, each with its own tag
        layers = [layer for tag, value in fields if tag == _FWIDS for layer in _fields(value)]
    found = (_fwid(layer) for layer in layers)
    return tuple(fwid for fwid in found if any(fwid))


def parse_device_name(value: bytes) -> DeviceName:
    """`NVIDIA:GH100:48B02D92494BADF4` in DER.

    Raises:
        MalformedInput: anything else.
    """
    try:
        text = _only(value, _UTF8).decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedInput("a device's name is ASCII") from error
    parts = text.split(":")
    if len(parts) != 3 or not all(parts) or not text.isprintable():
        raise MalformedInput("a device's name is its maker, product and serial number")
    return DeviceName(*parts)


def _fwid(layer: tuple[int, bytes]) -> bytes:
    """FWID ::= SEQUENCE { hashAlg OBJECT IDENTIFIER, digest OCTET STRING }."""
    tag, value = layer
    if tag != _SEQUENCE or not value.startswith(_SHA384):
        raise MalformedInput("a firmware id is not by SHA-384")
    digest = _only(value.removeprefix(_SHA384), _OCTETS)
    if len(digest) != 48:
        raise MalformedInput(f"a firmware id of {len(digest)} bytes, not 48")
    return digest


def _only(data: bytes, tag: int) -> bytes:
    """The content of the one value of this tag that `data` is."""
    fields = _fields(data)
    if len(fields) != 1 or fields[0][0] != tag:
        raise MalformedInput(f"not one DER value of tag {tag:#04x}")
    return fields[0][1]


def _fields(data: bytes) -> list[tuple[int, bytes]]:
    """The tags and contents that follow each other in `data` (X.690 sections 8.1 and 10.1)."""
    if len(data) > MAXIMUM_EXTENSION:
        raise MalformedInput(f"an extension of {len(data)} bytes, the cap is {MAXIMUM_EXTENSION}")
    reader, found = ByteReader(data, "big"), list[tuple[int, bytes]]()
    while reader.left:
        tag, size = reader.integer(1, "a tag"), reader.integer(1, "a length")
        if tag & 0x1F == 0x1F or size > 0x82 or size == 0x80:
            raise MalformedInput("a tag or length that nobody uses here")
        if size > 0x80:
            octets = size - 0x80
            size = reader.integer(octets, "a long length")
            if size < 0x80 or size >> (8 * (octets - 1)) == 0:
                raise MalformedInput("a length that is longer than it need be")
        found.append((tag, reader.take(size, "a value")))
    return found
