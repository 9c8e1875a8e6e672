"""NVIDIA's GPUs and switches, made up from a seed: chains, reports and reference manifests.

Production code accepts what comes out of here only where these roots are given to it in place of NVIDIA's.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from lxml import etree

from cloister.attest.nvidia.device import DeviceEvidence
from cloister.formats import nvidia_report as fields
from cloister.testing.certificates import Authority, Life, made_key
from cloister.testing.ocsp_answers import Responder

SIGNS: Final = x509.KeyUsage(True, *[False] * 8)
_C14N: Final = "http://www.w3.org/2006/12/xml-c14n11"
_DSIG: Final = "http://www.w3.org/2000/09/xmldsig#"
_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_HASH: Final = "http://www.w3.org/2001/04/xmlenc#sha384"
_SWID: Final = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"


def measured(index: int) -> bytes:
    """What a made-up device measures at an index (from 0): 48 bytes."""
    return hashlib.sha384(f"measurement {index}".encode()).digest()


@dataclass(frozen=True, slots=True)
class NvidiaVendor:
    """Both roots and what is below them, all valid for one life."""

    life: Life
    seed: str = "nvidia"

    @property
    def device_root(self) -> Authority:
        """In place of NVIDIA's Device Identity CA."""
        return Authority.root(f"{self.seed} device root", self.life)

    @property
    def rim_root(self) -> Authority:
        """In place of NVIDIA's root of manifests."""
        return Authority.root(f"{self.seed} rim root", self.life)

    @property
    def rim_signer(self) -> Authority:
        """What signs manifests; its certificate is a leaf's."""
        issuer = self.rim_root.authority("rim issuer", self.life, path_length=0)
        key = made_key(f"{self.seed} rim signer")
        extensions = [(x509.BasicConstraints(ca=False, path_length=None), True), (SIGNS, True)]
        return Authority(key, (issuer.issue("rim signer", key.public_key(), self.life, extensions), *issuer.chain))

    def rim_answers(self, responder: Responder) -> list[bytes]:
        """OCSP answers for the chain of the manifests' signer."""
        root = self.rim_root
        issuer = root.authority("rim issuer", self.life, path_length=0)
        return [responder.answer(self.rim_signer.certificate, issuer), responder.answer(issuer.certificate, root)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeDevice:
    """One GPU or switch; each argument is what it reports or is certified to be."""

    vendor: NvidiaVendor
    serial: str = "48B02D0000000001"
    product: str = "GH100"
    driver: str = "550.90.07"
    vbios: bytes = bytes.fromhex("009f009601000000")
    fwid: bytes = field(default=hashlib.sha384(b"firmware").digest())
    fwid_stated: bool = True  # in the report, too
    mode: bytes | None = b"\0\0"
    pcie: bytes | None = b"\x55"
    nvdec0: bytes = b"\xaa"
    link_id: bytes = b""  # a switch's own, 8 bytes
    linked: Sequence[bytes] = ()  # of a GPU the switches at its links, of a switch its GPUs, 8 bytes each
    measurements: Mapping[int, bytes] = field(default_factory=lambda: {index: measured(index) for index in range(64)})
    opaque: Mapping[int, bytes] = field(default_factory=dict)  # in place of, or beside, the fields above

    @property
    def rom(self) -> Authority:
        """The key in the device, and its chain to the root."""
        above = self.vendor.device_root.authority("provisioner", self.vendor.life, path_length=1)
        return above.authority(f"ROM of {self.serial}", self.vendor.life)

    @property
    def leaf(self) -> ec.EllipticCurvePrivateKey:
        """The key that signs reports."""
        return made_key(f"{self.vendor.seed} leaf of {self.serial}")

    def certificates(self) -> list[x509.Certificate]:
        """Its chain, the leaf first; Hopper's kind of firmware id, or Blackwell's."""
        text = f"NVIDIA:{self.product}:{self.serial}".encode()
        name = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.412.274.1"), der(0x0C, text))
        layer = der(0x30, bytes.fromhex("0609608648016503040202") + der(0x04, self.fwid))
        public = self.leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if self.product.startswith("GB"):
            unused = der(0x30, bytes.fromhex("0609608648016503040202") + der(0x04, bytes(48)))
            kind, value = "2.23.133.5.4.1.1", der(0x30, der(0x80, b"NVIDIA") + der(0xA6, layer + unused))
        else:
            kind, value = "2.23.133.5.4.1", der(0x30, der(0x02, b"\1") + public + layer)
        extensions = [
            (SIGNS, True),
            (x509.SubjectAlternativeName([name]), False),
            (x509.UnrecognizedExtension(x509.ObjectIdentifier(kind), value), False),
        ]
        leaf = self.rom.issue(f"leaf of {self.serial}", self.leaf.public_key(), self.vendor.life, extensions)
        return [leaf, *self.rom.chain]

    def chain(self) -> bytes:
        """The same in PEM."""
        return b"".join(one.public_bytes(Encoding.PEM) for one in self.certificates())

    def answers(self, responder: Responder) -> list[bytes]:
        """OCSP answers for all above the leaf."""
        root = self.vendor.device_root
        above = root.authority("provisioner", self.vendor.life, path_length=1)
        return [responder.answer(self.rom.certificate, above), responder.answer(above.certificate, root)]

    def unsigned(self, nonce: bytes) -> bytes:
        """Request and response up to the signature."""
        record = b"".join(
            bytes([index + 1, 1]) + (len(value) + 3).to_bytes(2, "little") + b"\1" + _sized(value)
            for index, value in self.measurements.items()
        )
        opaque = b"".join(kind.to_bytes(2, "little") + _sized(value) for kind, value in self._opaque().items())
        head = bytes.fromhex("116000") + b"\0" + bytes([len(self.measurements)]) + len(record).to_bytes(3, "little")
        own = hashlib.sha256(b"device" + nonce).digest()
        return bytes.fromhex("11e001ff") + nonce + b"\0" + head + record + own + _sized(opaque)

    def report(self, nonce: bytes) -> bytes:
        """A whole report that answers this nonce of 32 bytes."""
        unsigned = self.unsigned(nonce)
        return unsigned + signed_by(self.leaf, unsigned)

    def evidence(self, nonce: bytes) -> DeviceEvidence:
        """Report and chain."""
        return DeviceEvidence(self.report(nonce), self.chain())

    def _opaque(self) -> dict[int, bytes]:
        own = {
            fields.DRIVER_VERSION: self.driver.encode() + b"\0" if self.driver else None,
            fields.VBIOS_VERSION: self.vbios,
            fields.NVDEC0_STATUS: self.nvdec0,
            fields.FWID: self.fwid if self.fwid_stated else None,
            fields.PROTECTED_PCIE_STATUS: self.pcie,
            fields.FEATURE_FLAG: self.mode,
            fields.SWITCH_IDS: self.link_id or b"".join(one[::-1] for one in self.linked) or None,
            fields.GPU_IDS: b"".join(self.linked).ljust(64, b"\0") + b"\xff" * 64 if self.link_id else None,
        }
        return {kind: value for kind, value in own.items() if value is not None} | dict(self.opaque)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeRim:
    """One manifest."""

    version: str
    measurements: Mapping[int, Sequence[bytes]]  # of active indices: the alternatives
    product: str = "GH100"
    edition: str = "GPU"

    def document(self) -> str:
        """Without a signature, as NVIDIA spells it."""
        active = [(index, list(values)) for index, values in self.measurements.items()]
        silent = [(index, [bytes(48)]) for index in range(64) if index not in self.measurements]
        rows = "\n".join(
            f'        <ns0:Resource type="Measurement" index="{index}" active="{index in self.measurements}" '
            f'alternatives="{len(values)}" '
            + " ".join(f'ns2:Hash{number}="{value.hex()}"' for number, value in enumerate(values))
            + f' name="Measurement_{index}" size="48"/>'
            for index, values in sorted(active + silent)
        )
        return (
            f'<SoftwareIdentity xmlns="{_SWID}" xmlns:ns0="{_SWID}" xmlns:ns2="{_HASH}" '
            f'name="{self.product}" tagId="made" version="1.0" tagVersion="0">\n'
            '    <ns0:Entity name="NVIDIA Corporation" role="softwareCreator tagCreator"/>\n'
            f'    <ns0:Meta colloquialVersion="{self.version}" edition="{self.edition}" product="{self.product}"/>\n'
            f"    <ns0:Payload>\n{rows}\n    </ns0:Payload>\n</SoftwareIdentity>"
        )

    def file(self, signer: Authority, *, reference: str = "") -> bytes:
        """The manifest, signed."""
        return sign_rim(self.document(), signer, reference=reference)


def sign_rim(document: str, signer: Authority, *, reference: str = "") -> bytes:
    """An XML document with an enveloped signature of NVIDIA's profile as its last child."""
    digest = hashlib.sha384(etree.tostring(etree.fromstring(document), method="c14n")).digest()
    info = (
        f'<ds:SignedInfo><ds:CanonicalizationMethod Algorithm="{_C14N}"/>'
        f'<ds:SignatureMethod Algorithm="{_MORE}ecdsa-sha384"/><ds:Reference URI="{reference}"><ds:Transforms>'
        f'<ds:Transform Algorithm="{_DSIG}enveloped-signature"/><ds:Transform Algorithm="{_C14N}"/></ds:Transforms>'
        f'<ds:DigestMethod Algorithm="{_MORE}sha384"/><ds:DigestValue>{base64.b64encode(digest).decode()}'
        "</ds:DigestValue></ds:Reference></ds:SignedInfo>"
    )
    certificates = "".join(
        f"<ds:X509Certificate>{_lines(one.public_bytes(Encoding.DER))}</ds:X509Certificate>" for one in signer.chain
    )
    body, end = document.removesuffix("</SoftwareIdentity>"), "</SoftwareIdentity>"
    around = (
        f'{body}<ds:Signature xmlns:ds="{_DSIG}">{info}<ds:SignatureValue>%s</ds:SignatureValue><ds:KeyInfo>'
        f"<ds:X509Data>{certificates}</ds:X509Data></ds:KeyInfo></ds:Signature>{end}"
    )
    signed = etree.fromstring(around.replace("%s", "")).find(f".//{{{_DSIG}}}SignedInfo")
    value = signed_by(signer.key, etree.tostring(signed, method="c14n"))
    return around.replace("%s", base64.b64encode(value).decode()).encode() + b"\n"


def signed_by(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """An ECDSA signature as SPDM and XML carry it: r and s of 48 bytes each."""
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(SHA384(), deterministic_signing=True)))
    return r.to_bytes(48, "big") + s.to_bytes(48, "big")


def der(tag: int, content: bytes) -> bytes:
    """A DER value of at most 64 KiB."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def _sized(value: bytes) -> bytes:
    return len(value).to_bytes(2, "little") + value


def _lines(data: bytes) -> str:
    text = base64.b64encode(data).decode()
    return "\n".join(text[at : at + 64] for at in range(0, len(text), 64)) + "\n"
