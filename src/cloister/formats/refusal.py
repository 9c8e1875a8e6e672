"""What a KMS says of whom it gave nothing: which checks failed, and how often it said nothing before."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.canonical import Count, Digest, Name, Seconds
from cloister.formats.evidence import Role

MAXIMUM_SHORTFALL: Final = 160  # characters
MAXIMUM_FAILED: Final = 16  # checks; the first are those that say the most

Number = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Shortfall = Annotated[str, msgspec.Meta(max_length=MAXIMUM_SHORTFALL, pattern=r"^[ -~]*\Z")]


# What was asked for; or given, as a share.
Wanted = Literal["transport-key", "assets", "identity", "handover", "recovery"]
Asking = Role | Literal["custodian"]


class FailedCheck(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A step that failed, and by how much, in printable ASCII: never what a node sent, beyond names and digests."""

    check: Name
    shortfall: Shortfall


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who answered a challenge got nothing, or a custodian's share was none. Signed by the KMS instance."""

    version: Literal[2] = 2  # 1 had no number; no release wrote it
    subject: Digest  # the first contract of the line; where another instance wanted a handover the genesis
    number: Number  # grows with each of this instance's
    role: Asking  # that it claims
    wanted: Wanted
    failed: Annotated[tuple[FailedCheck, ...], msgspec.Meta(min_length=1, max_length=MAXIMUM_FAILED)]
    evidence: Digest  # SHA-256 of the evidence, which is not kept; of a share, of the payload of its `recovery`
    node: Digest  # thumbprint of the keys that came with it; of a share, the key of the instance that it was given to
    at: Seconds
    omitted: Count  # more refusals of this subject and `wanted`, by this instance, before this one, that have no entry


def parse_refusal(data: bytes) -> Refusal:
    """Parse the payload of a `refusal` statement."""
    return canonical.decode(data, Refusal, limit=8192, items=256)


def told_shortfall(detail: str) -> str:
    """A step's detail as an entry may have it."""
    plain = detail.replace("…", "...")
    return "".join(one if " " <= one <= "~" else "?" for one in plain)[:MAXIMUM_SHORTFALL]
