"""What a KMS says of a node that it gave no key: which checks failed, and how often it said nothing before."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.canonical import Count, Digest, Name, Seconds
from cloister.formats.evidence import Role

MAXIMUM_SHORTFALL: Final = 160  # characters
MAXIMUM_FAILED: Final = 16  # checks; the first are those that say the most

Shortfall = Annotated[str, msgspec.Meta(max_length=MAXIMUM_SHORTFALL, pattern=r"^[ -~]*\Z")]


Wanted = Literal["transport-key", "assets"]  # what the node asked for


class FailedCheck(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A step that failed, and by how much, in printable ASCII: never what a node sent, beyond names and digests."""

    check: Name
    shortfall: Shortfall


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A node that answered a challenge got nothing. Signed by the KMS instance that refused."""

    version: Literal[1] = 1
    contract: Digest  # the first contract of the line
    role: Role  # that the node claims
    wanted: Wanted
    failed: Annotated[tuple[FailedCheck, ...], msgspec.Meta(min_length=1, max_length=MAXIMUM_FAILED)]
    evidence: Digest  # SHA-256 of the evidence, which is not kept
    node: Digest  # thumbprint of the keys that came with it
    at: Seconds
    omitted: Count  # refusals of nodes of this line, by this instance, since its last entry, that are in no entry


def parse_refusal(data: bytes) -> Refusal:
    """Parse the payload of a `refusal` statement."""
    return canonical.decode(data, Refusal, limit=8192, items=256)


def told_shortfall(detail: str) -> str:
    """A step's detail as an entry may have it."""
    plain = detail.replace("…", "...")
    return "".join(one if " " <= one <= "~" else "?" for one in plain)[:MAXIMUM_SHORTFALL]
