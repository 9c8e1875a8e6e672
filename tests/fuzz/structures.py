"""Structural mutants: parts of a file left out, doubled, exchanged or moved, where the file's own form has them.

PEM has certificates, JSON members and items, XML elements, DER values within values; other files have the certificates
that stand in them. The lengths around a part are made right again in DER, so that what is refused is what it says.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from lxml import etree

_PEM = re.compile(rb"-----BEGIN [A-Z0-9 ]+-----.*?-----END [A-Z0-9 ]+-----\n?", re.DOTALL)
_HEAD = 2  # bytes of a DER value's tag and short length


def restructured(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A structural mutant; `data` itself where nothing in it could be changed so. `other` lends parts."""
    if _PEM.search(data):
        return _in_pem(data, other, chance)
    try:
        if data[:1] in (b"{", b"["):
            return _in_json(data, chance)
        if data[:1] == b"<":
            return _in_xml(data, chance)
    except (ValueError, etree.LxmlError):  # it only begins so
        return data
    return _in_der(data, chance) if len(der_values(data)) == 1 and data[:1] == b"\x30" else data


def shuffled(parts: list[Any], lent: list[Any], chance: random.Random) -> list[Any]:
    """One part left out, doubled, moved, or put in another's place."""
    parts, at = list(parts), chance.randrange(len(parts))
    match chance.randrange(4):
        case 0:
            del parts[at]
        case 1:
            parts.insert(chance.randrange(len(parts) + 1), parts[at])
        case 2:
            parts.insert(chance.randrange(len(parts)), parts.pop(at))
        case _ if lent:
            parts[at] = chance.choice(lent)
    return parts


def _in_pem(data: bytes, other: bytes, chance: random.Random) -> bytes:
    found = list(_PEM.finditer(data))
    blocks = shuffled([one.group() for one in found], _PEM.findall(other), chance)
    between = [data[one.end() : two.start()] for one, two in pairwise(found)]
    joined = b"".join(block + gap for block, gap in zip(blocks, [*between, b"", b""], strict=False))
    return data[: found[0].start()] + joined + data[found[-1].end() :]


def _in_json(data: bytes, chance: random.Random) -> bytes:
    document = json.loads(data)
    places = list(_containers(document))
    place = chance.choice(places)
    if isinstance(place, list):
        place[:] = shuffled(place, [], chance)
        return json.dumps(document).encode()
    names = list(place)
    one, two = chance.choice(names), chance.choice(names)
    if chance.randrange(2):
        del place[one]
    else:
        place[one], place[two] = place[two], place[one]
    return json.dumps(document).encode()


def _containers(value: Any) -> Iterator[Any]:
    """Every object and list that is not empty."""
    if isinstance(value, dict | list) and value:
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _containers(inner)


def _in_xml(data: bytes, chance: random.Random) -> bytes:
    root = etree.fromstring(data)
    parents = [one for one in root.iter() if len(one)]
    parent = chance.choice(parents)
    parent[:] = [etree.fromstring(etree.tostring(one)) for one in shuffled(list(parent), list(root.iter()), chance)]
    written: bytes = etree.tostring(root, xml_declaration=data.startswith(b"<?xml"), encoding="UTF-8")
    return written


def _in_der(data: bytes, chance: random.Random) -> bytes:
    """Walk down to some value that holds others, and shuffle these; sizes above it are written anew."""
    head, body = data[: _HEAD - 1], _content(data)
    parts = der_values(body)
    inner = [at for at, part in enumerate(parts) if part[0] & 0x20 and len(der_values(_content(part)) or ()) > 0]
    if inner and chance.randrange(3):
        at = chance.choice(inner)
        parts[at] = _in_der(parts[at], chance)
    elif parts:
        parts = shuffled(parts, parts, chance)
    return _sized(head, b"".join(parts))


def _content(value: bytes) -> bytes:
    more = value[1] & 0x7F if value[1] & 0x80 else 0
    return value[_HEAD + more :]


def der_values(body: bytes) -> list[bytes]:
    """The values side by side in `body`; none where it is something else."""
    found, rest = [], body
    while rest:
        if len(rest) < _HEAD:
            return []
        more = rest[1] & 0x7F if rest[1] & 0x80 else 0
        size = _HEAD + more + (int.from_bytes(rest[_HEAD : _HEAD + more], "big") if more else rest[1])
        if more > 4 or size > len(rest):
            return []
        found.append(rest[:size])
        rest = rest[size:]
    return found


def _sized(tag: bytes, body: bytes) -> bytes:
    if len(body) < 0x80:
        return tag + bytes([len(body)]) + body
    octets = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return tag + bytes([0x80 | len(octets)]) + octets + body
