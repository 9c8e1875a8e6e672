"""What AMD writes into the certificate of a VCEK or VLEK: product, TCB, and the chip or the cloud it is for.

AMD 57230 (VCEK certificate and KDS), section 3.1, tables 8 and 9; 58369 for VLEKs. Values are DER; the hardware id of
most certificates is bare bytes, that of some an OCTET STRING.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey

from cloister.attest.certificates import MALFORMED
from cloister.errors import MalformedInput
from cloister.formats.snp_report import SigningKey
from cloister.formats.snp_tcb import Product, Tcb, product_of_name

_AMD: Final = "1.3.6.1.4.1.3704.1"
PRODUCT_NAME: Final = f"{_AMD}.2"
SECURITY_PATCH_LEVELS: Final = {
    "bootloader": f"{_AMD}.3.1",
    "tee": f"{_AMD}.3.2",
    "snp": f"{_AMD}.3.3",
    "microcode": f"{_AMD}.3.8",
    "fmc": f"{_AMD}.3.9",
}
RESERVED_LEVELS: Final = tuple(f"{_AMD}.3.{number}" for number in (4, 5, 6, 7))  # bytes of a TCB without a component
HARDWARE_ID: Final = f"{_AMD}.4"  # a VCEK's
CSP_ID: Final = f"{_AMD}.5"  # a VLEK's
_INTEGER: Final = 0x02
_OCTET_STRING: Final = 0x04
_IA5_STRING: Final = 0x16
CHIP_ID_SIZE: Final = 64
_HARDWARE_ID_SIZES: Final = {Product.MILAN: 64, Product.GENOA: 64, Product.TURIN: 8}


@dataclass(frozen=True, slots=True)
class EndorsementKey:
    """A VCEK or VLEK as its certificate describes it; who signed that certificate is for the chain to say."""

    kind: SigningKey
    product: Product
    tcb: Tcb
    chip_id: bytes | None  # 64, as reports carry it, zeros behind Turin's 8; nothing for a VLEK
    csp_id: str | None  # a VLEK's: the cloud that it was leased to
    public: EllipticCurvePublicKey  # P-384


def read_endorsement_key(certificate: x509.Certificate) -> EndorsementKey:
    """Read AMD's extensions.

    Raises:
        MalformedInput: one is missing, says what it may not, or the key is not of P-384.
    """
    values = {
        one.oid.dotted_string: one.value.value
        for one in certificate.extensions
        if isinstance(one.value, x509.UnrecognizedExtension)
    }
    name = _text(values, PRODUCT_NAME)
    product = product_of_name(name)
    if product is None:
        raise MalformedInput(f"the endorsement key is of a product that we do not know: {name[:20]!r}")
    hardware, csp = HARDWARE_ID in values, CSP_ID in values
    if hardware is csp:
        raise MalformedInput("an endorsement key is for a chip (VCEK) or for a cloud (VLEK), and for one of them")
    return EndorsementKey(
        kind=SigningKey.VCEK if hardware else SigningKey.VLEK,
        product=product,
        tcb=_tcb(values, product),
        chip_id=_chip_id(values[HARDWARE_ID], product) if hardware else None,
        csp_id=_text(values, CSP_ID) if csp else None,
        public=_public(certificate),
    )


def _public(certificate: x509.Certificate) -> EllipticCurvePublicKey:
    try:
        key = certificate.public_key()
    except MALFORMED as error:
        raise MalformedInput(f"the endorsement key is none: {error}") from error
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP384R1):
        raise MalformedInput("the endorsement key is not a key of P-384")
    return key


def _tcb(values: Mapping[str, bytes], product: Product) -> Tcb:
    """The levels that this product has, and no others."""
    if any(_integer(values, oid) for oid in RESERVED_LEVELS if oid in values):
        raise MalformedInput("the endorsement key has a patch level that its product has no component for")
    turin = product is Product.TURIN
    if not turin and SECURITY_PATCH_LEVELS["fmc"] in values:
        raise MalformedInput(f"the endorsement key has an FMC, which {product} has not")
    return Tcb(
        fmc=_integer(values, SECURITY_PATCH_LEVELS["fmc"]) if turin else None,
        bootloader=_integer(values, SECURITY_PATCH_LEVELS["bootloader"]),
        tee=_integer(values, SECURITY_PATCH_LEVELS["tee"]),
        snp=_integer(values, SECURITY_PATCH_LEVELS["snp"]),
        microcode=_integer(values, SECURITY_PATCH_LEVELS["microcode"]),
    )


def _chip_id(value: bytes, product: Product) -> bytes:
    size = _HARDWARE_ID_SIZES[product]
    bare = value[2:] if value[:2] == bytes((_OCTET_STRING, size)) and len(value) == size + 2 else value
    if len(bare) != size:
        raise MalformedInput(f"the hardware id of a {product} has {size} bytes, not {len(bare)}")
    return bare.ljust(CHIP_ID_SIZE, b"\0")


def _integer(values: Mapping[str, bytes], oid: str) -> int:
    """A DER INTEGER from 0 to 255."""
    value = _value(values, oid, _INTEGER)
    if len(value) == 1 and value[0] < 0x80:
        return value[0]
    if len(value) == 2 and value[0] == 0 and value[1] >= 0x80:
        return value[1]
    raise MalformedInput(f"extension {oid} of the endorsement key is not a number from 0 to 255")


def _text(values: Mapping[str, bytes], oid: str) -> str:
    value = _value(values, oid, _IA5_STRING)
    if not value.isascii() or not value.decode("ascii").isprintable():
        raise MalformedInput(f"extension {oid} of the endorsement key is not text")
    return value.decode("ascii")


def _value(values: Mapping[str, bytes], oid: str, tag: int) -> bytes:
    """What the DER value of an extension holds; all of them are shorter than 128 bytes."""
    if oid not in values:
        raise MalformedInput(f"the endorsement key has no extension {oid}")
    value = values[oid]
    if len(value) < 3 or value[0] != tag or value[1] != len(value) - 2 or len(value) > 129:
        raise MalformedInput(f"extension {oid} of the endorsement key is not what AMD 57230 says")
    return value[2:]
