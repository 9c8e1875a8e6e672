"""KMS and gateway as measured processes: what they measure, bind and are refused for is what really runs."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from tests.doubles.node_processes import Service, gateway_settings, kms_settings, measured, node
from tests.doubles.sandboxes import traversable_folder
from tests.speech import form

from cloister.client.exchange import UserRequest
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay
from cloister.client.session import Session
from cloister.services.gateway.security import Runs
from cloister.testing.local_system import LocalSystem


@pytest.fixture(scope="module")
def folder():
    with traversable_folder() as path:
        yield path


@pytest.fixture(scope="module")
def found(folder):
    return measured(folder)


@pytest.fixture
def system(found, tmp_path) -> LocalSystem:
    workload, gateway, runs = found
    return LocalSystem(tmp_path, workload=workload, gateway_workload=gateway, runs=runs)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_sealed_request_is_answered_by_processes_that_were_measured(system, folder, tmp_path, workers):
    async with contextlib.AsyncExitStack() as stack:
        await system.run_ledger(stack)
        kms = await stack.enter_async_context(node("kms", system, kms_settings(system)))
        system.ports["kms"] = int((await kms.serving()).rpartition(":")[2])
        gateway = await stack.enter_async_context(
            node("gateway", system, gateway_settings(system, folder) | {"gateway_workers": workers})
        )
        system.ports["gateway"] = int((await gateway.serving()).rpartition(":")[2])
        await system.run_relay(stack)
        policy = system.trust_policy()
        memory = MemoryFile(tmp_path / "memory", genesis=policy.constitution)
        session = await stack.enter_async_context(Session(policy, memory, Relay(system.url("relay"))))
        body, content_type = form(b"RIFF a voice", model="whisper-1")
        request = UserRequest("POST", "/v1/audio/transcriptions", (("Content-Type", content_type),), body)
        answer = await session.send(request)
        assert answer.response.status == 200
        assert json.loads(await kms.told("/version"))["workload"] == system.workload.hex()
        assert json.loads(await gateway.told("/version"))["workload"] == system.gateway_workload.hex()
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
    system.runs = Runs(system.runs.sandbox, bytes(32), system.runs.model, system.runs.tier)
    system.contract = system.make_contract()
    async with contextlib.AsyncExitStack() as stack:
        await system.run_ledger(stack)
        kms = await stack.enter_async_context(node("kms", system, kms_settings(system)))
        system.ports["kms"] = int((await kms.serving()).rpartition(":")[2])
        gateway = await stack.enter_async_context(node("gateway", system, gateway_settings(system, folder)))
        async with asyncio.timeout(60):  # beside other tests on a slow machine
            while b"evidence.settings: " not in gateway.said:
                assert not await gateway.answers_ready()
                await asyncio.sleep(0.1)
