"""NVIDIA's services: reference manifests by id (RIM service), and an OCSP responder for its certificates.

RIM Service API, "Get a RIM by id": JSON with the manifest in Base64 and its SHA-256. OCSP is RFC 6960 over HTTP,
appendix A.1, by POST; a nonce is sent with each question, and the answer has to have it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from typing import ClassVar, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from cloister.attest.certificates import ChainRefused
from cloister.attest.ocsp import MAXIMUM_ANSWER, check_nonce, parse_answer
from cloister.endorsements.vendor_site import VendorRefused, VendorSite, VendorUnknown
from cloister.endorsements.wanted import Wanted, WantedAnswer, WantedManifest
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.endorsement_bundle import Kept, Kind, NvidiaManifest, OcspAnswer
from cloister.formats.nvidia_rim import MAXIMUM_RIM

RIM_URL: Final = "https://rim.attestation.nvidia.com"
OCSP_URL: Final = "https://ocsp.ndis.nvidia.com"
_MAXIMUM_JSON: Final = 2 * MAXIMUM_RIM  # Base64 takes four thirds, and there is little beside it
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NONCE: Final = 32  # bytes (RFC 9654 section 2.1)


class _RimAnswer(msgspec.Struct, frozen=True):
    """What the RIM service answers; what else it says is not read."""

    id: str
    rim: str  # Base64
    sha256: str  # of the manifest, in hex digits


class NvidiaRims:
    """Fetches manifests over one site."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"nvidia-manifest"})

    def __init__(self, site: VendorSite) -> None:
        self.site = site

    async def fetch(self, wanted: Wanted) -> Kept:
        """What NVIDIA answers, unexamined.

        Raises:
            VendorUnavailable, VendorUnknown, VendorRefused: it does not answer, or with something else.
        """
        if not isinstance(wanted, WantedManifest):
            raise TypeError(f"{wanted.words} is no manifest")
        if not _ID.fullmatch(wanted.id):  # it comes from a device's report, and goes into a path
            raise VendorUnknown(f"{self.site.name} has nothing under the id {wanted.id[:80]!r}")
        answer = await self.site.get(f"/v1/rim/{wanted.id}", limit=_MAXIMUM_JSON)
        try:
            told = msgspec.json.decode(answer.body, type=_RimAnswer)
            data = base64.b64decode(told.rim, validate=True)
        except (msgspec.MsgspecError, binascii.Error, ValueError, RecursionError) as error:
            raise VendorRefused(f"{self.site.name} answered with something else: {error}") from error
        if told.id != wanted.id or hashlib.sha256(data).hexdigest() != told.sha256.lower():
            raise VendorRefused(f"{self.site.name} answered with another manifest than {wanted.id}, or a cut one")
        return NvidiaManifest(id=wanted.id, data=data)


class OcspResponder:
    """Asks one responder."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"ocsp-answer"})

    def __init__(self, site: VendorSite) -> None:
        self.site = site

    async def fetch(self, wanted: Wanted) -> Kept:
        """What the responder answers now, unexamined but for the nonce: what was recorded before is no answer.

        Raises:
            VendorUnavailable, VendorUnknown, VendorRefused: it does not answer, or with something else.
        """
        if not isinstance(wanted, WantedAnswer):
            raise TypeError(f"{wanted.words} is no OCSP answer")
        nonce = secrets.token_bytes(_NONCE)
        builder = ocsp.OCSPRequestBuilder().add_certificate(*wanted.pair, SHA384())
        request = builder.add_extension(x509.OCSPNonce(nonce), critical=False).build().public_bytes(Encoding.DER)
        answer = await self.site.ask(
            "POST", "/", limit=MAXIMUM_ANSWER, body=request, content_type="application/ocsp-request"
        )
        try:
            check_nonce(parse_answer(answer.body), nonce)
        except (MalformedInput, TooLarge, ChainRefused) as error:
            raise VendorRefused(f"{self.site.name} answered with something else: {error}") from error
        return OcspAnswer(data=answer.body, chain=wanted.chain)
