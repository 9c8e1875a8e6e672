"""NVIDIA's reference integrity manifests: TCG RIMs as SWID tags in XML, with an enveloped XML signature.

TCG "Reference Integrity Manifest Information Model" 1.01 over ISO/IEC 19770-2:2015; W3C XML Signature 1.1. One profile
of it all, the one that NVIDIA uses: no DTD, entity, comment, instruction or CDATA; one signature, the last child of the
root, over the whole document, with fixed algorithms; and one spelling, that of libxml2. Nothing here is trusted yet;
`parse_manifest` is for the canonical bytes that a signature was found to cover, never for a file as it came.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from lxml import etree

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.small_xml import parse_small_xml

MAXIMUM_RIM: Final = 256 * 1024  # bytes
_SWID: Final = "{http://standards.iso.org/iso/19770/-2/2015/schema.xsd}"
_DS: Final = "{http://www.w3.org/2000/09/xmldsig#}"
_SHA384: Final = "{http://www.w3.org/2001/04/xmlenc#sha384}"
_DECLARATION: Final = re.compile(rb"<\?xml version=(['\"])1\.0\1 encoding=(['\"])(?:UTF-8|utf-8)\2\?>\n?")
_HASH: Final = re.compile(r"[0-9a-fA-F]{96}")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,2}")
_C14N: Final = "http://www.w3.org/2006/12/xml-c14n11"
# What a signature consists of, each element with its attributes, in document order; certificates follow in X509Data.
_PROFILE: Final[tuple[tuple[str, dict[str, str]], ...]] = (
    ("Signature", {}),
    ("SignedInfo", {}),
    ("CanonicalizationMethod", {"Algorithm": _C14N}),
    ("SignatureMethod", {"Algorithm": "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"}),
    ("Reference", {"URI": ""}),  # the whole document, and no element chosen by an id
    ("Transforms", {}),
    ("Transform", {"Algorithm": "http://www.w3.org/2000/09/xmldsig#enveloped-signature"}),
    ("Transform", {"Algorithm": _C14N}),
    ("DigestMethod", {"Algorithm": "http://www.w3.org/2001/04/xmldsig-more#sha384"}),
    ("DigestValue", {}),
    ("SignatureValue", {}),
    ("KeyInfo", {}),
    ("X509Data", {}),
)


@dataclass(frozen=True, slots=True)
class RimFile:
    """A file of the profile: as it came, without what stands around the document, and its signer's chain."""

    document: bytes
    certificates: tuple[bytes, ...]  # DER, the signer's first


@dataclass(frozen=True, slots=True)
class RimManifest:
    """What a RIM says: for which firmware, and what to find at each index."""

    product: str  # the chip: GH100, GB100, LS10
    edition: str  # GPU or SWITCH
    version: str  # of the driver or of the VBIOS
    measurements: Mapping[int, tuple[bytes, ...]]  # of active indices, from 0: the alternatives, 48 bytes each


def parse_rim_file(data: bytes) -> RimFile:
    """A RIM as NVIDIA's RIM service hands it out, at most 256 KiB.

    Raises:
        TooLarge: over the cap, or one of `small_xml`.
        MalformedInput: not XML, not of the profile, or in another spelling.
    """
    if len(data) > MAXIMUM_RIM:
        raise TooLarge(f"a RIM of {len(data)} bytes, the cap is {MAXIMUM_RIM}")
    document = data[declared.end() :] if (declared := _DECLARATION.match(data)) else data
    document = document.removesuffix(b"\n").removesuffix(b"\n")
    root = parse_small_xml(document)
    # A second spelling of the same document would pass the signature: files are compared and hashed as bytes.
    if etree.tostring(root, encoding="UTF-8", xml_declaration=False) != document:
        raise MalformedInput("the RIM is not spelled as libxml2 writes it")
    signatures = list(root.iter(f"{_DS}Signature"))
    if len(signatures) != 1 or root[-1] is not signatures[0]:
        raise MalformedInput("a RIM has one signature, which is the last child of its root")
    return RimFile(document, _certificates(signatures[0]))


def parse_manifest(signed: bytes) -> RimManifest:
    """The manifest in the canonical form that its signature covers: the document without the signature.

    Raises:
        TooLarge, MalformedInput: not a manifest of measurements by index.
    """
    if len(signed) > MAXIMUM_RIM:
        raise TooLarge(f"a RIM of {len(signed)} bytes, the cap is {MAXIMUM_RIM}")
    root = parse_small_xml(signed)
    if root.tag != f"{_SWID}SoftwareIdentity" or {one.tag for one in root} != {
        f"{_SWID}{name}" for name in ("Entity", "Meta", "Payload")
    }:
        raise MalformedInput("not a SWID tag of entity, meta and payload")
    meta, payload = _only(root, f"{_SWID}Meta"), _only(root, f"{_SWID}Payload")
    product, edition, version = (meta.get(name, "") for name in ("product", "edition", "colloquialVersion"))
    if not all(
        text and len(text) <= 64 and text.isascii() and text.isprintable() for text in (product, edition, version)
    ):
        raise MalformedInput("the RIM does not say its product, edition and version")
    return RimManifest(product, edition, version, _measurements(payload))


def claimed_manifest(file: RimFile) -> RimManifest:
    """What a file says, whoever wrote it: to be shown to a person, never to be judged by.

    Raises:
        TooLarge, MalformedInput: not a manifest of measurements by index.
    """
    root = parse_small_xml(file.document)
    root.remove(root[-1])
    return parse_manifest(etree.tostring(root, encoding="UTF-8", xml_declaration=False))


def _certificates(signature: Any) -> tuple[bytes, ...]:
    """The chain in a signature that is exactly of the profile."""
    elements = list(signature.iter())
    found = [(one.tag.removeprefix(_DS), dict(one.attrib)) for one in elements]
    count = len(found) - len(_PROFILE)
    if found != [*_PROFILE, *[("X509Certificate", {})] * count] or not 0 < count <= 8:
        raise MalformedInput("the RIM's signature is not of the one profile that NVIDIA uses")
    below = {"SignedInfo": 1, "Reference": 2, "Transforms": 3, "X509Data": 2, "X509Certificate": 3, "Transform": 4}
    if any(
        _depth(one, signature) != below[name] for one, (name, _) in zip(elements, found, strict=True) if name in below
    ):
        raise MalformedInput("the elements of the RIM's signature are not in their places")
    texts = {"DigestValue": 48, "SignatureValue": 96, "X509Certificate": 0}
    # Nobody signs what stands between the elements of KeyInfo: NVIDIA writes nothing there, nor anywhere else.
    between = [one.text for one, (name, _) in zip(elements, found, strict=True) if name not in texts]
    if any(between) or any(one.tail for one in elements):
        raise MalformedInput("text stands between the elements of the RIM's signature")
    values = [
        (name, _base64(one, texts[name])) for one, (name, _) in zip(elements, found, strict=True) if name in texts
    ]
    return tuple(value for name, value in values if name == "X509Certificate")


def _depth(element: Any, top: Any) -> int:
    return next(depth for depth, one in enumerate([element, *element.iterancestors()]) if one is top)


def _base64(element: Any, size: int) -> bytes:
    """An element's Base64, in lines of 64 or in one, in the one spelling; `size` bytes, if that is not 0."""
    text = element.text or ""
    joined = text.replace("\n", "")
    lines = "\n".join(joined[at : at + 64] for at in range(0, len(joined), 64))
    try:
        found = base64.b64decode(joined, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedInput("not Base64 in the RIM's signature") from error
    if text not in (joined, lines, lines + "\n") or base64.b64encode(found).decode() != joined:
        raise MalformedInput("another spelling of Base64 in the RIM's signature")
    if size and len(found) != size:
        raise MalformedInput(f"{len(found)} bytes in the RIM's signature where {size} are due")
    return found


def _only(root: Any, tag: str) -> Any:
    found = [one for one in root if one.tag == tag]
    if len(found) != 1:
        raise MalformedInput(f"{len(found)} elements {tag}, where one is due")
    return found[0]


def _measurements(payload: Any) -> Mapping[int, tuple[bytes, ...]]:
    seen, active = set[int](), dict[int, tuple[bytes, ...]]()
    for resource in payload:
        said = dict(resource.attrib)
        index, alternatives = _resource(resource.tag, said)
        if index in seen or len(resource):
            raise MalformedInput(f"the measurement {index} comes twice in the RIM, or has something in it")
        seen.add(index)
        if said["active"] == "True":
            active[index] = alternatives
    return MappingProxyType(active)


def _resource(tag: str, said: dict[str, str]) -> tuple[int, tuple[bytes, ...]]:
    """One `Resource` by its attributes: its index, and as many hashes as it says it has alternatives."""
    index, count = said.pop("index", ""), said.pop("alternatives", "")
    fixed = (tag, said.pop("type", ""), said.pop("size", ""))
    if fixed != (f"{_SWID}Resource", "Measurement", "48") or said.get("active") not in ("True", "False"):
        raise MalformedInput("not a measurement of 48 bytes that is active or not")
    if not _NUMBER.fullmatch(index) or not _NUMBER.fullmatch(count) or not 0 < int(count) <= 64 or int(index) > 253:
        raise MalformedInput("a measurement without its index and the number of its alternatives")
    names = [f"{_SHA384}Hash{number}" for number in range(int(count))]
    texts = [said.get(name, "") for name in names]
    if said.keys() - {*names, "active", "name"} or not all(map(_HASH.fullmatch, texts)):
        raise MalformedInput(f"the measurement {index} has not the {count} hashes that it says")
    return int(index), tuple(map(bytes.fromhex, texts))
