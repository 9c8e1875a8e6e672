"""Checkpoints and cosignatures as signed notes (C2SP signed-note, tlog-checkpoint, tlog-cosignature).

A note is text, a blank line, and signature lines. Nothing here checks a signature; `ledger.checkpoints` does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from cloister.errors import MalformedInput, TooLarge

MAXIMUM_NOTE: Final = 131_072  # bytes; 32 witnesses with two keys each take some 110,000
MAXIMUM_SIGNATURES: Final = 96  # a log and 32 witnesses with two keys each are 65; others sign beside them
MAXIMUM_SIZE: Final = 2**63 - 1  # entries, and seconds of a cosignature: what fits a signed 64-bit integer
ED25519: Final = 0x01  # signature type of a log's own key (signed-note)
COSIGNATURE_V1: Final = 0x04  # timestamped Ed25519 (tlog-cosignature)
COSIGNATURE_ML_DSA: Final = 0x06  # timestamped ML-DSA-44 (tlog-cosignature)
PUBLIC_SIZES: Final = {ED25519: 32, COSIGNATURE_V1: 32, COSIGNATURE_ML_DSA: 1312}  # bytes

_NAME = re.compile(r"[^\s+]+")  # a key name is not empty and holds no white space and no plus
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One line: the key's name, its id (4 bytes), and the signature's bytes."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A note and its signatures, none of them checked."""

    text: str  # ends with a newline
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """The note's bytes."""
        return f"{self.text}\n{''.join(map(format_line, self.signatures))}".encode()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: the log's origin, its size, and its root (32 bytes).

    Extension lines are kept as they stand and mean nothing here; logs of ours write none.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The note's text: three lines, then the extension lines."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A key as text names it (signed-note section "Verifier keys"): what checks one kind of signature line."""

    name: str
    kind: int  # `ED25519`, `COSIGNATURE_V1` or `COSIGNATURE_ML_DSA`
    public: bytes  # 32 bytes, or 1,312 of ML-DSA-44

    @property
    def id(self) -> bytes:
        """The four bytes that signature lines carry."""
        return key_id(self.name, self.public, kind=self.kind)


def parse_note(data: bytes) -> SignedNote:
    """Parse a signed note, at most 128 KiB and 96 signatures.

    Raises:
        TooLarge, MalformedInput: not a signed note.
    """
    if len(data) > MAXIMUM_NOTE:
        raise TooLarge(f"a note of {len(data)} bytes, the cap is {MAXIMUM_NOTE}")
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise MalformedInput("a note is UTF-8") from error
    if any(ord(character) < 0x20 and character != "\n" for character in whole):
        raise MalformedInput("a note holds no control characters but newlines")
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not text or not lines.endswith("\n"):
        raise MalformedInput("a note is text, a blank line, and signature lines that end with a newline")
    signatures = lines[:-1].split("\n")
    if len(signatures) > MAXIMUM_SIGNATURES:
        raise MalformedInput(f"a note of {len(signatures)} signatures, the cap is {MAXIMUM_SIGNATURES}")
    return SignedNote(text + "\n", tuple(parse_signature_line(line) for line in signatures))


def parse_signature_lines(data: bytes) -> tuple[NoteSignature, ...]:
    """Parse signature lines alone, at most 128 KiB: a witness's answer (tlog-witness section "add-checkpoint").

    Raises:
        TooLarge, MalformedInput: not signature lines.
    """
    if len(data) > MAXIMUM_NOTE:
        raise TooLarge(f"signature lines of {len(data)} bytes, the cap is {MAXIMUM_NOTE}")
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        raise MalformedInput("signature lines are UTF-8") from error
    if len(lines) < 2 or lines.pop():
        raise MalformedInput("each signature line ends with a newline")
    if len(lines) > MAXIMUM_SIGNATURES:
        raise MalformedInput(f"{len(lines)} signatures, the cap is {MAXIMUM_SIGNATURES}")
    return tuple(parse_signature_line(line) for line in lines)


def format_line(line: NoteSignature) -> str:
    """One signature line, with its newline."""
    return f"\u2014 {line.name} {base64.b64encode(line.key_id + line.signature).decode()}\n"


def parse_signature_line(line: str) -> NoteSignature:
    """Parse one signature line, without its newline.

    Raises:
        MalformedInput: not a signature line.
    """
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014" or not _NAME.fullmatch(parts[1]):
        raise MalformedInput("a signature line is an em dash, a key name, and base64")
    # Read as Go's decoder does: a line of an unknown key must not spoil a note, and a known key's is checked anyway.
    value = _decode_loosely(parts[2])
    if len(value) < 5:
        raise MalformedInput("a signature holds a key id of four bytes and something more")
    return NoteSignature(parts[1], value[:4], value[4:])


def parse_checkpoint(text: str) -> Checkpoint:
    """Parse a note's text as a checkpoint.

    Raises:
        MalformedInput: not a checkpoint, or one of more than 2^63 - 1 entries.
    """
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not lines[0]:
        raise MalformedInput("a checkpoint is three lines or more: origin, size, root, extensions")
    root = decode_base64(lines[2])
    if len(root) != 32:
        raise MalformedInput("a checkpoint's root has 32 bytes")
    return Checkpoint(lines[0], parse_size(lines[1]), root, tuple(lines[3:-1]))


def parse_size(text: str) -> int:
    """A number of entries: ASCII decimal without leading zeros, at most 2^63 - 1.

    Raises:
        MalformedInput: anything else.
    """
    if not _SIZE.fullmatch(text) or int(text) > MAXIMUM_SIZE:
        raise MalformedInput("a size is decimal, without leading zeros, and at most 2^63 - 1")
    return int(text)


def key_id(name: str, public: bytes, *, kind: int) -> bytes:
    """The four bytes that name a key: SHA-256(name ‖ newline ‖ type ‖ key), cut."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def format_vkey(name: str, public: bytes, *, kind: int) -> str:
    """A verifier key as text: name, id and key (signed-note)."""
    return f"{name}+{key_id(name, public, kind=kind).hex()}+{base64.b64encode(bytes([kind]) + public).decode()}"


def parse_vkey(text: str) -> VerifierKey:
    """Parse a verifier key of a log, or one of a witness's two kinds.

    Raises:
        MalformedInput: not a verifier key, of another kind, or its id is not that of its key.
    """
    parts = text.split("+", 2)  # base64 may hold a plus, names and ids never do
    if len(parts) != 3 or not _NAME.fullmatch(parts[0]):
        raise MalformedInput("a verifier key is a name, an id and a key, joined by plus signs")
    value = decode_base64(parts[2])
    if not value or len(value) - 1 != PUBLIC_SIZES.get(value[0]):
        raise MalformedInput("a verifier key is a type byte and a key: 01 or 04 and 32 bytes, or 06 and 1,312 bytes")
    key = VerifierKey(parts[0], value[0], value[1:])
    if parts[1] != key.id.hex():
        raise MalformedInput("the id of a verifier key is not that of its name and key")
    return key


def cosigned_message(text: str, at: int) -> bytes:
    """What a witness signs: the time and the whole checkpoint (tlog-cosignature section "Ed25519 signed message")."""
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def cosigned_head(name: str, at: int, checkpoint: Checkpoint) -> bytes:
    """What a witness signs with ML-DSA-44: its own name, the time, the log and its head, not the extension lines.

    Source: tlog-cosignature section "ML-DSA-44 signed message", for the subtree that is the whole tree.

    Raises:
        MalformedInput: a name that does not fit its length byte.
    """
    names = name.encode(), checkpoint.origin.encode()
    if any(not 0 < len(one) < 256 for one in names):
        raise MalformedInput("the names of a witness and of a log that it cosigns with ML-DSA-44 have 1 to 255 bytes")
    cosigner, origin = (bytes([len(one)]) + one for one in names)
    size = checkpoint.size.to_bytes(8, "big")
    return b"subtree/v1\n\0" + cosigner + at.to_bytes(8, "big") + origin + bytes(8) + size + checkpoint.root


def decode_base64(text: str) -> bytes:
    """Standard base64 with padding, and only its one spelling.

    Raises:
        MalformedInput: anything else.
    """
    value = _decode_loosely(text)
    if base64.b64encode(value).decode() != text:
        raise MalformedInput("not the one spelling in base64")
    return value


def _decode_loosely(text: str) -> bytes:
    """Standard base64 with padding, whatever its last unused bits are."""
    try:
        return base64.b64decode(text.encode(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedInput("not base64") from error
