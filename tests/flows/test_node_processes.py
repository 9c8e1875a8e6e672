"""KMS and gateway as measured processes: what they measure, bind and are refused for is what really runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.doubles.sandboxes import traversable_folder
from tests.speech import form

from cloister.client.exchange import UserRequest
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay
from cloister.client.session import Session
from cloister.errors import Unavailable
from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_message import Origin
from cloister.services.gateway.security import Runs
from cloister.tee.launch import measured_python
from cloister.testing.local_system import LocalSystem

MEASURE = """
import json, sys
from pathlib import Path
from cloister.node.device import measured_workload
from cloister.sandbox.closure import ECHO, stage, staging_folder
from cloister.sandbox.plan import plan
from cloister.services.gateway.service import measured_beside, what_runs
planned = plan()
runs = what_runs(stage(ECHO, staging_folder(Path(sys.argv[1]))), planned)
workloads = [measured_workload(extra).hex() for extra in ({}, measured_beside(planned))]
print(json.dumps([*workloads, runs.sandbox.hex(), runs.engine.hex(), runs.model.hex()]))
"""


@pytest.fixture(scope="module")
def folder():
    with traversable_folder() as path:
        yield path


@pytest.fixture(scope="module")
def measured(folder) -> tuple[bytes, bytes, Runs]:
    """What a node started here would measure, found as `cloister up` finds it: in a process started likewise."""
    said = subprocess.run(
        [*measured_python(), "-c", MEASURE, str(folder)], capture_output=True, check=True, timeout=60
    ).stdout
    workload, gateway, *digests = (bytes.fromhex(text) for text in json.loads(said))
    return workload, gateway, Runs(*digests)


@pytest.fixture
def system(folder, measured, tmp_path) -> LocalSystem:
    workload, gateway, runs = measured
    return LocalSystem(tmp_path, workload=workload, gateway_workload=gateway, runs=runs)


def toml(values: dict[str, object]) -> str:
    """Settings as a file has them."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


class Service:
    """One service as a process of its own."""

    def __init__(self, name: str, folder: Path, values: dict[str, object]) -> None:
        self.ready = folder / f"{name}.port"
        config = folder / f"{name}.toml"
        table = "".join(f"[security]\n{toml(values.pop('security', {}))}")  # type: ignore[arg-type]
        config.write_text(toml({"port": 0, "ready": str(self.ready)} | values) + table)
        command = [*measured_python(), "-m", "cloister", "service", name, "--config", str(config)]
        self.said = b""
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]})

    async def serving(self) -> str:
        """Its URL, once it is ready."""
        async with asyncio.timeout(30):
            while not await self.answers_ready():
                assert self.process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.05)
        return self.url

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{int(self.ready.read_text())}"

    async def answers_ready(self) -> bool:
        """Whether it says that it is ready; `said` keeps its words."""
        if not self.ready.exists():
            return False
        client = HttpClient(Origin.parse(self.url))
        try:
            async with client.exchange(b"GET", b"/ready", [], seconds=5) as reply:
                self.said = await reply.body.read(10_000)
                return reply.status == 200
        except Unavailable:
            return False
        finally:
            await client.close()

    async def end(self) -> int:
        """Its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 8)


def kms_settings(system: LocalSystem) -> dict[str, object]:
    constitution, contract = system.write_papers()
    return {
        "ledger_url": system.url("ledger"),
        "constitution": str(constitution),
        "contracts": [str(contract)],
        "platform_key": str(system.write_key("platform", system.platform_key)),
        "security": {"head_seconds": system.kms_security.head_seconds},
    }


def gateway_settings(system: LocalSystem, folder: Path) -> dict[str, object]:
    return {
        "kms_url": system.url("kms"),
        "contract": str(system.folder / "contract.entries"),
        "platform_key": str(system.write_key("platform", system.platform_key)),
        "state": str(folder),
        "run_folder": str(folder / "run"),
        "engine": "echo",
    }


@contextlib.asynccontextmanager
async def node(name: str, system: LocalSystem, values: dict[str, object]):
    """A service that is ended, in time and in good order."""
    service = Service(name, system.folder, values)
    try:
        yield service
    finally:
        status = await service.end()
    assert status == 0, service.log.read_text()


async def test_a_sealed_request_is_answered_by_processes_that_were_measured(system, folder, tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        await system.run_ledger(stack)
        kms = await stack.enter_async_context(node("kms", system, kms_settings(system)))
        system.ports["kms"] = int((await kms.serving()).rpartition(":")[2])
        gateway = await stack.enter_async_context(node("gateway", system, gateway_settings(system, folder)))
        system.ports["gateway"] = int((await gateway.serving()).rpartition(":")[2])
        await system.run_relay(stack)
        policy = system.trust_policy()
        memory = MemoryFile(tmp_path / "memory", genesis=policy.constitution)
        session = await stack.enter_async_context(Session(policy, memory, Relay(system.url("relay"))))
        body, content_type = form(b"RIFF a voice", model="whisper-1")
        request = UserRequest("POST", "/v1/audio/transcriptions", (("Content-Type", content_type),), body)
        answer = await session.send(request)
        assert answer.response.status == 200
    assert b"RIFF" not in kms.log.read_bytes() + gateway.log.read_bytes()


async def test_a_kms_with_another_setting_than_its_constitution_names_ends_with_the_refusal(system):
    async with contextlib.AsyncExitStack() as stack:
        await system.run_ledger(stack)
        settings = kms_settings(system) | {"security": {"head_seconds": 6}}
        kms = Service("kms", system.folder, settings)
        try:
            status = await asyncio.to_thread(kms.process.wait, 30)
        finally:
            await kms.end()
        assert status == 3
        assert "evidence.settings" in kms.log.read_text()


async def test_a_gateway_whose_engine_the_contract_does_not_name_is_never_ready_and_says_why(system, folder):
    system.runs = Runs(system.runs.sandbox, bytes(32), system.runs.model)
    system.contract = system.make_contract()
    async with contextlib.AsyncExitStack() as stack:
        await system.run_ledger(stack)
        kms = await stack.enter_async_context(node("kms", system, kms_settings(system)))
        system.ports["kms"] = int((await kms.serving()).rpartition(":")[2])
        gateway = await stack.enter_async_context(node("gateway", system, gateway_settings(system, folder)))
        async with asyncio.timeout(20):
            while b"evidence.settings: " not in gateway.said:
                assert not await gateway.answers_ready()
                await asyncio.sleep(0.1)
