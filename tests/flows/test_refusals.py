"""What the parts of a running system refuse, by name, where an operator, a relay or a host breaks the rules."""

import asyncio
import contextlib
import json
import shutil
import time
from dataclasses import replace

import pytest
from tests.doubles import dishonest_gateway
from tests.doubles.dishonest_gateway import Receipts, lying_gateway
from tests.doubles.installation import Installation
from tests.doubles.node_processes import gateway_settings, measured, node
from tests.doubles.proxies import call
from tests.doubles.sandboxes import traversable_folder
from tests.doubles.whole_system import eventually, proxied, tap_before
from tests.speech import form

from cloister.client.exchange import NotAdmitted, UserRequest, check_request, open_answer, seal
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay
from cloister.client.session import Session
from cloister.crypto.signing import SigningKey
from cloister.errors import Unavailable
from cloister.formats.binary_http import Response
from cloister.formats.release import Revocation
from cloister.ledger.statements import sign_statement
from cloister.node.keys import NodeSecrets
from cloister.node.witnessed_clock import WitnessedClock
from cloister.peers.kms import KmsClient
from cloister.peers.ledger import LedgerClient
from cloister.services.gateway.keys import KeyWithheld
from cloister.services.gateway.kms_keys import KmsKeys
from cloister.services.kms.security import KmsSecurity
from cloister.testing.local_system import LocalSystem
from cloister.trust.bundle import BundleRefused

BODY, CONTENT_TYPE = form(b"RIFF a voice", model="whisper-1")
REQUEST = UserRequest("POST", "/v1/audio/transcriptions", (("Content-Type", CONTENT_TYPE),), BODY)
HEARD = b"a transcript"


class Engine:
    """Answers each request alike, and counts them."""

    def __init__(self):
        self.asked = 0

    def missing(self):
        return ()

    async def ask(self, request, *, seconds):
        self.asked += 1
        return Response(200, (("content-type", "text/plain"),), HEARD)


def session_of(system, folder):
    policy = system.trust_policy()
    return Session(policy, MemoryFile(folder / "memory", genesis=policy.constitution), Relay(system.url("relay")))


async def serves(system):
    """Whether its KMS serves the contract."""
    with contextlib.suppress(Unavailable):
        async with KmsClient(system.url("kms")) as kms:
            return bool(await kms.bundle(system.contract.digest()))
    return False


def error_in(body):
    return json.loads(body)["error"]


async def test_behind_a_second_genuine_kms_nothing_is_sent_and_its_genesis_is_named(tmp_path):
    """The same code, platform, log key and signers; but a witness of the operator's own."""
    engine, pinned = Engine(), LocalSystem(tmp_path)
    (tmp_path / "second").mkdir()
    second = LocalSystem(
        tmp_path / "second",
        log_key=pinned.log_key,
        platform_key=pinned.platform_key,
        owner=pinned.owner,
        operator=pinned.operator,
    )
    async with second.running(engine), contextlib.AsyncExitStack() as stack:
        before_gateway = await tap_before("gateway", second, stack)
        await second.run_relay(stack)
        pinned.ports["relay"] = second.ports["relay"]
        proxy = await stack.enter_async_context(proxied(pinned, tmp_path))
        status, _, body = await call(proxy, BODY, CONTENT_TYPE)
        assert (status, error_in(body)["code"]) == (502, "constitution.genesis")
        assert not before_gateway.addresses
        # Its own users are served: the relay, the gateway and the tap work.
        session = await stack.enter_async_context(session_of(second, tmp_path / "second"))
        assert (await session.send(REQUEST)).response.body == HEARD
        assert len(before_gateway.forward) > len(BODY)
    assert engine.asked == 1


async def test_a_gateway_with_one_byte_of_one_dependency_changed_gets_no_key(tmp_path):
    """The same installation and the same command, before and after one byte."""
    with traversable_folder() as folder:
        installation = Installation(folder, own=("cbor2",))
        python = str(installation.python)
        _, workload, runs = measured(folder, interpreter=python)
        system = LocalSystem(tmp_path, gateway_workload=workload, runs=runs)
        async with contextlib.AsyncExitStack() as stack:
            await system.run_ledger(stack)
            await system.run_kms(stack)
            settings = gateway_settings(system, folder)
            async with node("gateway", system, dict(settings), interpreter=python) as genuine:
                await genuine.serving()
            changed = folder / "libraries" / "cbor2" / "__init__.py"
            changed.write_bytes(changed.read_bytes()[:-1] + b" ")
            async with node("gateway", system, dict(settings), interpreter=python) as other, asyncio.timeout(30):
                while b"evidence.workload: " not in other.said:
                    assert not await other.answers_ready()
                    await asyncio.sleep(0.1)


async def test_an_answer_that_its_receipt_does_not_prove_is_not_shown_and_the_check_is_named(tmp_path):
    system = LocalSystem(tmp_path)
    lies: list[tuple[str, dict[str, object]]] = [
        ("receipt.request", {"lie": dishonest_gateway.another_request}),
        ("receipt.response", {"lie": dishonest_gateway.another_answer}),
        ("receipt.time", {"lie": dishonest_gateway.long_ago}),
        ("receipt.contract", {"contract": bytes(32)}),
        ("receipt.epoch", {"epoch": bytes(32)}),
        ("receipt.key", {"key": SigningKey.generate()}),
    ]
    async with contextlib.AsyncExitStack() as stack:
        await system.run_ledger(stack)
        await system.run_kms(stack)
        await stack.enter_async_context(lying_gateway(system, Engine(), receipts := Receipts(system)))
        await system.run_relay(stack)
        proxy = await stack.enter_async_context(proxied(system, tmp_path))
        assert (await call(proxy, BODY, CONTENT_TYPE))[2] == HEARD
        shown = set((tmp_path / "receipts").iterdir())
        for check, changes in lies:
            truth = {name: getattr(receipts, name) for name in changes}
            receipts.tell(**changes)
            status, _, body = await call(proxy, BODY, CONTENT_TYPE)
            receipts.tell(**truth)
            assert (status, error_in(body)["code"]) == (502, check)
            assert HEARD not in body
        assert set((tmp_path / "receipts").iterdir()) == shown


def one_bit_at_the_end(piece):
    """Another body; a head that came alone stays as it is."""
    return piece if piece.endswith(b"\r\n\r\n") else piece[:-1] + bytes([piece[-1] ^ 1])


async def test_an_answer_altered_on_the_way_is_not_shown(tmp_path):
    system = LocalSystem(tmp_path)
    async with system.running(Engine()), contextlib.AsyncExitStack() as stack:
        tap = await tap_before("relay", system, stack)
        proxy = await stack.enter_async_context(proxied(system, tmp_path))
        assert (await call(proxy, BODY, CONTENT_TYPE))[2] == HEARD
        shown = set((tmp_path / "receipts").iterdir())
        tap.alter = one_bit_at_the_end
        status, _, body = await call(proxy, BODY, CONTENT_TYPE)
        assert (status, error_in(body)["code"]) == (502, "answer_not_opened")
        assert HEARD not in body
        assert set((tmp_path / "receipts").iterdir()) == shown


async def test_a_request_is_answered_once_whoever_sends_it_again_and_also_after_a_restart(tmp_path):
    engine, system = Engine(), LocalSystem(tmp_path)
    async with system.running(engine), contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(session_of(system, tmp_path))
        held, date = await session.hold(), int(time.time()) + 1
        sealed = seal(REQUEST, check_request(REQUEST), held.verified.key_config, at=date)
        relay = await stack.enter_async_context(Relay(system.url("relay")))
        first = open_answer(sealed, (await relay.post(sealed.data)).body)
        assert first.response.body == HEARD
        with pytest.raises(NotAdmitted, match="answered before"):
            open_answer(sealed, (await relay.post(sealed.data)).body)
        await asyncio.sleep(max(0, date - time.time()))
        await system.run_gateway(stack, engine)
        restarted = await stack.enter_async_context(Relay(system.url("gateway")))
        with pytest.raises(NotAdmitted, match="date") as refusal:
            open_answer(sealed, (await restarted.post(sealed.data)).body)
        assert refusal.value.wrong_date
    assert engine.asked == 1


@contextlib.asynccontextmanager
async def stopped(log, system):
    """The log's folder, while its host has stopped it; afterwards it answers again where it did."""
    port = system.ports["ledger"]
    await log.aclose()
    yield system.folder / "l"
    await system.run_log(log, port=port)


async def ask_for_a_key(system):
    """What another gateway that starts now does first."""
    node = replace(system.gateway_node(), secrets=NodeSecrets.generate())
    async with KmsClient(system.url("kms")) as kms:
        await KmsKeys(kms, node, clock=WitnessedClock(time.time)).fetch_ahead()


async def test_a_ledger_restored_from_a_backup_gets_no_key_out_and_no_cosignature_and_service_goes_on(tmp_path):
    system = LocalSystem(tmp_path, kms_security=KmsSecurity(head_seconds=1))
    async with contextlib.AsyncExitStack() as stack:
        await system.run_witness(stack)
        log = await stack.enter_async_context(contextlib.AsyncExitStack())
        await system.run_log(log)
        await system.run_kms(stack)
        await eventually(lambda: serves(system))
        async with stopped(log, system) as disk:
            shutil.copytree(disk, tmp_path / "backup")
        await system.run_gateway(stack, Engine())
        await system.run_relay(stack)
        session = await stack.enter_async_context(session_of(system, tmp_path))
        await session.send(REQUEST)
        async with stopped(log, system) as disk:
            disk.rename(tmp_path / "newest")
            (tmp_path / "backup").rename(disk)
        with pytest.raises(KeyWithheld, match=r"kms\.log-continuity"):
            await ask_for_a_key(system)
        async with LedgerClient(system.url("ledger")) as ledger:
            with pytest.raises(Unavailable, match="cosigned 5 entries"):
                await ledger.renew_checkpoint()
        await asyncio.sleep(1.5)  # a new state head is due, and cannot be had
        assert (await session.examine()).failed == []
        assert (await session.send(REQUEST)).response.body == HEARD
        async with stopped(log, system) as disk:
            shutil.rmtree(disk)
            (tmp_path / "newest").rename(disk)
        await ask_for_a_key(system)


async def refuses(session):
    """Whether what the relay has now is no bundle for this client."""
    return bool((await session.examine()).failed)


async def test_with_its_witness_restored_too_the_kms_still_refuses_and_after_a_restart_the_client_does(tmp_path):
    """What the operator cannot restore is the KMS's memory while it runs, and the client's."""
    system = LocalSystem(tmp_path, kms_security=KmsSecurity(head_seconds=1))
    async with contextlib.AsyncExitStack() as stack:
        witness, log, kms = [await stack.enter_async_context(contextlib.AsyncExitStack()) for _ in range(3)]
        await system.run_witness(witness)
        await system.run_log(log)
        await system.run_kms(kms)
        await eventually(lambda: serves(system))
        async with stopped(log, system) as disk:
            shutil.copytree(disk, tmp_path / "old log")
            shutil.copytree(tmp_path / "w", tmp_path / "old witness")
        await system.run_gateway(stack, engine := Engine())
        await system.run_relay(stack)
        session = await stack.enter_async_context(session_of(system, tmp_path))
        await session.send(REQUEST)
        async with stopped(log, system) as disk:
            port = system.ports["witness"]
            await witness.aclose()
            for restored, place in (("old log", disk), ("old witness", tmp_path / "w")):
                shutil.rmtree(place)
                (tmp_path / restored).rename(place)
            await system.run_witness(witness, port=port)
        async with LedgerClient(system.url("ledger")) as ledger:
            for number in range(3):
                statement = Revocation(contract=bytes(32), target=bytes([number] * 32), reason="another history")
                await ledger.append(sign_statement("revocation", statement, [system.operator]))
        with pytest.raises(KeyWithheld, match=r"^kms\.log: "):
            await ask_for_a_key(system)
        assert (await session.send(REQUEST)).response.body == HEARD
        port = system.ports["kms"]
        await kms.aclose()
        await system.run_kms(kms, port=port)
        await eventually(lambda: refuses(session))  # until then the relay has the last bundle from before
        later = await stack.enter_async_context(session_of(system, tmp_path))
        with pytest.raises(BundleRefused, match=r"checkpoint\.consistency"):
            await later.send(REQUEST)
    assert engine.asked == 2
