"""One request through every role on real sockets: client, relay, gateway, KMS, ledger, witness."""

from __future__ import annotations

import contextlib
import time

import pytest
from tests.doubles.whole_system import eventually

from cloister.client.exchange import UserRequest
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay
from cloister.client.session import Session
from cloister.contract.fold import begin, fold
from cloister.errors import Unavailable
from cloister.formats.binary_http import Response
from cloister.formats.release import parse_release
from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_message import Origin
from cloister.ledger.statements import open_statement
from cloister.node.witnessed_clock import WitnessedClock
from cloister.peers.kms import KmsClient
from cloister.peers.ledger import LedgerClient
from cloister.services.gateway.keys import KeyWithheld
from cloister.services.gateway.kms_keys import KmsKeys
from cloister.testing.local_system import LocalSystem

AUDIO = UserRequest("POST", "/v1/audio/transcriptions", (("Content-Type", "audio/wav"),), b"RIFF a voice")


class Echo:
    """An engine that answers what it was asked."""

    def missing(self):
        return ()

    async def ask(self, request, *, seconds):
        return Response(200, (("content-type", "text/plain"),), b"heard " + request.body)


def session_with(system: LocalSystem, tmp_path) -> Session:
    policy = system.trust_policy()
    return Session(policy, MemoryFile(tmp_path / "memory", genesis=policy.constitution), Relay(system.url("relay")))


async def served(kms: KmsClient, system: LocalSystem) -> bool:
    with contextlib.suppress(Unavailable):
        return bool(await kms.bundle(system.contract.digest()))
    return False


async def newer_epoch(session: Session, than: int) -> bool:
    with contextlib.suppress(Unavailable):
        return (await session.examine()).require().keys.active.number > than
    return False


async def test_a_request_is_answered_through_the_whole_chain(tmp_path):
    system = LocalSystem(tmp_path)
    async with system.running(Echo()), session_with(system, tmp_path) as session:
        answer = await session.send(AUDIO)
        assert answer.response.body == b"heard RIFF a voice"
        assert answer.verified.gateway == system.secrets.sign.public
        examination = await session.examine()
        assert examination.failed == []


async def test_the_log_that_anyone_can_replay_says_all_that_happened_and_the_evidence_can_be_fetched(tmp_path):
    system = LocalSystem(tmp_path)
    async with system.running(Echo()), LedgerClient(system.url("ledger")) as ledger:
        note = (await ledger.checkpoint()).decode()
        entries = await ledger.entries(0, int(note.split("\n")[1]))
        release = parse_release(open_statement(entries[-1]).payload)
        assert await ledger.get_blob(release.evidence)
    assert [open_statement(entry).kind for entry in entries] == ["constitution", "contract", "kms", "epoch", "release"]
    state = fold(begin(entries[0], genesis=system.constitution.digest()), entries[1:])
    assert state.void == 0
    assert release.node == system.secrets.public


async def test_a_kms_that_restarts_begins_an_epoch_and_everyone_goes_on(tmp_path):
    """Its keys are gone with it; the gateway fetches the new one, the client a new bundle."""
    system = LocalSystem(tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        await system.run_ledger(stack)
        kms = await stack.enter_async_context(contextlib.AsyncExitStack())
        await system.run_kms(kms)
        await system.run_gateway(stack, Echo())
        await system.run_relay(stack)
        session = await stack.enter_async_context(session_with(system, tmp_path))
        first = await session.send(AUDIO)
        await kms.aclose()
        port = system.ports["kms"]
        await system.run_kms(kms, port=port)
        await eventually(lambda: newer_epoch(session, first.verified.epoch.number))
        second = await session.send(AUDIO)
        assert second.verified.epoch.number == first.verified.epoch.number + 1


async def test_a_gateway_of_another_byte_gets_no_key_and_says_which_check_failed(tmp_path):
    system = LocalSystem(tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        await system.run_ledger(stack)
        await system.run_kms(stack)
        client = await stack.enter_async_context(KmsClient(system.url("kms")))
        system.gateway_workload = bytes([system.gateway_workload[0] ^ 1]) + system.gateway_workload[1:]
        keys = KmsKeys(client, system.gateway_node(), clock=WitnessedClock(time.time))
        await eventually(lambda: served(client, system))
        with pytest.raises(KeyWithheld, match=r"evidence\.workload"):
            await keys.fetch_ahead()


async def test_every_role_says_that_it_is_ready(tmp_path):
    system = LocalSystem(tmp_path)
    async with system.running(Echo()):
        for service in ("witness", "ledger", "kms", "gateway"):
            client = HttpClient(Origin.parse(system.url(service)))
            async with client.exchange(b"GET", b"/ready", [], seconds=5) as reply:
                assert reply.status == 200, await reply.body.read(10_000)
            await client.close()
