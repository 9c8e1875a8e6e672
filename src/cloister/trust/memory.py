"""What a client remembers between bundles, so that nobody can show it an older or another history."""

from __future__ import annotations

from typing import Annotated

import msgspec

from cloister.formats import canonical
from cloister.formats.canonical import Count, Digest


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The last checkpoint, epoch, constitution and contract accepted from one KMS. Size 0 is first contact."""

    genesis: Digest
    size: Count
    root: Annotated[bytes, msgspec.Meta(max_length=32)]  # empty at size 0
    epoch: Count
    cosigned_at: Count
    constitution: Annotated[bytes, msgspec.Meta(max_length=32)]  # digest of the one in force; empty at size 0
    contract: Annotated[bytes, msgspec.Meta(max_length=32)]  # likewise


def first_contact(genesis: bytes) -> Memory:
    """Nothing is remembered of this KMS yet: the witnesses alone stand against another history."""
    return Memory(genesis=genesis, size=0, root=b"", epoch=0, cosigned_at=0, constitution=b"", contract=b"")


def parse_memory(data: bytes) -> Memory:
    """Parse what a client stored.

    Raises:
        TooLarge, MalformedInput: damaged.
    """
    return canonical.decode(data, Memory, limit=1024)
