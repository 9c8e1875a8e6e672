"""A node whose weights are sealed: they come with their key from a real KMS, or not, and then it says why."""

import asyncio
import contextlib
import os
import shutil
import signal
from typing import Any

import msgspec
import pytest
from tests.doubles.custody_system import CustodySystem
from tests.doubles.kms_system import served
from tests.doubles.sandboxes import FAULTY, staged
from tests.doubles.sealed_models import KEY, WEIGHTS, sealed_model

from cloister.errors import UsageError
from cloister.formats.appraisal_policy import RoleReference
from cloister.formats.release import Revocation
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.node.keys import NodeSecrets
from cloister.node.witnessed_clock import WitnessedClock
from cloister.peers.kms import KmsClient
from cloister.sandbox.plan import plan
from cloister.sandbox.process import RunningEngine
from cloister.sandbox.service import EngineService
from cloister.sealing.artifact import open_artifact
from cloister.services.gateway.contract import ServedContract, trust_policy
from cloister.services.gateway.engine_choice import ChosenEngine, SandboxSizes
from cloister.services.gateway.given_engine import GivenEngine
from cloister.services.gateway.keys import KeyWithheld
from cloister.services.gateway.kms_keys import GatewayNode, KmsKeys
from cloister.services.gateway.security import GatewaySecurity
from cloister.services.gateway.task_assets import AGAIN_SECONDS, TaskAssets
from cloister.testing.world import WORKLOAD, World, security_settings, serving

replace = msgspec.structs.replace
ASSET = "whisper-1"
READ = b"import pathlib; result = pathlib.Path('/model/weights.bin').read_bytes()[:16].hex()"
SERVED = f"did it: {WEIGHTS[:16].hex()}"


@pytest.fixture(scope="module")
def engine():
    with staged(FAULTY) as ready:
        yield ready


@pytest.fixture
def artifact(tmp_path):
    return sealed_model(tmp_path)


class Owner:
    """A system whose contract grants the sealed model, and its owner."""

    def __init__(self, artifact, **changes):
        plain = World().contract
        values = security_settings("gateway").values | {"model": open_artifact(artifact).digest.hex()}
        self.settings = replace(security_settings("gateway"), values=values)
        reference = RoleReference(role="gateway", workloads=(WORKLOAD,), settings=(self.settings.digest(),))
        model = replace(plain.assets[0], digest=open_artifact(artifact).digest)
        usual = {"assets": (model,), "grants": plain.grants, "tasks": (serving(nodes=(reference,)),)}
        self.system = CustodySystem(**(usual | changes))
        self.kms: Any = None

    async def start(self):
        self.kms = await self.system.started()
        await self.kms.intake_for_owners(self.system.line)

    async def deposit(self, key=KEY, **changes):
        return await self.system.deposit(self.kms, asset=ASSET, value=key, under="line", **changes)

    async def revoke(self, deposit):
        record = Revocation(contract=self.system.line, target=entry_digest(deposit), reason="it leaked")
        await self.log(sign_statement("revocation", record, (self.system.parties.owner,)))

    async def succeed(self, **changes):
        """A successor of the contract, by the word of all."""
        contract = self.system.contract
        successor = replace(contract, sequence=contract.sequence + 1, previous=contract.digest(), **changes)
        signers = (*self.system.signers, *self.system.world.custodians.values())
        await self.log(sign_statement("contract", successor, signers))
        self.system.contract = successor

    async def log(self, entry):
        await self.system.ledger.append(entry)
        await self.kms.follow()


class Node:
    """A gateway as far as its engine and its keys: what `/ready` goes by."""

    def __init__(self, owner, artifact, engine, client):
        system = owner.system
        model = open_artifact(artifact)
        files = [(file.path, file.size) for file in model.manifest.files]
        chosen = ChosenEngine(FAULTY, plan(SandboxSizes(memory_mib=192).holding(FAULTY, files)), model)
        self.services: list[EngineService] = []

        def make(given):
            source = chosen.source(given.model_key)
            service = EngineService(chosen.plan, engine.engine, engine.folder / "run", model=source)
            self.services.append(service)
            return service

        self.engine = GivenEngine(make, waits=True, grace_seconds=0.1)
        self.running: list[RunningEngine] = []
        self.engine.follow(self.running.append, self.running.remove)
        contract = ServedContract(system.line, system.contract)
        policy = trust_policy(contract, GatewaySecurity())
        node = GatewayNode(system.tee, NodeSecrets.generate(), owner.settings, contract, policy)
        self.assets = TaskAssets(self.engine.take, self.engine.withdraw, model=model.digest)
        self.keys = KmsKeys(client, node, clock=WitnessedClock(lambda: system.now), assets=self.assets)

    async def fetch(self):
        """Ask the KMS again, whatever was said when."""
        self.assets._refused_at -= AGAIN_SECONDS
        self.keys._examined_at = self.assets._rests_until = float("-inf")
        await self.keys.fetch_ahead()

    @property
    def missing(self):
        return [*self.keys.missing(), *self.engine.missing()]

    async def weights(self):
        """What its engine says that the model begins with."""
        (running,) = self.running
        reader, writer = await running.connect()
        with contextlib.closing(writer):
            writer.write(b"POST /run HTTP/1.1\r\nhost: engine\r\ncontent-length: %d\r\n\r\n" % len(READ) + READ)
            head = await reader.readuntil(b"\r\n\r\n")
            return (await reader.read(len(SERVED))).decode() if b" 200 " in head else head.decode()


@contextlib.asynccontextmanager
async def node_of(owner, artifact, engine):
    await owner.start()
    async with served(owner.kms) as url, KmsClient(url) as client:
        node = Node(owner, artifact, engine, client)
        try:
            await node.engine.start()
            yield node
        finally:
            await node.engine.stop()


async def test_the_weights_are_opened_into_the_engine_with_the_key_that_their_owner_deposited(artifact, engine):
    owner = Owner(artifact)
    async with node_of(owner, artifact, engine) as node:
        assert node.missing[1:] == ["the engine, which starts with the assets of its task"]
        with pytest.raises(KeyWithheld, match=r"the assets of its parties: asset\.deposit: .*whisper-1 was never"):
            await node.fetch()
        await owner.deposit()
        await node.fetch()
        assert (node.missing, await node.weights()) == ([], SERVED)
        assert owner.system.custody(owner.kms).custody.uses == {(ASSET, "serve"): 1}


async def test_an_engine_that_is_killed_gets_the_weights_again_with_the_key_in_memory(artifact, engine):
    owner = Owner(artifact)
    async with node_of(owner, artifact, engine) as node:
        await owner.deposit()
        await node.fetch()
        (first,) = node.running
        os.kill(first.pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while node.running in ([], [first]):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert await node.weights() == SERVED
        assert owner.system.custody(owner.kms).custody.uses == {(ASSET, "serve"): 1}


def largest(artifact):
    return max((artifact / "files").iterdir(), key=lambda path: path.stat().st_size)


def flip(artifact):
    path = largest(artifact)
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)


def cut(artifact):
    path = largest(artifact)
    path.write_bytes(path.read_bytes()[:-1])


def another(artifact):
    """The sealed files of another model of the same sizes."""
    other = sealed_model(artifact.parent / "other", weights=bytes(len(WEIGHTS)))
    shutil.rmtree(artifact / "files")
    shutil.copytree(other / "files", artifact / "files")


def gone(artifact):
    shutil.rmtree(artifact)


@pytest.mark.parametrize(
    ("harm", "check"),
    [
        (flip, r"artifact\.segment"),
        (cut, r"artifact\.whole"),
        (another, r"artifact\.segment"),
        (gone, r"artifact\.whole"),
    ],
)
async def test_a_damaged_artifact_is_named_by_its_check_and_serves_as_soon_as_it_is_whole(
    artifact, engine, harm, check, tmp_path
):
    shutil.copytree(artifact, tmp_path / "whole")
    owner = Owner(artifact)
    async with node_of(owner, artifact, engine) as node:
        await owner.deposit()
        harm(artifact)
        with pytest.raises(KeyWithheld, match=f"the assets of its parties: {check}"):
            await node.fetch()
        assert node.running == []
        assert node.missing
        shutil.rmtree(artifact, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", artifact)
        await node.fetch()
        assert await node.weights() == SERVED
        assert owner.system.custody(owner.kms).custody.uses == {(ASSET, "serve"): 1}


@pytest.mark.parametrize(("key", "check"), [(bytes(32), r"artifact\.key"), (KEY[:-1], r"model\.key")])
async def test_what_is_not_the_models_key_opens_nothing_and_is_named(artifact, engine, key, check):
    owner = Owner(artifact)
    async with node_of(owner, artifact, engine) as node:
        await owner.deposit(key)
        with pytest.raises(KeyWithheld, match=f"the assets of its parties: {check}"):
            await node.fetch()
        assert (node.running, bool(node.missing)) == ([], True)


async def test_a_node_that_starts_after_the_key_was_taken_back_gets_none_and_one_that_runs_goes_on(artifact, engine):
    owner = Owner(artifact)
    async with node_of(owner, artifact, engine) as node:
        deposit = await owner.deposit()
        await node.fetch()
        await owner.revoke(deposit)
        await node.fetch()
        assert await node.weights() == SERVED
        async with served(owner.kms) as url, KmsClient(url) as client:
            late = Node(owner, artifact, engine, client)
            with pytest.raises(KeyWithheld, match=r"asset\.deposit: .*whisper-1 was revoked or retired"):
                await late.fetch()
            assert late.services == []


async def test_a_node_that_runs_loses_weights_and_keys_with_the_contract_that_granted_them(artifact, engine):
    owner = Owner(artifact)
    async with node_of(owner, artifact, engine) as node:
        await owner.deposit()
        await node.fetch()
        (before,) = node.running
        other = replace(owner.system.contract.assets[0], name="another", digest=bytes(32))
        grant = replace(owner.system.contract.grants[0], asset="another")
        await owner.succeed(assets=(*owner.system.contract.assets, other), grants=(grant,))
        with pytest.raises(KeyWithheld, match=r"parties: model\.asset: the contract grants serve another"):
            await node.fetch()
        assert (node.running, node.keys.all_held()) == ([], ())
        async with asyncio.timeout(10):
            await before.ended.wait()
        assert node.services[0].missing()


async def test_a_node_with_another_model_than_the_contracts_asks_nobody_for_a_key(artifact, engine, tmp_path):
    owner = Owner(artifact)
    async with node_of(owner, sealed_model(tmp_path / "other", weights=b"others"), engine) as node:
        await owner.deposit()
        with pytest.raises(KeyWithheld, match=r"model\.asset: .* the sealed model here is"):
            await node.fetch()
        assert owner.system.custody(owner.kms).custody.uses == {}


def test_a_folder_that_is_no_artifact_is_no_model(tmp_path):
    with pytest.raises(UsageError):
        open_artifact(tmp_path)
