"""The envelope in which NVIDIA's tools carry evidence: a JSON list of report, chain, nonce and architecture.

As `nvattest` writes it and NVIDIA's Remote Attestation Service (NRAS) takes it. Nonce and architecture are said beside
what is signed: they are hints, and only the report's own count.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec

from cloister.errors import MalformedInput, TooLarge

MAXIMUM_ENVELOPE: Final = 512 * 1024  # bytes
Architecture = Literal["hopper", "blackwell", "ls10"]
_Written = Literal["HOPPER", "BLACKWELL", "LS10"]
_ARCHITECTURES: Final[Mapping[Architecture, _Written]] = MappingProxyType(
    {"hopper": "HOPPER", "blackwell": "BLACKWELL", "ls10": "LS10"}
)
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=64 * 1024)]


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    arch: _Written
    nonce: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64}|[0-9A-F]{64})\Z")]
    evidence: _Text
    certificate: _Text


@dataclass(frozen=True, slots=True)
class EnvelopedDevice:
    """One device's evidence, and what the envelope says of it."""

    architecture: Architecture  # a hint: nobody signed it
    nonce: bytes  # 32 bytes; likewise
    report: bytes
    chain: bytes  # certificates in PEM, the leaf first


def encode_nvidia_envelope(devices: Sequence[EnvelopedDevice]) -> bytes:
    """The envelope of these devices."""
    return msgspec.json.encode(
        [
            _Entry(
                arch=_ARCHITECTURES[one.architecture],
                nonce=one.nonce.hex(),
                evidence=base64.b64encode(one.report).decode(),
                certificate=base64.b64encode(one.chain).decode(),
            )
            for one in devices
        ]
    )


def parse_nvidia_envelope(data: bytes) -> tuple[EnvelopedDevice, ...]:
    """An envelope of 1 to 16 devices, at most 512 KiB.

    Raises:
        TooLarge: over the cap.
        MalformedInput: not an envelope.
    """
    if len(data) > MAXIMUM_ENVELOPE:
        raise TooLarge(f"an envelope of {len(data)} bytes, the cap is {MAXIMUM_ENVELOPE}")
    try:
        entries = msgspec.json.decode(data, type=Annotated[list[_Entry], msgspec.Meta(min_length=1, max_length=16)])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedInput(f"not an envelope of NVIDIA evidence: {error}") from error
    return tuple(_device(entry) for entry in entries)


def _device(entry: _Entry) -> EnvelopedDevice:
    architecture = next(name for name, written in _ARCHITECTURES.items() if written == entry.arch)
    return EnvelopedDevice(
        architecture, bytes.fromhex(entry.nonce), _decoded(entry.evidence), _decoded(entry.certificate)
    )


def _decoded(text: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedInput("the envelope's evidence is not Base64") from error
    if base64.b64encode(found).decode() != text:
        raise MalformedInput("the envelope's evidence is not in the one spelling of Base64")
    return found
