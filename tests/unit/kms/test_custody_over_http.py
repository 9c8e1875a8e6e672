"""A node and an owner of a KMS over HTTP: what is examined on the way, and what each refusal says."""

import msgspec
import pytest
from tests.doubles.custody_system import CustodySystem
from tests.doubles.custody_world import SECRET
from tests.doubles.kms_system import served

from cloister.errors import Refused, Unavailable
from cloister.node.keys import NodeSecrets
from cloister.node.released_assets import AskingNode, released_assets
from cloister.node.task_assets import released_task_assets
from cloister.peers.exchange import PeerRefused
from cloister.peers.kms import KmsClient
from cloister.secret import SecretBytes
from cloister.testing.world import MODEL, World, security_settings
from cloister.trust.intake import examine_intake


@pytest.fixture
def system():
    return CustodySystem()


def node_of(system, **changes):
    fields = {
        "tee": system.tee,
        "secrets": NodeSecrets.generate(),
        "settings": security_settings("gateway"),
        "line": system.line,
    }
    return AskingNode(**(fields | changes))


async def test_a_node_has_released_what_its_contract_grants(system):
    kms = await system.started()
    await system.deposit(kms)
    async with served(kms) as url, KmsClient(url) as client:
        assets = await released_assets(client, node_of(system), system.examined(kms), ["password"])
    assert assets.values == {"password": SecretBytes(SECRET)}
    assert SECRET.decode() not in repr(assets)


async def test_an_owner_gets_the_intake_key_with_its_proof(system):
    kms = await system.started()
    async with served(kms) as url, KmsClient(url) as client:
        intake = await client.intake(system.line)
    assert examine_intake(intake, system.examined(kms), line=system.line).require() == system.intake(kms)


async def test_the_owner_of_a_model_who_asks_first_has_the_root_of_its_line_made_and_a_node_gets_the_models_key():
    plain, key = World().contract, bytes(range(32))
    system = CustodySystem(assets=plain.assets, grants=plain.grants)
    kms = await system.started()
    assert system.custody(kms).custody.latest is None  # no contract says that its model is sealed
    async with served(kms) as url, KmsClient(url) as client:
        for _ in range(2):
            intake = await client.intake(system.line)
            assert examine_intake(intake, system.examined(kms), line=system.line).failed == []
        assert len(system.custody(kms).custody.roots) == 1
        await system.deposit(kms, asset=plain.assets[0].name, value=key)
        given = await released_task_assets(client, node_of(system), system.examined(kms), model=MODEL)
    assert given.model_key == SecretBytes(key)


async def test_a_refusal_names_its_check_across_the_wire(system):
    kms = await system.started()
    async with served(kms) as url, KmsClient(url) as client:
        with pytest.raises(Refused, match=r"asset\.deposit: .*password was never deposited"):
            await released_assets(client, node_of(system), system.examined(kms), ["password"])
        settings = msgspec.structs.replace(security_settings("gateway"), values={})
        with pytest.raises(Refused, match=r"evidence\.settings"):
            await released_assets(client, node_of(system, settings=settings), system.examined(kms), ["password"])


async def test_where_the_root_is_lost_the_node_is_told_to_come_back(system):
    await system.deposit(await system.started())
    kms = await system.started()
    async with served(kms) as url, KmsClient(url) as client:
        with pytest.raises(Unavailable, match="root secret 1 is not held here"):
            await released_assets(client, node_of(system), system.examined(kms), ["password"])


async def test_a_contract_that_is_not_served_has_no_intake_key(system):
    kms = await system.started()
    async with served(kms) as url, KmsClient(url) as client:
        with pytest.raises(PeerRefused, match="no contract of this name is served"):
            await client.intake(bytes(32))


async def test_a_kms_that_has_not_started_says_so(system):
    async with served(system.kms()) as url, KmsClient(url) as client:
        with pytest.raises(Unavailable, match="the KMS is not serving"):
            await client.intake(bytes(32))
