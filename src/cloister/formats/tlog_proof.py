"""Proofs of a log by themselves (C2SP tlog-proof): an index, a path and a cosigned checkpoint, as lines of text."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.checkpoint import MAXIMUM_NOTE, decode_base64, parse_size

HEAD: Final = "c2sp.org/tlog-proof@v1"
MEDIA_TYPE: Final = "text/plain; charset=utf-8"
MAXIMUM_PATH: Final = 63  # hashes; a tree of 2^63 - 1 leaves has no longer one
MAXIMUM_EXTRA: Final = 65_536  # bytes
MAXIMUM_PROOF: Final = MAXIMUM_NOTE + MAXIMUM_EXTRA * 2 + 8192  # bytes


@dataclass(frozen=True, slots=True)
class TlogProof:
    """What shows that an entry is in a log. Nothing of it is checked; `extra` is nobody's signed word even then."""

    index: int
    path: tuple[bytes, ...]  # 32 bytes each, the lowest first
    checkpoint: bytes  # a note
    extra: bytes | None = None

    def encode(self) -> bytes:
        """The proof's bytes."""
        extra = [] if self.extra is None else [f"extra {base64.b64encode(self.extra).decode()}"]
        path = [base64.b64encode(node).decode() for node in self.path]
        return "\n".join([HEAD, *extra, f"index {self.index}", *path, "", ""]).encode() + self.checkpoint


def parse_tlog_proof(data: bytes) -> TlogProof:
    """Parse a proof, at most 264 KiB and 63 hashes; of its checkpoint no more than that it is there.

    Raises:
        TooLarge, MalformedInput: not a proof.
    """
    if len(data) > MAXIMUM_PROOF:
        raise TooLarge(f"a proof of {len(data)} bytes, the cap is {MAXIMUM_PROOF}")
    head, blank, checkpoint = data.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise MalformedInput("the lines before the checkpoint are ASCII") from error
    if first != HEAD or not blank or not checkpoint:
        raise MalformedInput(f"a proof is the line {HEAD}, an index, a path, an empty line, and a checkpoint")
    extra = decode_base64(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else None
    if not lines or not lines[0].startswith("index "):
        raise MalformedInput("a proof states its index before its path")
    path = tuple(decode_base64(line) for line in lines[1:])
    if len(path) > MAXIMUM_PATH or any(len(node) != 32 for node in path):
        raise MalformedInput(f"a path is at most {MAXIMUM_PATH} hashes of 32 bytes")
    if extra is not None and len(extra) > MAXIMUM_EXTRA:
        raise MalformedInput(f"extra data of {len(extra)} bytes, the cap is {MAXIMUM_EXTRA}")
    return TlogProof(parse_size(lines[0][6:]), path, checkpoint, extra)
