"""Intel's Provisioning Certification Service, version 4, or a cache that speaks as it does (PCCS).

Source: Intel SGX and TDX Provisioning Certification Service API v4. Signed bodies are kept byte by byte; the chains of
those who signed come in headers, percent-encoded. What Intel has of a TCB recovery before it is due for all is asked
for only where that was seen before: else one platform that brings it along would outlaw what everybody gets.
"""

from __future__ import annotations

import binascii
from typing import ClassVar, Final
from urllib.parse import unquote_to_bytes, urlsplit

from cryptography.hazmat.primitives.serialization import Encoding

from cloister.attest.certificates import parse_certificates
from cloister.attest.revocation import parse_list
from cloister.attest.tdx.quote import Tee
from cloister.endorsements.vendor_site import VendorAnswer, VendorRefused, VendorSite
from cloister.endorsements.wanted import (
    Wanted,
    WantedPckList,
    WantedQeIdentity,
    WantedRootList,
    WantedTcbInfo,
)
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.endorsement_bundle import (
    MAXIMUM_INTEL_LIST,
    IntelPckRevocations,
    IntelQeIdentity,
    IntelRootRevocations,
    IntelTcbInfo,
    Kept,
    Kind,
)
from cloister.formats.intel_collateral import signed_document
from cloister.formats.tcb_info import MAXIMUM_DOCUMENT

PCS_URL: Final = "https://api.trustedservices.intel.com"
ROOT_LIST_URL: Final = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
_TCB_CHAIN: Final = "tcb-info-issuer-chain"
_QE_CHAIN: Final = "sgx-enclave-identity-issuer-chain"
_PCK_CHAIN: Final = "sgx-pck-crl-issuer-chain"


class IntelPcs:
    """Fetches over one site, and the root's list over another: Intel has it on a host of its own."""

    kinds: ClassVar[frozenset[Kind]] = frozenset(
        {"intel-tcb-info", "intel-qe-identity", "intel-pck-revocations", "intel-root-revocations"}
    )

    def __init__(self, site: VendorSite, root_site: VendorSite, root_path: str) -> None:
        self.site = site
        self._root_site = root_site
        self._root_path = root_path

    async def fetch(self, wanted: Wanted) -> Kept:
        """What Intel answers, unexamined.

        Raises:
            VendorUnavailable, VendorUnknown, VendorRefused: it does not answer, or with something else.
        """
        try:
            match wanted:
                case WantedTcbInfo():
                    return await self._tcb_info(wanted)
                case WantedQeIdentity():
                    return await self._qe_identity(wanted)
                case WantedPckList():
                    return await self._pck_list(wanted)
                case WantedRootList():
                    return await self._root_list()
        except (MalformedInput, TooLarge) as error:
            raise VendorRefused(f"{self.site.name} answered with something else: {error}") from error
        raise TypeError(f"{wanted.words} is not Intel's")

    async def _tcb_info(self, wanted: WantedTcbInfo) -> IntelTcbInfo:
        path = f"{_place(wanted.tee)}/tcb?fmspc={wanted.fmspc.hex()}{'&update=early' if wanted.early else ''}"
        answer = await self.site.get(path, limit=MAXIMUM_DOCUMENT)
        body, signature = signed_document(answer.body, "tcbInfo")
        return IntelTcbInfo(body=body, signature=signature, issuer_chain=_chain(answer, _TCB_CHAIN))

    async def _qe_identity(self, wanted: WantedQeIdentity) -> IntelQeIdentity:
        path = f"{_place(wanted.tee)}/qe/identity{'?update=early' if wanted.early else ''}"
        answer = await self.site.get(path, limit=MAXIMUM_DOCUMENT)
        body, signature = signed_document(answer.body, "enclaveIdentity")
        return IntelQeIdentity(body=body, signature=signature, issuer_chain=_chain(answer, _QE_CHAIN))

    async def _pck_list(self, wanted: WantedPckList) -> IntelPckRevocations:
        path = f"{_place('SGX')}/pckcrl?ca={wanted.ca}&encoding=der"
        answer = await self.site.get(path, limit=2 * MAXIMUM_INTEL_LIST)
        return IntelPckRevocations(data=_list(answer.body), issuer_chain=_chain(answer, _PCK_CHAIN))

    async def _root_list(self) -> IntelRootRevocations:
        """The root's list names no issuer's certificate: that comes with any chain of Intel's."""
        answer = await self._root_site.get(self._root_path, limit=2 * MAXIMUM_INTEL_LIST)
        identity = await self.site.get(f"{_place('SGX')}/qe/identity", limit=MAXIMUM_DOCUMENT)
        root = parse_certificates(_chain(identity, _QE_CHAIN).encode())[-1]
        return IntelRootRevocations(data=_list(answer.body), issuer=root.public_bytes(Encoding.DER))


def split_root_list_url(url: str) -> tuple[str, str]:
    """A site's address, and the path on it: the list of Intel's root is one file."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}", parts.path


def _place(tee: Tee) -> str:
    return f"/{tee.lower()}/certification/v4"


def _chain(answer: VendorAnswer, header: str) -> str:
    """An issuer's chain out of a header, in PEM as OpenSSL writes it.

    Raises:
        MalformedInput, TooLarge: no such header, or no chain in it.
    """
    encoded = answer.headers.get(header, "")
    if not encoded:
        raise MalformedInput(f"no header {header}")
    found = parse_certificates(unquote_to_bytes(encoded.encode("utf-8", "surrogateescape")))
    return b"".join(one.public_bytes(Encoding.PEM) for one in found).decode()


def _list(body: bytes) -> bytes:
    """A revocation list in DER, which caches hand out in hex digits.

    Raises:
        MalformedInput, TooLarge: it is neither.
    """
    try:
        data = body if body.startswith(b"\x30") else binascii.unhexlify(body.strip())
    except binascii.Error as error:
        raise MalformedInput("a revocation list that is neither in DER nor in hex digits") from error
    return parse_list(data).public_bytes(Encoding.DER)
