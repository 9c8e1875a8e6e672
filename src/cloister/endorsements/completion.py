"""Completes evidence with what vendors say: from what it brought along, from the store, from the vendors themselves.

Everything goes through the store, which examines it and takes nothing older than it saw; what comes out is judged with
the evidence again. What cannot be had is named, and left out: silence is no consent, so the evidence is then refused.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Final

from cloister.attest.certificates import name_of, parse_certificate
from cloister.attest.endorsements import AuthenticEndorsement
from cloister.attest.seen import SEEN_NOTHING
from cloister.attest.snp.authentic import SnpEndorsements, examine_snp
from cloister.endorsements.fetchers import Fetchers
from cloister.endorsements.needs import EvidenceLike, IntelNeed, Needs, SnpNeed, answers_for, needs_of
from cloister.endorsements.offered import endorsements_of, offered, offered_keys
from cloister.endorsements.store import DamagedEndorsement, EndorsementStore, Stored
from cloister.endorsements.vendor_site import VendorRefused
from cloister.endorsements.wanted import Wanted, WantedAmdList, WantedQeIdentity, WantedTcbInfo
from cloister.errors import Refused, Unavailable
from cloister.examination import Examination
from cloister.formats.endorsement_bundle import (
    AmdKey,
    Kept,
    NvidiaManifest,
)
from cloister.formats.endorsements import Endorsement
from cloister.formats.nvidia_rim import parse_rim_file
from cloister.formats.snp_policy import UnsafeSnp

AGAIN_SECONDS: Final = 300.0  # an OCSP answer in date is not asked for again sooner
AHEAD_SECONDS: Final = 30 * 24 * 3600  # anything else is, in the last quarter of its life or in these last of it
AHEAD_AGAIN_SECONDS: Final = 6 * 3600.0
_UNCHECKED: Final[tuple[UnsafeSnp, ...]] = ("UnsafeAllowSnpWithoutRevocation",)  # the list is asked for by itself
REMEDY: Final = (
    "cloister endorsements fetch --for EVIDENCE --out BUNDLE where there is a network, then"
    " cloister endorsements import BUNDLE here"
)


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that evidence needs and that is not to be had."""

    words: str
    reason: str
    retry: bool  # whether it may be there later without anybody's doing

    def __str__(self) -> str:
        return f"{self.words}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Completed:
    """What there is, in the place of evidence's own endorsements, and what there is not."""

    endorsements: tuple[Endorsement, ...]
    kept: tuple[Kept, ...]  # the same, as a store and a bundle have it
    missing: tuple[Missing, ...]


async def complete(
    evidence: EvidenceLike, store: EndorsementStore, fetchers: Fetchers | None, *, at: int, asker: str | None
) -> Completed:
    """Gather what `evidence` needs.

    Args:
        evidence: as it came. Its own endorsements are offered to the store, as a mirror's answers are.
        store: of the roots that the evidence will be judged under.
        fetchers: None where there is no network.
        at: now, in seconds since 1970.
        asker: on whose behalf vendors are asked before anything is proven, such as an address; each has a limit. None:
            for evidence of one's own, which nobody counts.

    Raises:
        Refused: the evidence's own signature does not hold: nothing was asked for.
        MalformedInput, TooLarge: it is no evidence.
        Unavailable: the disk failed.
    """
    needs = await asyncio.to_thread(needs_of, evidence, roots=store.roots, at=at)
    gathering = _Gathering(store, fetchers, at, None if needs.proven else asker, evidence.endorsements)
    parts = await asyncio.gather(_amd(needs.snp, gathering), _intel(needs.intel, gathering), _nvidia(needs, gathering))
    kept = tuple(dict.fromkeys(one for part in parts for one in part))
    return Completed(tuple(endorsements_of(kept)), kept, tuple(sorted(gathering.missing, key=str)))


@dataclass(slots=True)
class _Gathering:
    """What one completion works with."""

    store: EndorsementStore
    fetchers: Fetchers | None
    at: int
    unproven: str | None
    brought: Sequence[Endorsement]
    missing: list[Missing] = field(default_factory=list)
    began: float = field(default_factory=monotonic)

    @property
    def now(self) -> int:
        """`at`, and what has passed since: what a vendor dates when it is asked is not of the future."""
        return self.at + math.ceil(monotonic() - self.began)

    async def get(self, wanted: Wanted) -> Kept | None:
        """This, in date and examined; where it is not to be had, `missing` says why."""
        found = await self.look(wanted)
        if isinstance(found, Missing):
            self.missing.append(found)
            return None
        return found

    async def look(self, wanted: Wanted) -> Kept | Missing:
        """The same, or why not."""
        try:
            await asyncio.to_thread(self._take_offered, wanted)
            stored = await asyncio.to_thread(self.store.find, wanted.kind, wanted.subject)
            found = stored if stored is not None and stored.counts(self.at) else None
            if self.fetchers is not None and (found is None or self._is_due(wanted, found, self.fetchers)):
                return await self._fetched(wanted, self.fetchers, found)
            reason = f"it is not in the store, or not in date; {REMEDY}"
            return Missing(wanted.words, reason, retry=False) if found is None else found.kept
        except DamagedEndorsement as error:
            return Missing(wanted.words, str(error), retry=False)

    def _take_offered(self, wanted: Wanted) -> None:
        for kept in offered(wanted, self.brought):
            known = self.store.find(wanted.kind, wanted.subject)
            if known is None or known.kept != kept:
                self.store.take(kept, at=self.at, subject=wanted.subject)

    async def _fetched(self, wanted: Wanted, fetchers: Fetchers, found: Stored | None) -> Kept | Missing:
        """What the vendor says now. Where it is silent, what there is holds until its own end, as the vendor said."""
        try:
            examination = await self._taken(wanted, fetchers)
            if examination.failed == ["endorsement.rollback"] and isinstance(wanted, WantedTcbInfo | WantedQeIdentity):
                examination = await self._taken(replace(wanted, early=True), fetchers)
            return examination.require().kept
        except (Unavailable, VendorRefused, Refused) as error:
            return Missing(wanted.words, str(error), retry=error.retry) if found is None else found.kept

    async def _taken(self, wanted: Wanted, fetchers: Fetchers) -> Examination[AuthenticEndorsement]:
        fetched = await fetchers.fetch(wanted, unproven=self.unproven)
        return await asyncio.to_thread(self.store.take, fetched, at=self.now, subject=wanted.subject)

    def _is_due(self, wanted: Wanted, found: Stored, fetchers: Fetchers) -> bool:
        """Whether who can ask asks for what is in date all the same: not again and again where nobody answers.

        An OCSP answer, since a newer one tells of a revocation sooner; anything else towards its end, so that the
        vendor may be silent for days before anything is missing.
        """
        if wanted.kind == "ocsp-answer":
            return not fetchers.asked_within(wanted, AGAIN_SECONDS)
        own = found.described
        ahead = min((own.until - own.first) // 4, AHEAD_SECONDS)
        return own.until - self.at < ahead and not fetchers.asked_within(wanted, AHEAD_AGAIN_SECONDS)


async def _amd(need: SnpNeed | None, gathering: _Gathering) -> list[Kept]:
    """The endorsement key's certificates, and its product's revocation list."""
    if need is None:
        return []
    key = await _key(need, gathering)
    if key is None:
        return []
    root = name_of(parse_certificate(key.chain[-1]))
    product = next((one for one in need.products if root == f"ARK-{one}"), need.products[0])
    revocations = await gathering.get(WantedAmdList(product))
    return [key] if revocations is None else [key, revocations]


async def _key(need: SnpNeed, gathering: _Gathering) -> AmdKey | None:
    """The key of the first product that has it, or a cloud's in the store that signed this very report."""
    missing = list[Missing]()
    for wanted in need.keys:
        found = await gathering.look(wanted)
        if isinstance(found, AmdKey):
            return await asyncio.to_thread(_with_given, found, need, gathering, wanted.subject)
        missing += [found] if isinstance(found, Missing) else []
    gathering.missing += missing
    if need.clouds:
        key = await asyncio.to_thread(_cloud_key, need, gathering)
        if key is None:
            reason = f"AMD's service does not have VLEKs: take it from the cloud, then {REMEDY.rpartition('then ')[2]}"
            gathering.missing.append(Missing("the certificate of the cloud's VLEK", reason, retry=False))
        return key
    return None


def _with_given(found: AmdKey, need: SnpNeed, gathering: _Gathering, subject: str) -> AmdKey:
    """One key's certificate may be signed more than once: the one in the evidence stands before those above it."""
    if need.given in (b"", found.chain[0]):
        return found
    given = AmdKey(chain=(need.given, *found.chain[1:]))
    examination = gathering.store.take(given, at=gathering.at, subject=subject)
    return found if examination.failed else given


def _cloud_key(need: SnpNeed, gathering: _Gathering) -> AmdKey | None:
    for kept in offered_keys(gathering.brought):
        gathering.store.take(kept, at=gathering.at)
    for stored in gathering.store.of_clouds():
        if isinstance(stored, Stored) and isinstance(stored.kept, AmdKey):
            examination = examine_snp(
                need.report,
                SnpEndorsements(stored.kept.chain, ()),
                roots=gathering.store.roots.amd,
                at=gathering.at,
                unsafe=_UNCHECKED,
                seen=SEEN_NOTHING,
            )
            if not examination.failed:
                return stored.kept
    return None


async def _intel(need: IntelNeed | None, gathering: _Gathering) -> list[Kept]:
    """All four parts of Intel's collateral, or nothing: a part is of no use by itself."""
    if need is None:
        return []
    wanted: Iterable[Wanted] = (need.tcb_info, need.identity, need.pck_list, need.root_list)
    found = await asyncio.gather(*map(gathering.get, wanted))
    return [one for one in found if one is not None]


async def _nvidia(needs: Needs, gathering: _Gathering) -> list[Kept]:
    """Manifests, then what responders say of devices' and manifests' chains."""
    manifests = [one for one in await asyncio.gather(*map(gathering.get, needs.manifests)) if one is not None]
    chains = [
        tuple(map(parse_certificate, parse_rim_file(one.data).certificates))
        for one in manifests
        if isinstance(one, NvidiaManifest)
    ]
    signers = (one for chain in chains for one in answers_for(chain, whole=True))
    wanted = {one.subject: one for one in (*needs.answers, *signers)}  # all manifests have much the same chain
    answers = await asyncio.gather(*map(gathering.get, wanted.values()))
    return [*manifests, *(one for one in answers if one is not None)]
