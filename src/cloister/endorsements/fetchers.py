"""Whom to ask for what: one fetcher for each vendor's service, equal questions asked once, askers kept to a limit."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, Self

from cloister.endorsements.amd_kds import KDS_URL, AmdKds
from cloister.endorsements.intel_pcs import PCS_URL, ROOT_LIST_URL, IntelPcs, split_root_list_url
from cloister.endorsements.nvidia_services import OCSP_URL, RIM_URL, NvidiaRims, OcspResponder
from cloister.endorsements.vendor_site import Patience, VendorRefused, VendorSite, VendorUnavailable, Waits
from cloister.endorsements.wanted import Wanted
from cloister.errors import UsageError
from cloister.formats.endorsement_bundle import Kept, Kind

_MOST_ASKERS: Final = 4096
_MOST_ANSWERED: Final = 65_536


class Fetcher(Protocol):
    """One vendor's service."""

    @property
    def kinds(self) -> frozenset[Kind]:
        """What it has."""

    async def fetch(self, wanted: Wanted) -> Kept:
        """What it answers, unexamined.

        Raises:
            VendorUnavailable, VendorUnknown, VendorRefused: it does not answer, or with something else.
        """


@dataclass(frozen=True, slots=True)
class VendorUrls:
    """Where the vendors' services are: their own, or mirrors. HTTPS, or HTTP on this machine."""

    amd_kds_url: str = KDS_URL
    intel_pcs_url: str = PCS_URL  # or a PCCS
    intel_root_list_url: str = ROOT_LIST_URL  # the whole address of the root's revocation list
    nvidia_rim_url: str = RIM_URL
    nvidia_ocsp_url: str = OCSP_URL
    ca_file: Path | None = None  # PEM: who may certify mirrors, beside those whom this machine trusts anyway


@dataclass(frozen=True, slots=True)
class AskerLimits:
    """How often one asker, and all together, may have a vendor asked for what nothing has proven yet."""

    seconds: float = 3600.0
    each: int = 8
    all: int = 256


class Fetchers:
    """All fetchers of a process; an asynchronous context manager.

    Who asks at the same time for the same gets the same answer. What is asked for on behalf of evidence that no key has
    proven yet (SEV-SNP) is counted by its asker.
    """

    def __init__(
        self,
        fetchers: Sequence[Fetcher],
        sites: Sequence[VendorSite] = (),
        *,
        limits: AskerLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`sites` are what the fetchers ask: entered and left with this."""
        self._sites = sites
        self._fetchers = {kind: one for one in fetchers for kind in one.kinds}
        self._limits = limits or AskerLimits()
        self._clock = clock
        self._asked: dict[tuple[Kind, str], asyncio.Task[Kept]] = {}  # by kind and subject
        self._answered: OrderedDict[str, float] = OrderedDict()  # by subject: when
        self._counted: OrderedDict[str, list[float]] = OrderedDict()  # by asker: when
        self._counted_all: list[float] = []
        self._open = contextlib.AsyncExitStack()

    @classmethod
    def of_vendors(
        cls,
        urls: VendorUrls,
        *,
        limits: AskerLimits | None = None,
        patience: Patience | None = None,
        waits: Waits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Those of AMD, Intel and NVIDIA.

        Raises:
            UsageError: an address is not one of HTTPS, nor of this machine; or the CA's file cannot be read.
        """
        root_url, root_path = split_root_list_url(urls.intel_root_list_url)
        named = {
            "AMD's key distribution service": urls.amd_kds_url,
            "Intel's certification service": urls.intel_pcs_url,
            "Intel's certificate site": root_url,
            "NVIDIA's RIM service": urls.nvidia_rim_url,
            "NVIDIA's OCSP responder": urls.nvidia_ocsp_url,
        }
        tls = _tls(urls.ca_file)
        sites = [VendorSite(name, url, tls=tls, patience=patience, waits=waits) for name, url in named.items()]
        kds, pcs, roots, rims, responder = sites
        fetchers: list[Fetcher] = [AmdKds(kds), IntelPcs(pcs, roots, root_path), NvidiaRims(rims)]
        fetchers.append(OcspResponder(responder))
        return cls(fetchers, sites, limits=limits, clock=clock)

    async def __aenter__(self) -> Self:
        for site in self._sites:
            await self._open.enter_async_context(site)
        return self

    async def __aexit__(self, *_raised: object) -> None:
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
        await self._open.aclose()

    async def fetch(self, wanted: Wanted, *, unproven: str | None) -> Kept:
        """What the vendor answers, unexamined.

        Args:
            wanted: what is asked for.
            unproven: on whose behalf, where nothing has proven yet that evidence is behind it; None where it has.

        Raises:
            VendorUnavailable, VendorUnknown, VendorRefused: there is no answer; the first two may change.
        """
        fetcher = self._fetchers.get(wanted.kind)
        if fetcher is None:
            raise VendorRefused(f"nobody here is asked for {wanted.words}")
        question = (wanted.kind, wanted.subject)
        task = self._asked.get(question)
        if task is None:
            if unproven is not None:
                self._count(unproven)
            task = self._asked[question] = asyncio.create_task(fetcher.fetch(wanted))
            task.add_done_callback(lambda done: self._ended(question, done))
        kept = await asyncio.shield(task)
        self._answered[wanted.subject] = self._clock()
        self._answered.move_to_end(wanted.subject)
        while len(self._answered) > _MOST_ANSWERED:
            self._answered.popitem(last=False)
        return kept

    def _ended(self, question: tuple[Kind, str], task: asyncio.Task[Kept]) -> None:
        """Who asked may have left: then nobody else looks at how it ended."""
        self._asked.pop(question, None)
        if not task.cancelled():
            task.exception()

    def answered_within(self, wanted: Wanted, seconds: float) -> bool:
        """Whether this was answered so short a time ago."""
        at = self._answered.get(wanted.subject)
        return at is not None and self._clock() - at <= seconds

    def _count(self, asker: str) -> None:
        """Count one question of an asker's.

        Raises:
            VendorUnavailable: there were too many of late, of this asker or of all.
        """
        since = self._clock() - self._limits.seconds
        own = [at for at in self._counted.get(asker, []) if at > since]
        self._counted_all = [at for at in self._counted_all if at > since]
        for counted, most in ((own, self._limits.each), (self._counted_all, self._limits.all)):
            if len(counted) >= most:
                later = counted[0] - since if counted else self._limits.seconds
                raise VendorUnavailable(
                    f"unproven reports asked for {most} certificates within {self._limits.seconds:g} s: come back in"
                    f" {later:.0f} s, or import what is missing"
                )
        own.append(self._clock())
        self._counted_all.append(own[-1])
        self._counted[asker] = own
        self._counted.move_to_end(asker)
        while len(self._counted) > _MOST_ASKERS:
            self._counted.popitem(last=False)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:  # ssl's own is one
            raise UsageError(f"the CA's file {ca_file} cannot be used: {error.strerror or 'no PEM in it'}") from error
    return context
