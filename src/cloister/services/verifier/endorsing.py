"""Where a verifier gets the endorsements that evidence came without: a store, and the vendors' services behind it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from cloister.endorsements.completion import complete
from cloister.endorsements.fetchers import Fetchers
from cloister.endorsements.store import EndorsementStore
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.formats import canonical
from cloister.formats.appraisal_policy import VendorRoots
from cloister.formats.endorsements import Endorsement
from cloister.formats.evidence import Evidence
from cloister.services.verifier.settings import EndorsementSettings

WHOLE: Final = frozenset({"software", "nitro"})  # platforms whose evidence is all there is


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that there is for evidence, its own included where it counts, and what there is not."""

    endorsements: tuple[Endorsement, ...]
    missing: tuple[str, ...] = ()  # what is not to be had, and why, in words
    retry: bool = False  # whether some of that may be there later


class Endorsing(Protocol):
    """A way to complete evidence."""

    async def gather(self, evidence: Evidence, roots: VendorRoots, *, at: int, asker: str) -> Gathered:
        """What evidence that is judged under `roots` needs, at `at` (seconds since 1970), asked for by `asker`."""


class AsCarried:
    """Adds nothing: what a node brought along has to do."""

    async def gather(self, evidence: Evidence, roots: VendorRoots, *, at: int, asker: str) -> Gathered:  # noqa: ARG002 - as `Endorsing`
        """As `Endorsing`."""
        return Gathered(evidence.endorsements)


class StoredEndorsements:
    """A store in a folder, apart for each set of roots, and the vendors' services behind it or none."""

    def __init__(self, folder: Path, fetchers: Fetchers | None) -> None:
        self._folder = folder
        self._fetchers = fetchers

    async def gather(self, evidence: Evidence, roots: VendorRoots, *, at: int, asker: str) -> Gathered:
        """As `Endorsing`. Evidence whose own signature does not hold is left as it came: nobody is asked for it.

        Raises:
            UsageError, Unavailable: the folder cannot be used.
        """
        if evidence.platform in WHOLE and not evidence.gpu:
            return Gathered(evidence.endorsements)
        store = EndorsementStore(self._folder, roots)
        try:
            found = await complete(evidence, store, self._fetchers, at=at, asker=asker)
        except (Refused, MalformedInput, TooLarge):
            return Gathered(evidence.endorsements)
        missing = tuple(str(one) for one in found.missing)
        return Gathered(found.endorsements, missing, any(one.retry for one in found.missing))


@contextlib.asynccontextmanager
async def endorsing_of(settings: EndorsementSettings | None) -> AsyncIterator[Endorsing]:
    """What the settings ask for.

    Raises:
        UsageError: an address is not one of HTTPS, nor of this machine.
    """
    if settings is None:
        yield AsCarried()
    elif settings.fetch:
        async with Fetchers.of_vendors(settings.vendors) as fetchers:
            yield StoredEndorsements(settings.folder, fetchers)
    else:
        yield StoredEndorsements(settings.folder, None)


def roots_digest(roots: VendorRoots) -> bytes:
    """SHA-256 of the deterministic encoding, 32 bytes."""
    return hashlib.sha256(canonical.encode(roots)).digest()
