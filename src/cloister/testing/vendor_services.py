"""Made-up vendors' services on this machine: AMD's KDS, Intel's PCS, NVIDIA's RIM service and OCSP responder.

They answer as the vendors' do about the hardware of `MadeVendors`, so that fetching can be tried, and tested, without
hardware, without a network, and with every fault that a test thinks of.
"""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, Self
from urllib.parse import quote

import msgspec
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import OCSPNonce, ocsp

from cloister.attest.endorsement_words import hardware_id
from cloister.attest.tdx.quote import Tee
from cloister.endorsements.fetchers import VendorUrls
from cloister.formats.snp_report import SigningKey
from cloister.formats.snp_tcb import Product, Tcb
from cloister.testing.made_endorsements import MadeVendors

Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
_LEVELS: Final = {"fmcSPL": "fmc", "blSPL": "bootloader", "teeSPL": "tee", "snpSPL": "snp", "ucodeSPL": "microcode"}
_TEES: Final[dict[str, Tee]] = {"tdx": "TDX", "sgx": "SGX"}


class VendorServices:
    """All of them behind one port of this machine; an asynchronous context manager.

    `asked` lists what was asked for; a `fault` may answer in place of the service, or return None.
    """

    def __init__(self, vendors: MadeVendors, *, tls: ssl.SSLContext | None = None) -> None:
        """In the clear, or with `tls`."""
        self.vendors = vendors
        self._tls = tls
        self.asked: list[str] = []
        self.fault: Fault | None = None
        self.early_number: int | None = None  # tcbEvaluationDataNumber of what Intel has before it is due for all
        self.revoked = False  # whether the responder says so of whatever it is asked
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_raised: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _start(self) -> None:
        application = web.Application()
        application.router.add_get("/vcek/v1/{product}/cert_chain", self._chain)
        application.router.add_get("/vcek/v1/{product}/crl", self._list)
        application.router.add_get("/vcek/v1/{product}/{chip}", self._key)
        application.router.add_get("/{tee:tdx|sgx}/certification/v4/tcb", self._tcb_info)
        application.router.add_get("/{tee:tdx|sgx}/certification/v4/qe/identity", self._qe_identity)
        application.router.add_get("/sgx/certification/v4/pckcrl", self._pck_list)
        application.router.add_get("/IntelSGXRootCA.der", self._root_list)
        application.router.add_get("/v1/rim/{id}", self._manifest)
        application.router.add_post("/", self._answer)
        application.middlewares.append(self._before)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        host, bound = self._runner.addresses[0][:2]
        self.url = f"{'https' if self._tls else 'http'}://{host}:{bound}"

    @property
    def urls(self) -> VendorUrls:
        """Where they are."""
        return VendorUrls(self.url, self.url, f"{self.url}/IntelSGXRootCA.der", self.url, self.url)

    @web.middleware
    async def _before(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        answered = await self.fault(request) if self.fault else None
        return answered or await handler(request)

    async def _chain(self, request: web.Request) -> web.Response:
        chain = self.vendors.chip(_product(request)).issuer(SigningKey.VCEK).chain
        return web.Response(body=b"".join(one.public_bytes(Encoding.PEM) for one in chain))

    async def _list(self, request: web.Request) -> web.Response:
        return web.Response(body=self.vendors.amd_revocations(hardware=self.vendors.chip(_product(request))).data)

    async def _key(self, request: web.Request) -> web.Response:
        product = _product(request)
        chip = self.vendors.chip(product)
        levels = {_LEVELS[name]: int(level) for name, level in request.query.items() if name in _LEVELS}
        whole = set(chip.tcb.levels())
        if request.match_info["chip"] != hardware_id(product, chip.chip_id).hex() or set(levels) != whole:
            raise web.HTTPNotFound
        tcb = Tcb(levels.get("fmc"), levels["bootloader"], levels["tee"], levels["snp"], levels["microcode"])
        return web.Response(body=chip.certificate(tcb=tcb))

    async def _tcb_info(self, request: web.Request) -> web.Response:
        if request.query.get("fmspc") != self.vendors.tdx.fmspc.hex():
            raise web.HTTPNotFound
        told = self.vendors.tcb_info(_TEES[request.match_info["tee"]], **self._early(request))
        return _document("tcbInfo", told.body, told.signature, "TCB-Info-Issuer-Chain", told.issuer_chain)

    async def _qe_identity(self, request: web.Request) -> web.Response:
        told = self.vendors.qe_identity(_TEES[request.match_info["tee"]], **self._early(request))
        chain = "SGX-Enclave-Identity-Issuer-Chain"
        return _document("enclaveIdentity", told.body, told.signature, chain, told.issuer_chain)

    def _early(self, request: web.Request) -> dict[str, int]:
        """What is changed in a document of the early channel."""
        early = self.early_number is not None and request.query.get("update") == "early"
        return {"tcbEvaluationDataNumber": self.early_number or 0} if early else {}

    async def _pck_list(self, request: web.Request) -> web.Response:
        if (request.query.get("ca"), request.query.get("encoding")) != ("platform", "der"):
            raise web.HTTPNotFound
        told = self.vendors.pck_revocations()
        return web.Response(body=told.data, headers={"SGX-PCK-CRL-Issuer-Chain": quote(told.issuer_chain)})

    async def _root_list(self, _: web.Request) -> web.Response:
        return web.Response(body=self.vendors.root_revocations().data)

    async def _manifest(self, request: web.Request) -> web.Response:
        found = next((one for one in self.vendors.manifests() if one.id == request.match_info["id"]), None)
        if found is None:
            raise web.HTTPNotFound
        digest = hashlib.sha256(found.data).hexdigest()
        told = {"id": found.id, "rim": base64.b64encode(found.data).decode(), "sha256": digest, "rim_format": "TCG"}
        return web.Response(body=msgspec.json.encode(told), content_type="application/json")

    async def _answer(self, request: web.Request) -> web.Response:
        asked = ocsp.load_der_ocsp_request(await request.read())
        chain = next(one for one in self.vendors.chains if one[0].serial_number == asked.serial_number)
        nonce = asked.extensions.get_extension_for_class(OCSPNonce).value.nonce
        return web.Response(
            body=self.vendors.answer(chain, nonce=nonce, revoked=self.revoked).data,
            content_type="application/ocsp-response",
        )


def _product(request: web.Request) -> Product:
    try:
        return Product(request.match_info["product"])
    except ValueError as error:
        raise web.HTTPNotFound from error


def _document(member: str, body: str, signature: str, header: str, chain: str) -> web.Response:
    text = f'{{"{member}":{body},"signature":"{signature}"}}'
    return web.Response(text=text, content_type="application/json", headers={header: quote(chain)})
