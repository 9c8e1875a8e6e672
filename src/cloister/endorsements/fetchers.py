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
from cloister.endorsements.asker_limits import AskerCounts, AskerLimits
from cloister.endorsements.intel_pcs import PCS_URL, ROOT_LIST_URL, IntelPcs, split_root_list_url
from cloister.endorsements.nvidia_services import OCSP_URL, RIM_URL, NvidiaRims, OcspResponder
from cloister.endorsements.vendor_site import (
    Patience,
    VendorRefused,
    VendorSite,
    VendorUnknown,
    Waits,
    require_vendor_url,
)
from cloister.endorsements.wanted import Wanted, WantedQeIdentity, WantedTcbInfo
from cloister.errors import UsageError
from cloister.formats.endorsement_bundle import Kept, Kind

UNKNOWN_SECONDS: Final = 600.0  # what a vendor does not have is not asked for again so soon
_MOST_ENDED: Final = 65_536
_Question = tuple[Kind, str, bool]  # kind, subject, whether of Intel's early channel


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

    def __post_init__(self) -> None:
        """Refuse an address that is not one of HTTPS, nor of this machine.

        Raises:
            UsageError: there is such.
        """
        for name, url in self.prefixes().items():
            require_vendor_url(name, url)

    def prefixes(self) -> dict[str, str]:
        """What each service's URLs begin with, by what errors call it; in the order in which `Fetchers` makes them."""
        return {
            "AMD's key distribution service": self.amd_kds_url,
            "Intel's certification service": self.intel_pcs_url,
            "Intel's certificate site": split_root_list_url(self.intel_root_list_url)[0],
            "NVIDIA's RIM service": self.nvidia_rim_url,
            "NVIDIA's OCSP responder": self.nvidia_ocsp_url,
        }


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
        self._counts = AskerCounts(limits or AskerLimits(), clock)
        self._clock = clock
        self._asked: dict[_Question, asyncio.Task[Kept]] = {}
        self._ended: OrderedDict[_Question, tuple[float, str]] = OrderedDict()  # when; what is not there
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
            UsageError: the CA's file cannot be read.
        """
        _, root_path = split_root_list_url(urls.intel_root_list_url)
        tls = None if urls.ca_file is None else _tls(urls.ca_file)
        sites = [
            VendorSite(name, url, tls=tls, patience=patience, waits=waits) for name, url in urls.prefixes().items()
        ]
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
        question = _question(wanted)
        at, unknown = self._ended.get(question, (0.0, ""))
        if unknown and self._clock() - at <= UNKNOWN_SECONDS:
            raise VendorUnknown(unknown)
        task = self._asked.get(question)
        if task is None:
            if unproven is not None:
                self._counts.count(unproven)
            task = self._asked[question] = asyncio.create_task(fetcher.fetch(wanted))
            task.add_done_callback(lambda done: self._end(question, done))
        return await asyncio.shield(task)

    def asked_within(self, wanted: Wanted, seconds: float) -> bool:
        """Whether a vendor was asked for this so short a time ago, with an answer or without."""
        ended = self._ended.get(_question(wanted))
        return ended is not None and self._clock() - ended[0] <= seconds

    def _end(self, question: _Question, task: asyncio.Task[Kept]) -> None:
        """Remember that, and how, it ended; whoever asked may have left."""
        self._asked.pop(question, None)
        error = None if task.cancelled() else task.exception()
        self._ended[question] = self._clock(), str(error) if isinstance(error, VendorUnknown) else ""
        self._ended.move_to_end(question)
        while len(self._ended) > _MOST_ENDED:
            self._ended.popitem(last=False)


def _question(wanted: Wanted) -> _Question:
    return wanted.kind, wanted.subject, isinstance(wanted, WantedTcbInfo | WantedQeIdentity) and wanted.early


def _tls(ca_file: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:  # ssl's own is one
        raise UsageError(f"the CA's file {ca_file} cannot be used: {error.strerror or 'no PEM in it'}") from error
    return context
