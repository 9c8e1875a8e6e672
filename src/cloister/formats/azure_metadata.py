"""What Azure's metadata service (IMDS) tells a confidential VM: its chip's certificates, and a quote of its TDREPORT.

Source: "Azure confidential VM guest attestation", learn.microsoft.com: `/metadata/THIM/amd/certification` and
`/acc/tdquote` at 169.254.169.254. The host answers there; nothing in an answer is trusted.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

import msgspec

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.hcl_report import base64url

MAXIMUM_METADATA: Final = 64 * 1024  # bytes
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_MAXIMUM_CHAIN: Final = 8
Answer = TypeVar("Answer", bound=msgspec.Struct)
_Text = Annotated[str, msgspec.Meta(min_length=1)]


@dataclass(frozen=True, slots=True)
class ChipCertificates:
    """The endorsement key's certificate and those above it, in DER."""

    vcek: bytes
    above: tuple[bytes, ...]  # ASK, ARK


class _Thim(msgspec.Struct, frozen=True, rename="camel"):
    vcek_cert: _Text
    certificate_chain: str


class _TdQuote(msgspec.Struct, frozen=True):
    quote: _Text


def parse_chip_certificates(data: bytes) -> ChipCertificates:
    """The answer about the chip's certificates, at most 64 KiB; members that are not read here are passed over.

    Raises:
        TooLarge, MalformedInput: it is none.
    """
    told = _decoded(data, _Thim)
    vcek, above = _der(told.vcek_cert), _der(told.certificate_chain)
    if len(vcek) != 1:
        raise MalformedInput(f"{len(vcek)} certificates stand for the VCEK, not one")
    return ChipCertificates(vcek[0], above)


def encode_td_report(td_report: bytes) -> bytes:
    """What asks for a quote of a TDREPORT, 1,024 bytes."""
    return msgspec.json.encode({"report": base64.urlsafe_b64encode(td_report).rstrip(b"=").decode()})


def parse_td_quote_answer(data: bytes) -> bytes:
    """The quote in an answer of at most 64 KiB, as it came.

    Raises:
        TooLarge, MalformedInput: it is none.
    """
    return base64url(_decoded(data, _TdQuote).quote)


def _decoded(data: bytes, kind: type[Answer]) -> Answer:
    if len(data) > MAXIMUM_METADATA:
        raise TooLarge(f"an answer of {len(data)} bytes, the cap is {MAXIMUM_METADATA}")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise MalformedInput(f"not an answer of Azure's metadata service: {error}") from error


def _der(pem: str) -> tuple[bytes, ...]:
    """The contents of PEM certificates (RFC 7468) with nothing but white space between them."""
    rest = pem.strip()
    found: list[bytes] = []
    while rest:
        head, end, rest = rest.partition(_END)
        if not head.startswith(_BEGIN) or not end or len(found) == _MAXIMUM_CHAIN:
            raise MalformedInput(f"not at most {_MAXIMUM_CHAIN} certificates in PEM")
        try:
            found.append(base64.b64decode("".join(head.removeprefix(_BEGIN).split()), validate=True))
        except (binascii.Error, ValueError) as error:
            raise MalformedInput("a certificate in PEM is not Base64") from error
        rest = rest.lstrip()
    if not all(found):
        raise MalformedInput("a certificate in PEM is empty")
    return tuple(found)
