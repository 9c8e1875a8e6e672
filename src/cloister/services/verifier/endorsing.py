"""Where a verifier gets what a node's evidence came without: stores, one for each set of roots, and vendors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
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


class StoredEndorsements:
    """Stores, and fetchers behind them."""

    def __init__(self, stores: Mapping[bytes, EndorsementStore], fetchers: Fetchers | None) -> None:
        """`stores` by the digest of their roots; without `fetchers` nobody is asked for anything."""
        self._stores = stores
        self._fetchers = fetchers

    async def gather(self, evidence: Evidence, roots: VendorRoots, *, at: int, asker: str) -> Gathered:
        """As `Endorsing`. Evidence whose own signature does not hold is left as it came: nobody is asked for it."""
        if evidence.platform in WHOLE and not evidence.gpu:
            return Gathered(evidence.endorsements)
        store = self._stores[roots_digest(roots)]
        try:
            found = await complete(evidence, store, self._fetchers, at=at, asker=asker)
        except (Refused, MalformedInput, TooLarge):
            return Gathered(evidence.endorsements)
        missing = tuple(str(one) for one in found.missing)
        return Gathered(found.endorsements, missing, any(one.retry for one in found.missing))


def open_stores(folder: Path, roots: Iterable[VendorRoots]) -> dict[bytes, EndorsementStore]:
    """A store in `folder` for each set of roots.

    Raises:
        UsageError: the folder cannot be used.
    """
    return {roots_digest(one): EndorsementStore(folder, one) for one in roots}


def roots_digest(roots: VendorRoots) -> bytes:
    """SHA-256 of the deterministic encoding, 32 bytes."""
    return hashlib.sha256(canonical.encode(roots)).digest()
