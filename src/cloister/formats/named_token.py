"""A token in place of a report: the `report` of evidence whose platform is `verifier`."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.canonical import Name

BY_VERIFIER: Final = "verifier"  # the platform of such evidence
MAXIMUM_NAMED_TOKEN: Final = 32 * 1024  # bytes: what evidence has room for


class NamedToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An attestation result, and which of the verifiers that the policy names gave it. Nothing in it is trusted yet."""

    version: Literal[1] = 1
    verifier: Name
    token: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAXIMUM_NAMED_TOKEN)]


def parse_named_token(data: bytes) -> NamedToken:
    """Parse the report of evidence by a verifier.

    Raises:
        TooLarge, MalformedInput: it is none.
    """
    return canonical.decode(data, NamedToken, limit=MAXIMUM_NAMED_TOKEN, items=16)
