"""Gateways under a deployment API, measured and in sandboxes, replaced while sealed requests pass through them.

`make rollouts` runs it: it takes half a minute. The same of relays is in `test_deployment.py`, at every run.
"""

import asyncio
import contextlib
import os

import msgspec
import pytest
from tests.doubles.deployed_machine import Machine, free_ports, is_in_force
from tests.doubles.node_processes import gateway_settings, measured
from tests.doubles.relays import relay_before
from tests.doubles.sandboxes import traversable_folder
from tests.speech import form

from cloister.client.exchange import UserRequest
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay
from cloister.client.session import Session
from cloister.formats.node_manifest import Node
from cloister.formats.toml_text import toml_text
from cloister.testing.local_system import LocalSystem

replace = msgspec.structs.replace
ROLLOUTS = int(os.environ.get("ROLLOUTS", "0"))
CLIENTS = 2
PAUSE_SECONDS = 0.05  # between a client's requests


@pytest.fixture
def folder():
    with traversable_folder() as path:
        yield path


class Load:
    """Sealed requests, one after the other from each client, until it is told to stop."""

    def __init__(self, session):
        self.session, self.answered, self.stopped = session, 0, False

    async def client(self):
        body, content_type = form(b"RIFF a voice", model="whisper-1")
        request = UserRequest("POST", "/v1/audio/transcriptions", (("Content-Type", content_type),), body)
        while not self.stopped:
            answer = await self.session.send(request)
            assert answer.response.status == 200
            self.answered += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async def more(self, count):
        """Wait for so many more answers."""
        wanted = self.answered + count
        async with asyncio.timeout(60):
            while self.answered < wanted:  # noqa: ASYNC110 - counted in other tasks
                await asyncio.sleep(0.01)

    @contextlib.asynccontextmanager
    async def running(self):
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self.client())
            yield self
            self.stopped = True


@pytest.mark.skipif(not ROLLOUTS, reason="takes half a minute: make rollouts")
async def test_gateways_are_replaced_under_load_and_no_request_is_lost(tmp_path, folder):
    _, workload, runs = measured(folder)
    system = LocalSystem(tmp_path, gateway_workload=workload, runs=runs)
    async with contextlib.AsyncExitStack() as stack:
        await system.run_ledger(stack)
        await system.run_kms(stack)
        folders = [str(folder), str(system.folder)]
        machine = await stack.enter_async_context(Machine(tmp_path / "machine", folders=folders))
        ports = free_ports(2)
        node = Node(
            name="gate",
            machine="alpha",
            role="gateway",
            replicas=1,
            ports=ports,
            health_ports=(),
            host="",
            workload=workload,
            generation=0,
            ready_seconds=60,
            drain_seconds=20,
            settings=toml_text(gateway_settings(system, folder), comment=lambda _: ""),
        )
        assert is_in_force(await machine.apply(node), 1)
        urls = [f"http://127.0.0.1:{port}/gateway" for port in ports]
        bundle = f"{system.url('kms')}/bundles/{system.contract.digest().hex()}"
        relay = await stack.enter_async_context(relay_before(*urls, bundle=bundle, client_rate=5000))
        policy = system.trust_policy()
        memory = MemoryFile(tmp_path / "memory", genesis=policy.constitution)
        session = await stack.enter_async_context(Session(policy, memory, Relay(f"http://127.0.0.1:{relay.port}")))
        async with Load(session).running() as load:
            await load.more(10)
            for turn in range(1, ROLLOUTS + 1):
                state = await machine.apply(replace(node, generation=turn))
                assert is_in_force(state, turn + 1)
                assert [(one.name, one.restarts) for one in state.nodes] == [(f"gate/{ports[turn % 2]}", 0)]
                await load.more(10)
