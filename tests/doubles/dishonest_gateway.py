"""A gateway that got its keys as it should, and signs receipts that are not what they say."""

import asyncio
import contextlib
import time
from dataclasses import replace

from tests.doubles.served_gateway import served

from cloister.node.witnessed_clock import WitnessedClock
from cloister.peers.kms import KmsClient
from cloister.provenance.answer import sign_receipt, summarise
from cloister.services.gateway.data_plane import DataPlaneLimits, build_gateway
from cloister.services.gateway.engine import SocketEngine
from cloister.services.gateway.kms_keys import KmsKeys
from cloister.services.gateway.receipts import SignedReceipts
from cloister.testing.served_engine import served_engine


def another_request(said):
    return replace(said, request=summarise("POST", "/v1/audio/transcriptions", "audio/wav", b"of another"))


def another_answer(said):
    return replace(said, body_digest=bytes(32))


def long_ago(said):
    return replace(said, at=said.at - 86_400)


class Receipts:
    """What `build_gateway` asks for receipts. `lie` is what becomes of each statement before it is signed."""

    def __init__(self, system):
        self.true = SignedReceipts(system.secrets.sign, clock=time.time)
        self.true.signer = self  # type: ignore[assignment]
        self.key = system.secrets.sign
        self.contract = system.contract.digest()
        self.epoch = None  # another epoch's digest, in place of the true one
        self.lie = lambda said: said

    def tell(self, **changes):
        """From now on, receipts are true but for these attributes."""
        vars(self).update(changes)

    def begin(self, method, path, headers):
        return self.true.begin(method, path, headers)

    def sign(self, answered, *, contract, epoch):
        return sign_receipt(self.key, self.lie(answered), contract=self.contract, epoch=self.epoch or epoch)


@contextlib.asynccontextmanager
async def lying_gateway(system, engine, receipts):
    """The gateway of `system`, once it holds the key."""
    async with KmsClient(system.url("kms")) as kms, served_engine(engine) as path:
        keys = KmsKeys(kms, system.gateway_node(), clock=WitnessedClock(time.time))
        fetching = asyncio.create_task(keys.keep_fetching(seconds=1.0))
        supply = SocketEngine(path)
        gateway = build_gateway(keys, supply, receipts, now=time.time, limits=DataPlaneLimits())
        try:
            async with asyncio.timeout(20), served(gateway) as origin:
                while keys.missing():  # noqa: ASYNC110 - keys set no event
                    await asyncio.sleep(0.05)
                system.ports["gateway"] = origin.port
                yield
        finally:
            fetching.cancel()
            await supply.close()
