"""A machine with a deployment API, an operator's key, and relays for nodes: they keep nothing and start soon.

The API runs in the test's own process, or as one of its own that a test can kill.
"""

import asyncio
import contextlib
import signal
import socket
from pathlib import Path

import msgspec
from tests.doubles.node_processes import Service

from cloister.crypto.signing import SigningKey
from cloister.errors import Unavailable
from cloister.formats.node_manifest import Node, NodeManifest
from cloister.formats.toml_text import toml_text
from cloister.hosting.processes import ProcessName, name_of, send, wait_for_end
from cloister.hosting.settings import load
from cloister.peers.deployment import DeploymentClient
from cloister.services.deployment.service import serve_deployment
from cloister.services.deployment.settings import DeploymentSettings
from cloister.services.deployment.signed_manifest import sign_node_manifest
from cloister.storage.key_file import write_signing_key

replace = msgspec.structs.replace
NOBODY = "http://127.0.0.1:1"
PATIENCE = 60  # seconds, many times what anything takes


def free_ports(count):
    """So many ports that nobody has."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return tuple(one.getsockname()[1] for one in sockets)


class Machine:
    """One machine in `folder`. Enter it to have its API; whatever nodes run at the end are ended."""

    def __init__(self, folder: Path, *, name="alpha", apart=False, shown=None, **settings):
        self.folder, self.name, self.apart, self.shown = folder, name, apart, shown
        self.operator = SigningKey.generate()
        self.allowed = folder / "nodes"
        self.allowed.mkdir(parents=True)
        write_signing_key(folder / "operator.seed", self.operator)
        self.settings = {
            "folder": str(folder / "state"),
            "deployment": "speech",
            "machine": name,
            "operators": [self.operator.public.hex()],
            "folders": [str(self.allowed)],
        } | settings
        self.seen: set[ProcessName] = set()

    async def __aenter__(self):
        await self.begin()
        return self

    async def __aexit__(self, *raised):
        with contextlib.suppress(Unavailable):
            await self.state()
        await self.end()
        for named in self.seen:
            send(named, signal.SIGKILL)
        assert await asyncio.to_thread(wait_for_end, list(self.seen), seconds=10) == []

    async def begin(self):
        """Start the API."""
        if self.apart:
            (self.folder / "deployment.port").unlink(missing_ok=True)
            self.service = Service("deployment", self.folder, dict(self.settings))
            self.url = await self.service.serving()
            return
        ready = self.folder / "ready"
        config = self.folder / "deployment.toml"
        config.write_text(toml_text(self.settings | {"port": 0, "ready": str(ready)}, comment=lambda _: ""))
        settings = load(DeploymentSettings, service="deployment", config=config, environ={}, flags={})
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(serve_deployment(settings, self.stop))
        async with asyncio.timeout(PATIENCE):
            while not ready.exists():
                assert not self.task.done(), self.task.result()
                await asyncio.sleep(0.01)
        scheme = "https" if "tls" in self.settings else "http"
        self.url = f"{scheme}://{self.settings.get('address', '127.0.0.1')}:{int(ready.read_text())}"
        ready.unlink()

    async def end(self):
        """End the API in good order; its nodes go on."""
        if self.apart:
            assert await self.service.end() == 0
        else:
            self.stop.set()
            await self.task

    async def kill(self):
        """End the API as a crash does; its nodes go on."""
        self.service.process.kill()
        await asyncio.to_thread(self.service.process.wait, 20)

    def relay(self, upstream, name="relay", *, ports=None, **changed):
        """A node of this machine that passes requests on to `upstream`, on two ports of which it takes one."""
        ports = ports or free_ports(2)
        table = {"bundle_urls": [f"{upstream}/bundle"], "gateway_urls": [f"{upstream}/gateway"]}
        node = Node(
            name=name,
            machine=self.name,
            role="relay",
            replicas=1,
            ports=ports,
            health_ports=free_ports(len(ports)),
            host="",
            workload=b"",
            generation=0,
            ready_seconds=30,
            drain_seconds=10,
            settings=toml_text(table, comment=lambda _: ""),
        )
        return replace(node, **changed)

    def next(self, state, *nodes, **changed):
        """The revision that follows what the machine has."""
        head = state.head
        manifest = NodeManifest(
            deployment="speech",
            number=1 if head is None else head.number + 1,
            previous=b"" if head is None else bytes.fromhex(head.digest),
            restores=0,
            nodes=nodes,
        )
        return replace(manifest, **changed)

    def signed(self, manifest, key=None):
        return sign_node_manifest(manifest, key or self.operator)

    async def state(self):
        """What the API tells now."""
        async with DeploymentClient(self.url, peers=self.shown) as client:
            state = await client.state()
        self.seen.update(named for node in state.nodes if node.pid and (named := name_of(node.pid)))
        return state

    async def send(self, *signed):
        async with DeploymentClient(self.url, peers=self.shown) as client:
            await client.send(signed)

    async def apply(self, *nodes, **changed):
        """Send the next revision with these nodes, and wait until it is in force or has failed."""
        manifest = self.next(await self.state(), *nodes, **changed)
        await self.send(self.signed(manifest))
        return await self.until(lambda state: not state.working)

    async def until(self, holds):
        """The state, once `holds` says so of it."""
        async with asyncio.timeout(PATIENCE):
            while not holds(state := await self.state()):  # noqa: ASYNC110 - another process sets no event
                await asyncio.sleep(0.05)
            return state


def is_in_force(state, number):
    return state.in_force is not None and state.in_force.number == number
