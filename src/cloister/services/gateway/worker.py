"""One of several processes that serve a gateway's clients; the first process has engines, evidence and keys.

    python -m cloister.services.gateway.worker DESCRIPTOR

The descriptor is a socket to the first process. When that is gone, so is the worker, at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from cloister.crypto.hpke import KemPrivateKey
from cloister.crypto.signing import SigningKey
from cloister.errors import Unavailable
from cloister.hosting import logs
from cloister.hosting.http_inbound_server import serving
from cloister.hosting.http_inbound_state import InboundLimits
from cloister.hosting.loopback import run_until_stopped
from cloister.hosting.tls import open_server_tls
from cloister.node.witnessed_clock import WitnessedClock
from cloister.ohttp.encapsulation import UnknownKey
from cloister.sandbox.process import address_in
from cloister.secret import SecretBytes
from cloister.services.gateway.control import (
    MAXIMUM_MESSAGE,
    Control,
    Message,
    NoKey,
    Serving,
    Setup,
    State,
    Stop,
    WantKey,
    decoded,
)
from cloister.services.gateway.data_plane import DataPlaneLimits, NodeMemory, Parts, gateway_of
from cloister.services.gateway.engines import QueueLimits
from cloister.services.gateway.forking_engines import ForkingEngines
from cloister.services.gateway.inside import Endpoints
from cloister.services.gateway.keys import GatewayKey
from cloister.services.gateway.receipts import SignedReceipts
from cloister.services.gateway.replay import ReplayTable
from cloister.services.gateway.shared_counts import SharedMetrics


class HandedKeys:
    """The keys that the first process handed over, in this process's memory only."""

    def __init__(self) -> None:
        self.control: Control
        self._held: dict[bytes, GatewayKey] = {}  # by epoch
        self._by_id: dict[int, GatewayKey] = {}  # the latest of each
        self._wanted: dict[int, asyncio.Future[GatewayKey]] = {}

    def held(self, key_id: int) -> GatewayKey | None:
        """The key of that id, if it is here."""
        return self._by_id.get(key_id)

    async def key_for(self, key_id: int) -> GatewayKey:
        """The key of that id, which the first process asks the KMS for.

        Raises:
            UnknownKey: there is none that this gateway may have.
            Unavailable: that cannot be told now.
        """
        wanted = self._wanted.setdefault(key_id, asyncio.get_running_loop().create_future())
        self.control.send(WantKey(key_id))
        return await asyncio.shield(wanted)

    def take(self, state: State) -> None:
        """The keys as they are now; what is not among them is forgotten."""
        self._held = {
            key.epoch: replace(self._held[key.epoch], open_until=key.open_until)
            if key.epoch in self._held
            else GatewayKey(
                key.key_id,
                KemPrivateKey.from_bytes(key.kem, SecretBytes(key.secret)),
                key.epoch,
                key.open_until,
                key.contract,
                Endpoints(key.endpoints),
            )
            for key in state.keys
        }
        self._by_id = {key.key_id: key for key in self._held.values()}
        for key in self._held.values():
            wanted = self._wanted.pop(key.key_id, None)
            if wanted is not None and not wanted.done():
                wanted.set_result(key)

    def refuse(self, said: NoKey) -> None:
        """There is no such key."""
        wanted = self._wanted.pop(said.key_id, None)
        if wanted is not None and not wanted.done():
            wanted.set_exception(UnknownKey(said.reason) if said.unknown else Unavailable(said.reason))
            wanted.exception()  # seen, whether or not somebody still waits


class Worker:
    """Serves clients on the inherited listener until it is told to stop."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._keys = HandedKeys()
        self._missing: Sequence[str] = ("a word from the gateway's first process",)
        self._clock = WitnessedClock(time.time)  # noqa: TID251 - the outermost place that has one
        self._engines = ForkingEngines(setup.at_once, missing=lambda: self._missing)
        self._known: dict[str, int] = {}  # the folders of engines that are ready, open

    async def serve(self, control: socket.socket, stop: asyncio.Event) -> None:
        """Until `stop` is set, by a signal or by the first process."""
        setup = self._setup
        self._keys.control = Control(control, lambda message: self._hear(message, stop), _leave_at_once)
        http = InboundLimits(body_bytes=setup.request_bytes)
        gateway = gateway_of(
            Parts(
                self._keys,
                self._engines,
                SignedReceipts(SigningKey.from_seed(SecretBytes(setup.sign_seed)), clock=self._clock),
                self._clock,
            ),
            NodeMemory(
                ReplayTable.inherited(
                    setup.replays,
                    window_seconds=setup.window_seconds,
                    capacity=setup.replay_entries,
                    alone=setup.workers == 1,
                ),
                SharedMetrics(workers=setup.workers, worker=setup.worker, descriptor=setup.counts),
            ),
            DataPlaneLimits(
                http=http, queue=QueueLimits(setup.waiting_requests, setup.waiting_seconds, setup.engine_seconds)
            ),
        )
        gateway.health.about.update(setup.about)
        tls = None if setup.tls is None else open_server_tls(setup.tls)
        listener = socket.socket(fileno=setup.listener)
        listener.settimeout(0)
        async with (
            gateway.running(),
            serving(gateway, listener, limits=http, grace_seconds=max(0.0, setup.grace_seconds - 1), tls=tls),
        ):
            self._keys.control.send(Serving())
            await stop.wait()

    def _hear(self, message: Message, stop: asyncio.Event) -> None:
        if isinstance(message, Stop):
            stop.set()
        elif isinstance(message, NoKey):
            self._keys.refuse(message)
        elif isinstance(message, State):
            self._keys.take(message)
            self._clock.hear(message.witnessed)
            self._missing = message.missing
            self._meet(message.engines)

    def _meet(self, folders: Sequence[str]) -> None:
        for folder in set(self._known) - set(folders):
            descriptor = self._known.pop(folder)
            self._engines.remove(address_in(descriptor))
            os.close(descriptor)
        for folder in folders:
            if folder not in self._known:
                self._known[folder] = os.open(folder, os.O_PATH | os.O_DIRECTORY)
                self._engines.add(address_in(self._known[folder]))


def _leave_at_once() -> None:
    os._exit(0)  # keys and clients' words with it


def main() -> None:
    """Be the worker that the descriptor in the arguments says."""
    control = socket.socket(fileno=int(sys.argv[1]))
    setup = decoded(control.recv(MAXIMUM_MESSAGE))
    assert isinstance(setup, Setup)
    logs.configure("gateway", level=setup.log_level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def serve(stop: asyncio.Event) -> None:
        await Worker(setup).serve(control, stop)

    run_until_stopped(serve)


if __name__ == "__main__":
    main()
