"""Where the KMS gets the endorsements that evidence came without: a store, and the vendors' services behind it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from cloister.endorsements.asker_limits import AskerLimits
from cloister.endorsements.completion import complete
from cloister.endorsements.fetchers import Fetchers, VendorUrls
from cloister.endorsements.store import EndorsementStore
from cloister.errors import CloisterError
from cloister.formats.appraisal_policy import VendorRoots
from cloister.formats.endorsements import Endorsement
from cloister.formats.evidence import Evidence

# Each contract's nodes may have AMD asked for so many new chips an hour before anything proved that there is one.
_LIMITS = AskerLimits(each=64, all=256)


@dataclass(frozen=True, slots=True)
class EndorsementSettings:
    """The `[endorsements]` table of a KMS's settings."""

    folder: Path  # the store; see `cloister endorsements`
    fetch: bool = True  # whether vendors are asked for what it lacks
    vendors: VendorUrls = field(default_factory=VendorUrls)


class Endorsing(Protocol):
    """A store, and perhaps fetchers behind it."""

    async def endorsements(self, evidence: Evidence, roots: VendorRoots, *, asker: str) -> tuple[Endorsement, ...]:
        """What the vendors say for this evidence, as far as it is held or can be had; what lacks, the examination says.

        `asker` is on whose behalf vendors are asked.
        """


class AsCarried:
    """Adds nothing: the software TEE has no endorsements, and other evidence has to bring its own."""

    async def endorsements(self, evidence: Evidence, roots: VendorRoots, *, asker: str) -> tuple[Endorsement, ...]:  # noqa: ARG002 - as `Endorsing`
        """None."""
        return ()


class FromStore:
    """From a folder, with the vendors' services behind it or none."""

    def __init__(self, folder: Path, fetchers: Fetchers | None, *, clock: Callable[[], int]) -> None:
        self._folder = folder
        self._fetchers = fetchers
        self._clock = clock

    async def endorsements(self, evidence: Evidence, roots: VendorRoots, *, asker: str) -> tuple[Endorsement, ...]:
        """As `Endorsing`; a fault of the store's is told in the log, and nothing is added."""
        if evidence.platform == "software":
            return ()
        try:
            store = EndorsementStore(self._folder, roots)
            found = await complete(evidence, store, self._fetchers, at=self._clock(), asker=asker)
        except CloisterError as error:
            structlog.get_logger().warning("no endorsements", platform=evidence.platform, reason=str(error))
            return ()
        for lacking in found.missing:
            structlog.get_logger().warning(
                "an endorsement is missing", endorsement=lacking.words, reason=lacking.reason
            )
        return found.endorsements


@contextlib.asynccontextmanager
async def endorsing_of(settings: EndorsementSettings | None, *, clock: Callable[[], int]) -> AsyncIterator[Endorsing]:
    """What the settings ask for.

    Raises:
        UsageError: an address is not one of HTTPS, nor of this machine; or the folder cannot be used.
    """
    if settings is None:
        yield AsCarried()
    elif settings.fetch:
        async with Fetchers.of_vendors(settings.vendors, limits=_LIMITS) as fetchers:
            yield FromStore(settings.folder, fetchers, clock=clock)
    else:
        yield FromStore(settings.folder, None, clock=clock)


def with_endorsements(evidence: Evidence, found: Iterable[Endorsement]) -> Evidence:
    """The evidence with everything that is to be judged in it, so that what is kept explains itself.

    Of each kind that was found, it is what was found that counts: it was held against what came along, and is newer.
    """
    fresh = tuple(found)
    kinds = {one.kind for one in fresh}
    kept = tuple(one for one in evidence.endorsements if one.kind not in kinds)
    return msgspec.structs.replace(evidence, endorsements=(*kept, *fresh)) if fresh else evidence
