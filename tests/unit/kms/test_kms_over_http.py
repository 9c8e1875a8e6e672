"""The KMS over real sockets, asked by its own client: every refusal by the id of the step that failed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import Any

import msgspec
import pytest
from tests.doubles.kms_system import AskingNode, KmsSystem, WorldTee, served

from cloister.crypto.signing import SigningKey
from cloister.errors import Refused, Unavailable
from cloister.formats import canonical
from cloister.formats.evidence import Evidence, GpuEvidence, SecuritySettings
from cloister.formats.key_bundle import parse_key_bundle
from cloister.formats.release import ReleaseRequest, Revocation
from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_message import Origin, header
from cloister.ledger.statements import open_statement, sign_statement
from cloister.node.keys import NodeSecrets
from cloister.peers.exchange import PeerRefused
from cloister.peers.kms import KmsClient
from cloister.services.kms.kms import Kms
from cloister.services.kms.routes import MAXIMUM_REQUEST
from cloister.services.kms.service import keep
from cloister.testing import world
from cloister.trust.bundle import examine_bundle
from cloister.trust.memory import first_contact


@contextlib.asynccontextmanager
async def client_of(kms: Kms):
    async with served(kms) as url, KmsClient(url) as client:
        yield client


@pytest.fixture
def system() -> KmsSystem:
    return KmsSystem()


@pytest.fixture
def node(system) -> AskingNode:
    return AskingNode(system)


async def ask(client: KmsClient, node: AskingNode, challenge: bytes | None = None, **changes: Any):
    """What a node does: a challenge, evidence, a request."""
    answered = await client.challenge() if challenge is None else challenge
    data = node.request(answered, **changes)
    return await client.release(canonical.decode(data, ReleaseRequest, limit=65_536))


async def test_a_node_gets_its_key_over_http(system, node):
    kms = await system.started()
    async with client_of(kms) as client:
        reply = await ask(client, node)
        assert reply.index == len(system.ledger.log.entries) - 1
        data = await client.bundle(system.line)
        policy = system.policy()
        bundle = parse_key_bundle(data)
        verified = examine_bundle(bundle, policy, first_contact(policy.constitution), at=system.now).require()
        assert verified.keys.gateways[0].sign == node.secrets.public.sign


def other_challenge(node: AskingNode) -> dict[str, object]:
    return {"challenge": b"?" * 32}


def other_contract(node: AskingNode) -> dict[str, object]:
    node.contract = b"?" * 32
    return {}


def bound_to_another_contract(node: AskingNode) -> dict[str, object]:
    node.subject = b"?" * 32
    return {}


def other_key_id(node: AskingNode) -> dict[str, object]:
    node.key_id = 200
    return {}


def wrong_role(node: AskingNode) -> dict[str, object]:
    node.settings = SecuritySettings(role="kms", unsafe=node.settings.unsafe, values=node.settings.values)
    return {}


def wrong_settings(node: AskingNode) -> dict[str, object]:
    values = node.settings.values | {"date_window_seconds": 10**6}
    node.settings = msgspec.structs.replace(node.settings, values=values)
    return {}


def other_settings_shown(node: AskingNode) -> dict[str, object]:
    values = node.settings.values | {"date_window_seconds": 1}
    return {"settings": msgspec.structs.replace(node.settings, values=values)}


def one_byte_of_the_workload(node: AskingNode) -> dict[str, object]:
    workload = bytes([world.WORKLOAD[0] ^ 1]) + world.WORKLOAD[1:]
    node.tee = WorldTee(node.system.parties.platform, workload=workload)
    return {}


def another_platform_below(node: AskingNode) -> dict[str, object]:
    node.tee = WorldTee(node.system.parties.platform, platform_measurement=b"?" * 48)
    return {}


def unnamed_platform_key(node: AskingNode) -> dict[str, object]:
    node.tee = WorldTee(SigningKey.generate())
    return {}


def another_report(node: AskingNode) -> dict[str, object]:
    return {"report": world.signed_report(node.system.parties.platform, bytes(64))}


def exchanged_keys(node: AskingNode) -> dict[str, object]:
    return {"keys": NodeSecrets.generate().public}


def added_gpu(node: AskingNode) -> dict[str, object]:
    return {"gpu": (GpuEvidence(report=b"report", chain=b"chain"),)}


def unknown_platform(node: AskingNode) -> dict[str, object]:
    return {"platform": "sgx"}


def flip_in_report(node: AskingNode) -> dict[str, object]:
    report: bytes = node.evidence(b"?" * 32).report
    return {"report": report[:-1] + bytes([report[-1] ^ 1])}


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("release.challenge", other_challenge),
        ("release.contract", other_contract),
        ("evidence.subject", bound_to_another_contract),
        ("release.epoch", other_key_id),
        ("release.role", wrong_role),
        ("evidence.settings", wrong_settings),
        ("evidence.settings-digest", other_settings_shown),
        ("evidence.workload", one_byte_of_the_workload),
        ("evidence.platform-measurement", another_platform_below),
        ("evidence.signature", unnamed_platform_key),
        ("evidence.signature", flip_in_report),
        ("evidence.binding", another_report),
        ("evidence.keys", exchanged_keys),
        ("evidence.gpu", added_gpu),
        ("evidence.platform", unknown_platform),
    ],
)
async def test_each_wrong_thing_is_refused_by_its_own_check_and_only_that_is_logged(system, node, check, change):
    kms = await system.started()
    entries = len(system.ledger.log.entries)
    changes = change(node)
    async with client_of(kms) as client:
        with pytest.raises(Refused) as refused:
            await ask(client, node, **changes)
    assert refused.value.check == check
    kinds = [open_statement(entry).kind for entry in system.ledger.log.entries[entries:]]
    assert kinds == ([] if check in ("release.challenge", "release.contract") else ["refusal"])
    assert system.ledger.blobs == {}


async def test_a_challenge_is_refused_the_second_time(system, node):
    kms = await system.started()
    async with client_of(kms) as client:
        challenge = await client.challenge()
        await ask(client, node, challenge)
        with pytest.raises(Refused, match=r"release\.challenge"):
            await ask(client, node, challenge)


async def test_a_challenge_is_used_up_by_a_request_that_was_refused(system, node):
    kms = await system.started()
    async with client_of(kms) as client:
        challenge = await client.challenge()
        node.key_id = 9
        with pytest.raises(Refused, match=r"release\.epoch"):
            await ask(client, node, challenge)
        node.key_id = 1
        with pytest.raises(Refused, match=r"release\.challenge"):
            await ask(client, node, challenge)


async def test_an_expired_contract_releases_nothing(system, node):
    kms = await system.started()
    system.now = system.contract.not_after
    async with client_of(kms) as client:
        with pytest.raises(Refused, match=r"release\.validity"):
            await ask(client, node)


async def test_a_revoked_epoch_is_released_no_more(system, node):
    kms = await system.started()
    async with client_of(kms) as client:
        reply = await ask(client, node)
        target = hashlib.sha256(reply.epoch_entry).digest()
        revocation = Revocation(contract=system.line, target=target, reason="lost")
        await system.ledger.append(sign_statement("revocation", revocation, (system.parties.owner,)))
        with pytest.raises(Refused, match=r"release\.revoked"):
            await ask(client, node)


async def test_a_ledger_that_is_down_is_said_to_be_worth_another_try(system, node):
    kms = await system.started()
    async with client_of(kms) as client:
        system.ledger.down = True
        with pytest.raises(Unavailable, match="the ledger is down"):
            await ask(client, node)


async def test_a_kms_that_has_not_started_serves_nothing_yet(system, node):
    async with client_of(system.kms()) as client:
        with pytest.raises(Unavailable):
            await client.challenge()
        with pytest.raises(Unavailable):
            await client.bundle(system.line)


async def test_a_kms_that_cannot_start_says_why_to_whoever_asks(system):
    system.ledger.down = True
    kms = system.kms()
    keeper = asyncio.create_task(keep(kms, [system.contract_entry], seconds=1))
    async with client_of(kms) as client, asyncio.timeout(5):
        while not kms.trouble:  # noqa: ASYNC110 - it is the KMS that is watched, not our own code
            await asyncio.sleep(0.01)
        with pytest.raises(Unavailable, match=r"the KMS is not serving: the witnessed log.*\(the ledger is down\)"):
            await client.bundle(system.line)
    keeper.cancel()


async def test_a_kms_without_its_ledger_serves_its_bundle_and_is_not_ready_until_the_ledger_is_back(system):
    kms = await system.started()
    keeper = asyncio.create_task(keep(kms, [system.contract_entry], seconds=0.01))
    async with client_of(kms) as client, asyncio.timeout(10):
        system.ledger.down = True
        while not kms.unready():  # noqa: ASYNC110 - it is the KMS that is watched, not our own code
            await asyncio.sleep(0.01)
        assert kms.unready() == ["the log and its witnesses: the ledger is down"]
        assert await client.bundle(system.line)
        system.ledger.down = False
        while kms.unready():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    keeper.cancel()


async def test_a_request_over_its_cap_is_rejected_before_it_is_parsed(system):
    kms = await system.started()
    async with served(kms) as url:
        http = HttpClient(Origin.parse(url))
        cbor = [(b"content-type", b"application/cbor")]
        async with http.exchange(b"POST", b"/releases", cbor, b"x" * (MAXIMUM_REQUEST + 1), seconds=5) as reply:
            assert reply.status == 413
        async with http.exchange(b"POST", b"/releases", cbor, b"x" * 100, seconds=5) as reply:
            assert reply.status == 400
        await http.close()


@pytest.mark.parametrize("path", [b"/challenges", b"/releases"])
@pytest.mark.parametrize("headers", [[], [(b"content-type", b"text/plain")]])
async def test_what_a_web_page_may_send_without_asking_first_is_not_taken(system, path, headers):
    kms = await system.started()
    async with served(kms) as url:
        http = HttpClient(Origin.parse(url))
        async with http.exchange(b"POST", path, headers, b"x", seconds=5) as reply:
            assert reply.status == 415
        await http.close()


async def test_an_unknown_bundle_is_said_to_be_unknown(system):
    kms = await system.started()
    async with client_of(kms) as client:
        with pytest.raises(PeerRefused, match="no contract of this name"):
            await client.bundle(b"?" * 32)


async def test_a_bundle_may_be_cached_and_is_not_sent_again_to_who_has_it(system):
    kms = await system.started()
    async with served(kms) as url:
        http = HttpClient(Origin.parse(url))
        target = f"/bundles/{system.line.hex()}".encode()
        async with http.exchange(b"GET", target, [], seconds=5) as reply:
            assert reply.status == 200
            assert await reply.body.read(4 * 1024 * 1024)
            tag = header(reply.headers, b"etag")
            assert header(reply.headers, b"cache-control") == b"public, max-age=5"
        assert tag is not None
        async with http.exchange(b"GET", target, [(b"if-none-match", tag)], seconds=5) as reply:
            assert reply.status == 304
        for wrong in (b"/bundles/xyz", b"/bundles/" + target[-64:].upper()):
            async with http.exchange(b"GET", wrong, [], seconds=5) as reply:
                assert reply.status == 404
        await http.close()


async def test_evidence_for_one_challenge_does_not_answer_another(system, node):
    """The evidence is true and fresh, and its challenge was used by someone else: the binding cannot be moved."""
    kms = await system.started()
    async with client_of(kms) as client:
        first, second = await client.challenge(), await client.challenge()
        shown: Evidence = node.evidence(first)
        moved = msgspec.structs.replace(shown.binding, challenge=second)
        with pytest.raises(Refused, match=r"evidence\.binding"):
            await ask(client, node, second, binding=moved, report=shown.report)
