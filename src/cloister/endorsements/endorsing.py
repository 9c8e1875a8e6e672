"""Where a service gets the endorsements that evidence came without: a store, and the vendors' services behind it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import msgspec

from cloister.attest.seen import SEEN_NOTHING, SeenEndorsements
from cloister.endorsements.asker_limits import AskerLimits
from cloister.endorsements.completion import complete
from cloister.endorsements.fetchers import Fetchers, VendorUrls
from cloister.endorsements.remembered import seen_in
from cloister.endorsements.store import EndorsementStore
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.formats.appraisal_policy import VendorRoots
from cloister.formats.endorsements import Endorsement
from cloister.formats.evidence import Evidence
from cloister.formats.named_token import BY_VERIFIER

WHOLE: Final = frozenset({"software", "nitro", BY_VERIFIER})  # platforms whose evidence is all there is


@dataclass(frozen=True, slots=True)
class EndorsementSettings:
    """The `[endorsements]` table of a KMS's settings, and of a verifier's."""

    folder: Path  # the store; see `cloister endorsements`
    fetch: bool = True  # whether vendors are asked for what it lacks
    vendors: VendorUrls = field(default_factory=VendorUrls)


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that there is for evidence, its own included where it counts, and what there is not."""

    endorsements: tuple[Endorsement, ...]
    missing: tuple[str, ...] = ()  # what is not to be had, and why, in words
    retry: bool = False  # whether some of that may be there later
    seen: SeenEndorsements = SEEN_NOTHING  # the newest that a store has of each, in date or not

    def completes(self, evidence: Evidence) -> Evidence:
        """The evidence with everything in it that is to be judged, so that what is kept explains itself."""
        return msgspec.structs.replace(evidence, endorsements=self.endorsements)


class Endorsing(Protocol):
    """A way to complete evidence."""

    async def gather(self, evidence: Evidence, roots: VendorRoots, *, at: int, asker: str | None) -> Gathered:
        """What evidence that is judged under `roots` needs, at `at` (seconds since 1970), asked for by `asker`.

        Raises:
            CloisterError: the store is damaged, or cannot be used.
        """


class AsCarried:
    """Adds nothing: what a node brought along has to do."""

    async def gather(self, evidence: Evidence, roots: VendorRoots, *, at: int, asker: str | None) -> Gathered:  # noqa: ARG002 - as `Endorsing`
        """As `Endorsing`."""
        return Gathered(evidence.endorsements)


class StoredEndorsements:
    """A store in a folder, apart for each set of roots, and the vendors' services behind it or none."""

    def __init__(self, folder: Path, fetchers: Fetchers | None) -> None:
        self._folder = folder
        self._fetchers = fetchers

    async def gather(self, evidence: Evidence, roots: VendorRoots, *, at: int, asker: str | None) -> Gathered:
        """As `Endorsing`. Evidence whose own signature does not hold is left as it came: nobody is asked for it.

        Of each kind that was found it is what was found that counts: it was held against what came along, and is no
        older. What came along of other kinds stays, for the examination to say what is wrong with it.
        """
        if evidence.platform in WHOLE and not evidence.gpu:
            return Gathered(evidence.endorsements)
        store = EndorsementStore(self._folder, roots)
        try:
            seen = await asyncio.to_thread(
                seen_in, store
            )  # before: another's fetch shall not outlaw what this one finds
            found = await complete(evidence, store, self._fetchers, at=at, asker=asker)
        except (Refused, MalformedInput, TooLarge):
            return Gathered(evidence.endorsements)
        kinds = {one.kind for one in found.endorsements}
        kept = tuple(one for one in evidence.endorsements if one.kind not in kinds)
        missing = tuple(str(one) for one in found.missing)
        return Gathered((*kept, *found.endorsements), missing, any(one.retry for one in found.missing), seen)


@contextlib.asynccontextmanager
async def endorsing_of(
    settings: EndorsementSettings | None, *, limits: AskerLimits | None = None
) -> AsyncIterator[Endorsing]:
    """What the settings ask for.

    Raises:
        UsageError: an address is not one of HTTPS, nor of this machine.
    """
    if settings is None:
        yield AsCarried()
    elif settings.fetch:
        async with Fetchers.of_vendors(settings.vendors, limits=limits) as fetchers:
            yield StoredEndorsements(settings.folder, fetchers)
    else:
        yield StoredEndorsements(settings.folder, None)
