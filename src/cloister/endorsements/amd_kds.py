"""AMD's Key Distribution Service: certificates of chips, of those who sign them, and revocation lists.

AMD 57230 (VCEK certificate and KDS interface specification), chapter 4. VLEKs are not there: a cloud gets them leased
from AMD, and hands them to its guests.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar, Final

from cryptography.hazmat.primitives.serialization import Encoding

from cloister.attest.certificates import MAXIMUM_CERTIFICATE, parse_certificates
from cloister.attest.endorsement_words import hardware_id
from cloister.attest.revocation import parse_list
from cloister.endorsements.vendor_site import VendorRefused, VendorSite
from cloister.endorsements.wanted import Wanted, WantedAmdList, WantedKey
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.endorsement_bundle import AmdKey, AmdRevocations, Kept, Kind
from cloister.formats.snp_tcb import Product, Tcb

KDS_URL: Final = "https://kdsintf.amd.com"
_MAXIMUM_CHAIN: Final = 4 * MAXIMUM_CERTIFICATE  # bytes in PEM
_MAXIMUM_LIST: Final = 1024 * 1024  # bytes
_CHAIN_SECONDS: Final = 3600.0
_NAMES: Final = {"fmc": "fmcSPL", "bootloader": "blSPL", "tee": "teeSPL", "snp": "snpSPL", "microcode": "ucodeSPL"}


class AmdKds:
    """Fetches over one site. The few chains of authorities, which hardly change, are asked for once an hour."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"amd-key", "amd-revocations"})

    def __init__(self, site: VendorSite, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.site = site
        self._clock = clock
        self._authorities: dict[Product, tuple[float, bytes, bytes]] = {}  # when it came; ASK and ARK in DER

    async def fetch(self, wanted: Wanted) -> Kept:
        """What AMD answers, unexamined.

        Raises:
            VendorUnavailable, VendorUnknown, VendorRefused: it does not answer, or with something else.
        """
        try:
            if isinstance(wanted, WantedKey):
                return await self._key(wanted)
            if isinstance(wanted, WantedAmdList):
                return await self._list(wanted)
        except (MalformedInput, TooLarge) as error:
            raise VendorRefused(f"{self.site.name} answered with something else: {error}") from error
        raise TypeError(f"{wanted.words} is not AMD's")

    async def _key(self, wanted: WantedKey) -> AmdKey:
        signer, root = await self._above(wanted.product)
        answer = await self.site.get(key_path(wanted.product, wanted.chip_id, wanted.tcb), limit=MAXIMUM_CERTIFICATE)
        return AmdKey(chain=(answer.body, signer, root))

    async def _list(self, wanted: WantedAmdList) -> AmdRevocations:
        _, root = await self._above(wanted.product)
        answer = await self.site.get(f"/vcek/v1/{wanted.product}/crl", limit=_MAXIMUM_LIST)
        data = parse_list(answer.body).public_bytes(Encoding.DER)
        return AmdRevocations(data=data, issuer=root)

    async def _above(self, product: Product) -> tuple[bytes, bytes]:
        """ASK and ARK of a product's VCEKs."""
        at, signer, root = self._authorities.get(product, (0.0, b"", b""))
        if not root or self._clock() - at > _CHAIN_SECONDS:
            answer = await self.site.get(f"/vcek/v1/{product}/cert_chain", limit=_MAXIMUM_CHAIN)
            found = parse_certificates(answer.body)
            if len(found) != 2:
                raise MalformedInput(f"{len(found)} certificates for {product}, where the ASK and the ARK are due")
            signer, root = (one.public_bytes(Encoding.DER) for one in found)
            self._authorities[product] = self._clock(), signer, root
        return signer, root


def key_path(product: Product, chip_id: bytes, tcb: Tcb) -> str:
    """Where a VCEK's certificate is: by hardware id and each component of the TCB, Turin's FMC too (section 4.1)."""
    levels = "&".join(f"{_NAMES[name]}={level:02}" for name, level in tcb.levels().items())
    return f"/vcek/v1/{product}/{hardware_id(product, chip_id).hex()}?{levels}"
