"""A gateway that got its keys as it should, and signs receipts that are not what they say."""

import asyncio
import base64
import contextlib
import hashlib
import secrets
import time
from dataclasses import replace

from tests.doubles.http_peers import serving

from cloister.formats.response_receipt import RECEIPT_HEADER, SALT_HEADER
from cloister.node.witnessed_clock import WitnessedClock
from cloister.peers.kms import KmsClient
from cloister.provenance.answer import Answered, sign_receipt, summarise
from cloister.services.gateway.data_plane import DataPlaneLimits, build_gateway
from cloister.services.gateway.kms_keys import KmsKeys
from cloister.testing.local_system import ENDPOINTS


def another_request(said):
    return replace(said, request=summarise("POST", "/v1/audio/transcriptions", "audio/wav", b"of another"))


def another_answer(said):
    return replace(said, body_digest=bytes(32))


def long_ago(said):
    return replace(said, at=said.at - 86_400)


class Receipts:
    """What `build_gateway` asks for receipts. `lie` is what becomes of each statement before it is signed."""

    def __init__(self, system):
        self.key = system.secrets.sign
        self.contract = system.contract.digest()
        self.epoch = None  # another epoch's digest, in place of the true one
        self.lie = lambda said: said

    def tell(self, **changes):
        """From now on, receipts are true but for these attributes."""
        vars(self).update(changes)

    def __call__(self, opened_with, request, response):
        said = Answered(
            request=summarise(request.method, request.path, dict(request.headers)["content-type"], request.body),
            status=response.status,
            body_digest=hashlib.sha256(response.body).digest(),
            salt=secrets.token_bytes(32),
            at=int(time.time()),
        )
        core = sign_receipt(self.key, self.lie(said), contract=self.contract, epoch=self.epoch or opened_with.epoch)
        carried = {RECEIPT_HEADER: core, SALT_HEADER: said.salt}
        return tuple((name, base64.b64encode(value).decode()) for name, value in carried.items())


@contextlib.asynccontextmanager
async def lying_gateway(system, engine, receipts):
    """The gateway of `system`, once it holds the key."""
    async with KmsClient(system.url("kms")) as kms:
        keys = KmsKeys(kms, system.gateway_node(), clock=WitnessedClock(time.time))
        fetching = asyncio.create_task(keys.keep_fetching(seconds=1.0))
        gateway = build_gateway(keys, engine, ENDPOINTS, receipts, now=time.time, limits=DataPlaneLimits())
        try:
            async with asyncio.timeout(20), serving(gateway.answer) as origin:
                while keys.missing():  # noqa: ASYNC110 - keys set no event
                    await asyncio.sleep(0.05)
                system.ports["gateway"] = origin.port
                yield
        finally:
            fetching.cancel()
