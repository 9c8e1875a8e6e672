"""A whole local system on loopback sockets in this process: witness, ledger, KMS, gateway, relay, all of them real.

Everything is signed, logged, cosigned, attested and encrypted as in production, on a software TEE whose workload
measurement is a fixed value. The engine is the caller's: any object with `ask` and `missing`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloister.endorsements.endorsing import Endorsing
from cloister.errors import Unavailable
from cloister.formats.checkpoint import COSIGNATURE_V1, ED25519, format_vkey
from cloister.hosting.loopback import LOOPBACK, listen, port_of
from cloister.node.witnessed_clock import WitnessedClock
from cloister.peers.failover import Failover
from cloister.peers.kms import KmsClient
from cloister.services.gateway.data_plane import serve_gateway
from cloister.services.gateway.engine import SocketEngine
from cloister.services.gateway.engines import QueueLimits, Supply
from cloister.services.gateway.kms_keys import KmsKeys
from cloister.services.gateway.service import assemble, keys_by_identity
from cloister.services.kms.service import serve_kms, wall_clock
from cloister.services.kms.settings import KmsSettings, MutualTls
from cloister.services.ledger.service import serve_ledger
from cloister.services.ledger.settings import LedgerSettings, WitnessAddress
from cloister.services.relay.service import serve_relay
from cloister.services.relay.settings import RelaySettings
from cloister.services.witness.service import serve_witness
from cloister.services.witness.settings import WitnessSettings
from cloister.testing.local_papers import ORIGIN, WITNESS_NAME, LocalPapers
from cloister.testing.made_tees import MadeEndorsing, MadeTee
from cloister.testing.served_engine import AskedEngine, served_engine

START_SECONDS = 20.0


@dataclass
class LocalSystem(LocalPapers):
    """Papers and, once `running`, the ports. Change an attribute before it runs to have another system."""

    gateway_clock: Callable[[], float] = time.time  # noqa: TID251 - a real system has a real clock
    ports: dict[str, int] = field(default_factory=dict)  # by the service's name
    instances: tuple[str, ...] = ("kms",)  # of the KMS, by the names of their ports
    endorsing: Endorsing | None = None  # of the KMS; what the made-up vendors say, where nothing is said

    def url(self, service: str) -> str:
        """Where a service of this system answers."""
        return f"http://{LOOPBACK}:{self.ports[service]}"

    @contextlib.asynccontextmanager
    async def running(self, engine: AskedEngine) -> AsyncIterator[LocalSystem]:
        """Start every service; when this returns a client can ask. All end with the context."""
        async with contextlib.AsyncExitStack() as stack:
            await self.run_ledger(stack)
            await self.run_kms(stack)
            await self.run_gateway(stack, engine)
            await self.run_relay(stack)
            yield self

    @contextlib.asynccontextmanager
    async def kms_alone(self) -> AsyncIterator[LocalSystem]:
        """Witness, ledger and KMS, which serves the contract when this returns."""
        async with contextlib.AsyncExitStack() as stack:
            await self.run_ledger(stack)
            await self.run_kms(stack)
            kms = await stack.enter_async_context(KmsClient(self.url("kms")))
            await _until_served(kms, self.contract.digest())
            yield self

    async def run_ledger(self, stack: contextlib.AsyncExitStack) -> None:
        """The witness, and the ledger that it watches."""
        await self.run_witness(stack)
        await self.run_log(stack)

    async def run_witness(self, stack: contextlib.AsyncExitStack, *, port: int = 0) -> None:
        """The witness; its memory is in the folder `w`."""
        key, folder = self.write_key("witness", self.witness_key), self.folder / "w"
        logs = (format_vkey(ORIGIN, self.log_key.public, kind=ED25519),)
        await self._run(
            stack,
            "witness",
            lambda ready, stop: serve_witness(
                WitnessSettings(port=port, folder=folder, name=WITNESS_NAME, key=key, logs=logs, ready=ready), stop
            ),
        )

    async def run_log(self, stack: contextlib.AsyncExitStack, *, port: int = 0) -> None:
        """The ledger alone; its database is in the folder `l`."""
        key = self.write_key("log", self.log_key)
        vkey = format_vkey(WITNESS_NAME, self.witness_key.public, kind=COSIGNATURE_V1)
        await self._run(
            stack,
            "ledger",
            lambda ready, stop: serve_ledger(
                LedgerSettings(
                    port=port,
                    folder=self.folder / "l",
                    origin=ORIGIN,
                    key=key,
                    witnesses=(WitnessAddress(vkey=vkey, url=self.url("witness")),),
                    quorum=1,
                    ready=ready,
                ),
                stop,
            ),
        )

    def tls_url(self, instance: str) -> str:
        """Where an instance of the KMS answers to identities."""
        return f"https://{LOOPBACK}:{self.ports[f'{instance}-tls']}"

    def choose_instances(self, number: int) -> None:
        """Have so many instances of the KMS, and a port for each: they know each other before they run."""
        self.instances = ("kms", *(f"kms{place}" for place in range(2, number + 1)))
        by_identity = [f"{name}-tls" for name in self.instances if self.mutual_tls]
        with contextlib.ExitStack() as held:
            for name in (*self.instances, *by_identity):
                self.ports[name] = port_of(held.enter_context(listen(LOOPBACK, 0)))

    async def run_kms(self, stack: contextlib.AsyncExitStack, *, name: str = "kms", port: int = 0) -> None:
        """An instance of the KMS, by the name of its port; `/ready` says when it serves."""
        names = [one for one in self.instances if one != name]
        others = tuple(map(self.url, names))
        mutual = None
        if self.mutual_tls:
            mutual = MutualTls(port=self.ports[f"{name}-tls"], replicas=tuple(map(self.tls_url, names)))
        constitution, contract = self.write_papers()
        made = [tee for tee in (self.tee, self.gateway_tee) if isinstance(tee, MadeTee)]
        await self._run(
            stack,
            name,
            lambda ready, stop: serve_kms(
                KmsSettings(
                    port=self.ports[name] if len(self.instances) > 1 else port,
                    ledger_urls=(self.url("ledger"),),
                    replicas=others,
                    mutual_tls=mutual,
                    constitution=constitution,
                    platform_key=self.write_key("platform", self.platform_key),
                    contracts=(contract,),
                    ready=ready,
                    follow_seconds=0.1,
                    security=self.kms_security,
                ),
                self.tee,
                stop,
                clock=wall_clock,
                endorsing=self.endorsing or MadeEndorsing(made),
            ),
        )

    async def run_gateway(self, stack: contextlib.AsyncExitStack, engine: AskedEngine) -> None:
        """The gateway with `engine` behind it, until it holds the key."""
        served = SocketEngine(await stack.enter_async_context(served_engine(engine)))
        stack.push_async_callback(served.close)
        await self.run_gateway_before(stack, served)

    async def run_gateway_before(
        self, stack: contextlib.AsyncExitStack, engines: Supply, *, queue: QueueLimits | None = None, port: int = 0
    ) -> None:
        """The gateway before engines that run already, until it holds the key."""
        clients = [await stack.enter_async_context(KmsClient(self.url(name))) for name in self.instances]
        clock = WitnessedClock(self.gateway_clock)
        keys = await self._keys(clients, clock, stack)
        gateway = assemble(self.gateway_node(), keys, engines, self.gateway_security, clock=clock, queue=queue)
        fetching = asyncio.create_task(keys.keep_fetching(seconds=1.0))
        stack.callback(fetching.cancel)
        await self._run(
            stack,
            "gateway",
            lambda ready, stop: serve_gateway(gateway, listen(LOOPBACK, port), stop, ready=ready),
        )
        await _until(lambda: not keys.missing())

    async def _keys(
        self, clients: Sequence[KmsClient], clock: WitnessedClock, stack: contextlib.AsyncExitStack
    ) -> KmsKeys:
        if not self.mutual_tls:
            return KmsKeys(Failover(clients), self.gateway_node(), clock=clock)
        urls = [self.tls_url(name) for name in self.instances]
        return await keys_by_identity(clients, urls, self.gateway_node(), clock, stack)

    async def run_relay(self, stack: contextlib.AsyncExitStack, *, port: int = 0, **limits: float) -> None:
        """The relay, before the gateway; `limits` are settings of it."""
        bundles = tuple(f"{self.url(name)}/bundles/{self.contract.digest().hex()}" for name in self.instances)
        gateways = (f"{self.url('gateway')}/gateway",)
        patient: dict[str, float] = {"client_rate": 5000, "client_burst": 10_000}
        await self._run(
            stack,
            "relay",
            lambda ready, stop: serve_relay(
                RelaySettings(port=port, bundle_urls=bundles, gateway_urls=gateways, ready=ready, **patient | limits),  # type: ignore[arg-type]
                stop,
            ),
        )

    async def _run(
        self,
        stack: contextlib.AsyncExitStack,
        name: str,
        serve: Callable[[Path, asyncio.Event], Coroutine[Any, Any, None]],
    ) -> None:
        """Start one service and wait for its port; it is stopped when the stack unwinds."""
        ready, stop = self.folder / f"{name}.port", asyncio.Event()
        ready.unlink(missing_ok=True)
        task = asyncio.create_task(serve(ready, stop))

        async def end() -> None:
            stop.set()
            await task

        stack.push_async_callback(end)
        await _until(lambda: ready.exists() or task.done())
        if task.done():
            await task
        self.ports[name] = int(ready.read_text())


async def _until_served(kms: KmsClient, contract: bytes) -> None:
    """Wait for the first bundle of a contract.

    Raises:
        TimeoutError: it did not come.
    """
    async with asyncio.timeout(START_SECONDS):
        while True:
            with contextlib.suppress(Unavailable):
                await kms.bundle(contract)
                return
            await asyncio.sleep(0.05)


async def _until(true: Callable[[], bool]) -> None:
    """Wait for what other tasks bring about, up to `START_SECONDS`.

    Raises:
        TimeoutError: it did not come about.
    """
    async with asyncio.timeout(START_SECONDS):
        while not true():  # noqa: ASYNC110 - files and states of other rooms set no event
            await asyncio.sleep(0.01)
