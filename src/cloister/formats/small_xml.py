"""XML documents as small as NVIDIA's manifests are, read without anything that could hide, expand or take long.

The caps are held on the bytes, before libxml2 sees them: what it does with a document is linear only where there are
few namespaces and few attributes to an element, and a canonical form takes the cube of their number. Nothing here is
trusted yet.
"""

from __future__ import annotations

from typing import Any, Final

from lxml import etree

from cloister.errors import MalformedInput, TooLarge

MAXIMUM_NAMESPACES: Final = 8  # declarations in a document; NVIDIA's manifests have 6
MAXIMUM_TAGS: Final = 1024  # those have 99 for 85 elements, and there can be no more than 254 measurements
MAXIMUM_DEPTH: Final = 8  # elements within one another; those have 6, in the signature
MAXIMUM_ATTRIBUTES: Final = 80  # of an element; those have 12, and there can be no more than 64 alternatives
MAXIMUM_WORD: Final = 256  # bytes of a name or of an attribute's value; those have 96


def parse_small_xml(document: bytes) -> Any:
    """The root of a document, of whatever size its reader takes.

    Raises:
        TooLarge: more of something than a manifest has.
        MalformedInput: not XML, in a spelling that neither libxml2 nor a canonical form has, or with a DTD, a comment,
            CDATA, an instruction or an `xml:` attribute.
    """
    if b"<!" in document or b"<?" in document or not document.startswith(b"<"):
        raise MalformedInput("a RIM has no DTD, comment, CDATA or instruction, and begins with its root")
    if b" xml:" in document:
        raise MalformedInput("xml:* attributes, which canonical forms treat in different ways, are not used here")
    _require_few(document)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, encoding="UTF-8")
    try:
        return etree.fromstring(document, parser)
    except (etree.LxmlError, ValueError) as error:
        raise MalformedInput(f"not XML: {str(error)[:120]}") from error


def _require_few(document: bytes) -> None:
    """Hold the caps on a document in which `<` can only begin a tag: one pass, and no more if one is over them."""
    namespaces = document.count(b"xmlns")
    if namespaces > MAXIMUM_NAMESPACES:
        raise TooLarge(f"XML with {namespaces} namespaces, the cap is {MAXIMUM_NAMESPACES}")
    tags = document.count(b"<")
    if tags > MAXIMUM_TAGS:
        raise TooLarge(f"XML with {tags} tags, the cap is {MAXIMUM_TAGS}")
    depth = 0
    for rest in document.split(b"<")[1:]:
        tag = _tag(rest)
        depth += -1 if tag.startswith(b"/") else 1
        if depth > MAXIMUM_DEPTH:
            raise TooLarge(f"XML with more than {MAXIMUM_DEPTH} elements within one another")
        depth -= tag.endswith(b"/")


def _tag(rest: bytes) -> bytes:
    """What stands between `<` and `>`, of a tag and the text behind it."""
    tag, end, text = rest.partition(b">")
    # In text libxml2 and canonical forms write `>` as an entity, and around values double quotes: what stands in a tag
    # can then be told without reading it as XML.
    if not end or b">" in text or b"'" in tag:
        raise MalformedInput("not XML as libxml2 writes it: a tag does not end, or values stand in single quotes")
    if tag.count(b"=") > MAXIMUM_ATTRIBUTES:
        raise TooLarge(f"XML with an element of more than {MAXIMUM_ATTRIBUTES} attributes")
    if any(len(word) > MAXIMUM_WORD for word in tag.split(b'"')):
        raise TooLarge(f"XML with a name or value of more than {MAXIMUM_WORD} bytes")
    return tag
