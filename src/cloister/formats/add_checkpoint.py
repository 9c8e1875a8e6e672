"""The request of a log to a witness (C2SP tlog-witness, section "add-checkpoint").

An old size, a consistency proof from it, an empty line, and the checkpoint as the log signed it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.checkpoint import MAXIMUM_NOTE, decode_base64, parse_size

MAXIMUM_PROOF = 63  # hashes
MAXIMUM_REQUEST = MAXIMUM_NOTE + 4096  # bytes; 63 hashes in base64 take 2,835


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """One request. Neither the proof nor the note's signatures are checked yet."""

    old_size: int
    path: tuple[bytes, ...]  # 32 bytes each
    note: bytes  # a signed note, not parsed yet

    def encode(self) -> bytes:
        """The body to be posted."""
        hashes = b"".join(base64.b64encode(node) + b"\n" for node in self.path)
        return b"old %d\n%s\n%s" % (self.old_size, hashes, self.note)


def parse_add_checkpoint(data: bytes) -> AddCheckpoint:
    """Parse a request, at most 132 KiB and 63 hashes.

    Raises:
        TooLarge, MalformedInput: not a request.
    """
    if len(data) > MAXIMUM_REQUEST:
        raise TooLarge(f"a request of {len(data)} bytes, the cap is {MAXIMUM_REQUEST}")
    head, blank, note = data.partition(b"\n\n")
    try:
        first, *hashes = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise MalformedInput("the old size and the proof are ASCII") from error
    if not blank or not first.startswith("old "):
        raise MalformedInput("a request is an old size, a proof, an empty line, and a checkpoint")
    if len(hashes) > MAXIMUM_PROOF:
        raise MalformedInput(f"a proof of {len(hashes)} hashes, the cap is {MAXIMUM_PROOF}")
    path = tuple(decode_base64(line) for line in hashes)
    if any(len(node) != 32 for node in path):
        raise MalformedInput("a hash in a proof has 32 bytes")
    return AddCheckpoint(parse_size(first[4:]), path, note)
