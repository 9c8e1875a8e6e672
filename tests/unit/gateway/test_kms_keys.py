"""A gateway gets its keys from a KMS that it has examined, which has examined it."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib

import msgspec
import pytest
from tests.doubles.kms_system import SECURITY, KmsSystem, Link, WorldTee, served

from cloister.crypto.signing import SigningKey
from cloister.formats.contract import Endpoint
from cloister.formats.evidence import SecuritySettings
from cloister.formats.release import Revocation
from cloister.formats.response_receipt import RECEIPT_HEADER, SALT_HEADER
from cloister.ledger.statements import sign_statement
from cloister.node.keys import NodeSecrets
from cloister.node.witnessed_clock import WitnessedClock
from cloister.ohttp.encapsulation import UnknownKey
from cloister.peers.failover import Failover
from cloister.peers.kms import KmsClient
from cloister.provenance.answer import summarise
from cloister.services.gateway.contract import ServedContract, open_contract, trust_policy
from cloister.services.gateway.keys import KeyRing, KeyWithheld
from cloister.services.gateway.kms_keys import GatewayNode, KmsKeys
from cloister.services.gateway.receipts import SignedReceipts
from cloister.services.gateway.replay import DateNotAcceptable, ReplayTable
from cloister.services.gateway.security import GatewaySecurity, Runs, security_settings, under
from cloister.testing import world
from cloister.trust.bundle import examine_bundle
from cloister.trust.memory import first_contact
from cloister.trust.receipt import Exchange, examine_receipt


@pytest.fixture
def system() -> KmsSystem:
    return KmsSystem()


def node_of(system: KmsSystem, *, tee: WorldTee | None = None, settings: SecuritySettings | None = None) -> GatewayNode:
    contract = open_contract([system.contract_entry])
    return GatewayNode(
        tee or system.tee,
        NodeSecrets.generate(),
        settings or world.security_settings("gateway"),
        contract,
        trust_policy(contract, GatewaySecurity()),
    )


@contextlib.asynccontextmanager
async def keys_over(system: KmsSystem, kms, **changes):
    async with served(kms) as url, KmsClient(url) as client:
        yield KmsKeys(client, node_of(system, **changes), clock=WitnessedClock(lambda: system.now))


async def test_the_key_is_fetched_ahead_and_opens_until_its_stale_window_ends(system):
    kms = await system.started()
    async with keys_over(system, kms) as keys:
        assert keys.missing() == ["a transport key: the KMS was not asked yet"]
        await keys.fetch_ahead()
        assert keys.missing() == []
        policy = system.policy()
        bundle = system.bundle(kms)
        active = examine_bundle(bundle, policy, first_contact(policy.constitution), at=system.now).require().keys.active
        key = await keys.key_for(1)
        assert key.private.public == active.key_config.public
        assert key.epoch == active.digest
        assert key.open_until == active.stale_until


async def test_a_key_is_released_once_however_often_it_is_asked_for(system):
    kms = await system.started()
    async with keys_over(system, kms) as keys:
        first = await keys.key_for(1)
        await keys.fetch_ahead()
        assert await keys.key_for(1) is first
    assert len(system.ledger.blobs) == 1


async def test_a_key_that_clients_were_not_shown_is_unknown(system):
    kms = await system.started()
    async with keys_over(system, kms) as keys:
        with pytest.raises(UnknownKey):
            await keys.key_for(77)


async def test_a_stale_key_is_forgotten(system):
    kms = await system.started()
    async with keys_over(system, kms) as keys:
        key = await keys.key_for(1)
        system.now = key.open_until
        assert keys.missing()
        with pytest.raises(UnknownKey):
            await keys.key_for(1)


async def test_a_gateway_that_the_kms_refuses_says_which_check_failed(system):
    kms = await system.started()
    async with keys_over(system, kms, tee=WorldTee(system.parties.platform, workload=b"?" * 48)) as keys:
        with pytest.raises(KeyWithheld, match=r"evidence\.workload"):
            await keys.fetch_ahead()


async def test_a_gateway_with_other_settings_than_its_contract_names_gets_no_key(system):
    kms = await system.started()
    settings = world.security_settings("gateway")
    other = msgspec.structs.replace(settings, values=settings.values | {"endpoints": "GET /v1/models"})
    async with keys_over(system, kms, settings=other) as keys:
        with pytest.raises(KeyWithheld, match=r"evidence\.settings:"):
            await keys.fetch_ahead()


async def test_a_second_genuine_kms_is_a_stranger_and_sees_no_evidence(system):
    """Its constitution is its own, its code and platform are the same: the gateway does not even ask it for a key."""
    stranger = KmsSystem()
    stranger.parties = system.parties
    contract = stranger.world.make_contract(constitution=stranger.constitution.digest())
    kms = stranger.kms()
    await kms.start([stranger.contract_entry])
    node = node_of(system)
    async with served(kms) as url, KmsClient(url) as client:
        served_there = ServedContract(stranger.line, contract)
        pinned = msgspec.structs.replace(node.policy, contract=stranger.line)
        keys = KmsKeys(
            client,
            GatewayNode(node.tee, node.secrets, node.settings, served_there, pinned),
            clock=WitnessedClock(lambda: stranger.now),
        )
        with pytest.raises(KeyWithheld, match=r"constitution\.genesis"):
            await keys.fetch_ahead()
    assert stranger.ledger.blobs == {}


async def test_a_kms_whose_state_is_old_is_not_asked(system):
    kms = await system.started()
    system.now += GatewaySecurity().maximum_state_age_seconds + GatewaySecurity().maximum_clock_skew_seconds + 1
    async with keys_over(system, kms) as keys:
        with pytest.raises(KeyWithheld, match=r"checkpoint\.age"):
            await keys.fetch_ahead()


class OldBundle(KmsClient):
    """A real KMS behind a host that keeps back every bundle but an old one."""

    def __init__(self, url, kept):
        super().__init__(url)
        self.kept = kept

    async def bundle(self, contract):
        return self.kept


async def with_the_clock_set_back(system, *, seconds):
    """The KMS `seconds` after a bundle was kept, that bundle, and a gateway's clock that stands at its time."""
    kms = await system.started()
    kept, then = kms.bundle(system.line).data, system.now
    system.now += seconds
    await kms.follow()
    return kms, kept, WitnessedClock(lambda: then)


async def test_with_the_hosts_clock_set_back_a_release_tells_the_time_and_an_old_request_is_refused(system):
    then = system.now
    kms, kept, clock = await with_the_clock_set_back(system, seconds=500)
    replays = ReplayTable(window_seconds=300, capacity=10, started=then - 1000)
    async with served(kms) as url, OldBundle(url, kept) as client:
        await KmsKeys(client, node_of(system), clock=clock).key_for(1)
    assert system.now <= clock() < system.now + 60
    with pytest.raises(DateNotAcceptable):
        replays.admit(b"answered long ago", then, now=int(clock()))


async def test_a_bundle_that_a_release_shows_to_be_old_is_not_acted_on(system):
    usual = GatewaySecurity()
    old = usual.maximum_state_age_seconds + usual.maximum_clock_skew_seconds + 1
    kms, kept, clock = await with_the_clock_set_back(system, seconds=old)
    async with served(kms) as url, OldBundle(url, kept) as client:
        keys = KmsKeys(client, node_of(system), clock=clock)
        with pytest.raises(KeyWithheld, match=r"checkpoint\.age"):
            await keys.key_for(1)
        assert keys.missing()


async def amended(system, kms, keys, appraisal=None, **changes):
    """The contract is followed by one with these changes of its task, and the gateway looks for what is in force."""
    before = system.contract
    successor = msgspec.structs.replace(
        before,
        sequence=1,
        previous=before.digest(),
        tasks=(msgspec.structs.replace(before.serving, **changes),),
        appraisal=appraisal or before.appraisal,
    )
    await system.ledger.append(system.sign_contract(successor))
    await kms.follow()
    keys._examined_at = float("-inf")
    return successor


async def test_a_gateway_goes_on_under_the_contract_that_is_in_force_now(system):
    kms = await system.started()
    async with keys_over(system, kms) as keys:
        before = await keys.key_for(1)
        assert before.contract == system.contract.digest()
        other = Endpoint(method="GET", path="/v1/models")
        task = msgspec.structs.replace(system.contract.serving, endpoints=(other,))
        named = under(world.security_settings("gateway"), msgspec.structs.replace(system.contract, tasks=(task,)))
        node = msgspec.structs.replace(task.nodes[0], settings=(named.digest(),))
        successor = await amended(system, kms, keys, endpoints=(other,), nodes=(node,))
        after = await keys.key_for(2)
        assert (after.contract, after.endpoints.named) == (successor.digest(), (other,))
        assert (keys.held(1), keys.missing()) == (None, [])


async def test_a_gateway_accepts_of_a_kms_what_the_contract_in_force_does_and_no_more(system):
    """The contract of before took a software TEE, as the KMS's constitution does; its successor does not."""
    kms = await system.started()
    async with keys_over(system, kms) as keys:
        await keys.key_for(1)
        appraisal = msgspec.structs.replace(system.contract.appraisal, unsafe=())
        await amended(system, kms, keys, appraisal=appraisal)
        with pytest.raises(KeyWithheld, match=r"trust\.unsafe"):
            await keys.fetch_ahead()
        assert keys.held(1) is None


async def test_a_gateway_that_the_contract_in_force_does_not_name_opens_nothing_and_says_why(system):
    kms = await system.started()
    async with keys_over(system, kms) as keys:
        await keys.key_for(1)
        node = msgspec.structs.replace(system.contract.serving.nodes[0], workloads=(b"?" * 48,))
        await amended(system, kms, keys, nodes=(node,))
        with pytest.raises(KeyWithheld, match=r"evidence\.workload"):
            await keys.fetch_ahead()
        assert keys.held(1) is None
        assert keys.missing()


async def test_after_the_kms_restarts_the_new_epochs_key_is_fetched_and_the_old_one_is_kept_while_it_is_stale(system):
    first = await system.started()
    second = system.kms()
    async with served(first) as url, KmsClient(url) as client:
        keys = KmsKeys(client, node_of(system), clock=WitnessedClock(lambda: system.now))
        old = await keys.key_for(1)
        await second.start([system.contract_entry])
        async with served(second) as other_url, KmsClient(other_url) as other:
            keys._kms, keys._examined_at = Failover([other]), float("-inf")
            await keys.fetch_ahead()
            assert keys.missing() == []
            new = await keys.key_for(2)
            assert new.epoch != old.epoch
            kept = keys.held(1)
            assert kept is not None
            assert kept.open_until == system.now + SECURITY.stale_seconds
            system.now += SECURITY.stale_seconds
            assert keys.held(1) is None


async def test_a_revoked_epochs_key_is_dropped_once_a_bundle_no_longer_shows_it(system):
    kms = await system.started()
    async with keys_over(system, kms) as keys:
        ring = KeyRing(keys, now=lambda: system.now)
        key = await ring.key_for(1)
        revocation = Revocation(contract=system.line, target=key.epoch, reason="lost")
        await system.ledger.append(sign_statement("revocation", revocation, (system.parties.owner,)))
        await kms.follow()
        keys._examined_at = float("-inf")
        await keys.fetch_ahead()
        assert (await ring.key_for(2)).epoch != key.epoch
        with pytest.raises(UnknownKey):
            await ring.key_for(1)


async def test_a_receipt_holds_against_the_bundle_that_certifies_the_gateway(system):
    kms = await system.started()
    node = node_of(system)
    async with served(kms) as url, KmsClient(url) as client:
        key = await KmsKeys(client, node, clock=WitnessedClock(lambda: system.now)).key_for(1)
    receipts = SignedReceipts(node.secrets.sign, clock=lambda: system.now + 59)

    def sealed():
        receipt = receipts.begin("POST", "/v1/audio/transcriptions", (("content-type", "audio/wav"),))
        receipt.request(memoryview(b"sound"))
        receipt.asked()
        receipt.answer(b"text")
        return dict(receipt.fields(key, 200))

    fields = sealed()
    core, salt = (base64.b64decode(fields[name]) for name in (RECEIPT_HEADER, SALT_HEADER))
    policy = system.policy()
    bundle = examine_bundle(system.bundle(kms), policy, first_contact(policy.constitution), at=system.now).require()
    summary = summarise("POST", "/v1/audio/transcriptions", "audio/wav", b"sound")
    examine_receipt(core, Exchange(summary, 200, hashlib.sha256(b"text").digest(), salt), bundle).require()
    again = sealed()
    assert again[SALT_HEADER] != fields[SALT_HEADER]


def test_a_contract_file_follows_the_rules_of_amendment(system):
    successor = msgspec.structs.replace(system.contract, sequence=1, previous=system.contract.digest())
    opened = open_contract([system.contract_entry, system.sign_contract(successor)])
    assert opened == ServedContract(system.line, successor)
    alone = sign_statement("contract", successor, (SigningKey.generate(),))
    with pytest.raises(Exception, match=r"contract\.signatures"):
        open_contract([system.contract_entry, alone])


@pytest.mark.parametrize("name", GatewaySecurity.__struct_fields__)
def test_every_setting_of_the_gateway_changes_its_digest(system, name):
    runs = Runs(b"s" * 32, b"e" * 32, b"m" * 32, "files")
    usual = GatewaySecurity()
    other = msgspec.structs.replace(usual, **{name: getattr(usual, name) + 1})
    digests = {
        security_settings(security, runs, endpoints=world.ENDPOINTS, unsafe=()).digest() for security in (usual, other)
    }
    assert len(digests) == 2


def test_what_runs_and_the_endpoints_are_in_the_digest():
    digests = {
        security_settings(GatewaySecurity(), runs, endpoints=endpoints, unsafe=()).digest()
        for changed in ({}, {"sandbox": b"S"}, {"engine": b"E"}, {"model": b"M"}, {"tier": "signals"})
        for runs in [dataclasses.replace(Runs(b"s", b"e", b"m", "files"), **changed)]
        for endpoints in (world.ENDPOINTS, ())
    }
    assert len(digests) == 10


# Several instances of the KMS.


@contextlib.asynccontextmanager
async def two_instances(system):
    """Both serve the contract, and the gateway knows both; each is stopped by closing its door."""
    async with contextlib.AsyncExitStack() as stack:
        first = await system.started()
        second = await system.started(peers=[Link(first)])
        await first.follow()
        doors = [contextlib.AsyncExitStack() for _ in range(2)]
        urls = [await door.enter_async_context(served(kms)) for door, kms in zip(doors, (first, second), strict=True)]
        clients = [await stack.enter_async_context(KmsClient(url)) for url in urls]
        for door in doors:
            stack.push_async_callback(door.aclose)
        keys = KmsKeys(Failover(clients), node_of(system), clock=WitnessedClock(lambda: system.now))
        yield keys, (first, second), doors


async def test_a_key_comes_from_another_instance_where_one_is_gone(system):
    async with two_instances(system) as (keys, _, doors):
        await doors[0].aclose()
        await keys.fetch_ahead()
        assert keys.missing() == []


async def test_a_key_that_the_instance_asked_has_not_comes_from_one_that_has_it(system):
    async with two_instances(system) as (keys, (first, _), _):
        bundle = await keys._current_bundle()
        first._standing.keys.erase_all()
        await keys._released(bundle, bundle.keys.active)
        assert keys.held(1) is not None


async def test_a_gateway_that_the_kms_refuses_is_refused_by_one_instance_and_asks_no_other(system):
    async with two_instances(system) as (keys, (_, second), _):
        keys._node = node_of(system, tee=WorldTee(system.parties.platform, workload=b"?" * 48))
        challenges = len(second._desk._challenges)
        with pytest.raises(KeyWithheld, match=r"evidence\.workload"):
            await keys.fetch_ahead()
        assert len(second._desk._challenges) == challenges
