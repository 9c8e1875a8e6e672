"""Where a relying party gets the endorsements that a node's evidence came without."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from cloister.formats.endorsements import Endorsement
from cloister.formats.evidence import Evidence


class Endorsing(Protocol):
    """A store, and perhaps fetchers behind it."""

    async def endorsements(self, evidence: Evidence) -> tuple[Endorsement, ...]:
        """What the vendors say for this evidence besides what it carries; as far as it is held or can be had.

        What is lacking is lacking: the examination says so.
        """


class AsCarried:
    """Adds nothing: the software TEE has no endorsements, and other evidence has to bring its own."""

    async def endorsements(self, evidence: Evidence) -> tuple[Endorsement, ...]:  # noqa: ARG002 - as `Endorsing`
        """None."""
        return ()


def with_endorsements(evidence: Evidence, found: Iterable[Endorsement]) -> Evidence:
    """The evidence with everything that is to be judged in it, so that what is kept explains itself."""
    fresh = tuple(one for one in found if one not in evidence.endorsements)
    return msgspec.structs.replace(evidence, endorsements=(*evidence.endorsements, *fresh)) if fresh else evidence
