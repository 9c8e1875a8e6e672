"""The main job on hardware that is made up: every role on real sockets, every check of the hardware's in the chain."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import pytest
from tests.doubles.trivial_engine import EchoEngine

from cloister.attest.nvidia.appraisal import NVIDIA_APPRAISAL_STEPS
from cloister.attest.snp.authentic import SNP_STEPS
from cloister.attest.tdx.authentic import TDX_STEPS
from cloister.client.exchange import UserRequest
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay
from cloister.client.session import Session
from cloister.formats.evidence import MAXIMUM_COMPLETED, parse_evidence
from cloister.formats.release import parse_release
from cloister.ledger.statements import open_statement
from cloister.node.witnessed_clock import WitnessedClock
from cloister.peers.kms import KmsClient
from cloister.peers.ledger import LedgerClient
from cloister.services.gateway.kms_keys import KeyWithheld, KmsKeys
from cloister.testing.local_system import LocalSystem
from cloister.testing.made_tees import (
    MadeAzureTdxTee,
    MadeAzureTee,
    MadeGpus,
    MadeNitroTee,
    MadeSnpTee,
    MadeTdxTee,
    MadeTee,
)
from cloister.testing.world import WORKLOAD

NOW = int(time.time())
AUDIO = UserRequest("POST", "/v1/audio/transcriptions", (("Content-Type", "audio/wav"),), b"RIFF a voice")
GPUS = MadeGpus(NOW, devices=2)
ON: dict[str, tuple[Callable[[bytes], MadeTee], Callable[[bytes], MadeTee]]] = {
    "SEV-SNP, gateways with GPUs": (partial(MadeSnpTee, NOW), partial(MadeSnpTee, NOW, gpu_vendor=GPUS)),
    "TDX, gateways with GPUs": (partial(MadeTdxTee, NOW), partial(MadeTdxTee, NOW, gpu_vendor=GPUS)),
    "Azure's VMs": (partial(MadeAzureTdxTee, NOW), partial(MadeAzureTee, NOW)),
    "Nitro Enclaves": (partial(MadeNitroTee, NOW), partial(MadeNitroTee, NOW)),
    "a KMS on TDX, gateways on SEV-SNP": (partial(MadeTdxTee, NOW), partial(MadeSnpTee, NOW)),
}


def session_with(system, tmp_path):
    policy = system.trust_policy()
    return Session(policy, MemoryFile(tmp_path / "memory", genesis=policy.constitution), Relay(system.url("relay")))


async def last_release(system):
    """The release, and the evidence that the ledger keeps for it."""
    async with LedgerClient(system.url("ledger")) as ledger:
        size = int((await ledger.checkpoint()).decode().split("\n")[1])
        entries = [open_statement(entry) for entry in await ledger.entries(0, size)]
        release = parse_release(next(one.payload for one in reversed(entries) if one.kind == "release"))
        return release, parse_evidence(await ledger.get_blob(release.evidence), limit=MAXIMUM_COMPLETED)


@pytest.mark.parametrize(("kms_on", "gateway_on"), ON.values(), ids=ON)
async def test_a_request_is_answered_through_a_chain_that_begins_in_hardware(tmp_path, kms_on, gateway_on):
    system = LocalSystem(tmp_path, kms_on=kms_on, gateway_on=gateway_on)
    async with system.running(EchoEngine()), session_with(system, tmp_path) as session:
        answer = await session.send(AUDIO)
        assert answer.response.body.endswith(b"RIFF a voice")
        assert answer.verified.gateway == system.secrets.sign.public
        examination = await session.examine()
        assert examination.failed == []
        assert "UnsafeAllowSoftwareTee" not in system.trust_policy().unsafe
        release, kept = await last_release(system)
    assert kept.platform == system.gateway_tee.platform
    assert {one.kind for one in kept.endorsements} >= {one.kind for one in gateway_on(WORKLOAD).fetched()}
    assert "evidence.workload" in release.checks


async def test_the_steps_of_the_hardware_are_shown_to_the_client_and_kept_with_the_release(tmp_path):
    kms_on, gateway_on = ON["TDX, gateways with GPUs"]
    system = LocalSystem(tmp_path, kms_on=kms_on, gateway_on=gateway_on)
    async with system.running(EchoEngine()), session_with(system, tmp_path) as session:
        await session.send(AUDIO)
        assert set(TDX_STEPS) < set((await session.examine()).passed)
        release, _ = await last_release(system)
    assert {*TDX_STEPS, *NVIDIA_APPRAISAL_STEPS} < set(release.checks)
    assert not set(SNP_STEPS) & set(release.checks)


@pytest.mark.parametrize(
    ("found", "check"),
    [
        pytest.param(partial(MadeTdxTee, NOW), r"evidence\.platform", id="another platform"),
        pytest.param(partial(MadeSnpTee, NOW), r"gpu\.count", id="no GPUs"),
        pytest.param(partial(MadeSnpTee, NOW, gpu_vendor=GPUS, seed="another vendor"), r"snp\.chain", id="a stranger"),
        pytest.param(lambda _: MadeSnpTee(NOW, bytes(48), GPUS), r"snp\.measurement", id="another image"),
    ],
)
async def test_a_gateway_on_other_hardware_gets_no_key_and_says_which_check_failed(tmp_path, found, check):
    kms_on, gateway_on = ON["SEV-SNP, gateways with GPUs"]
    system = LocalSystem(tmp_path, kms_on=kms_on, gateway_on=gateway_on)
    async with system.kms_alone(), KmsClient(system.url("kms")) as client:
        system.gateway_on = found
        keys = KmsKeys(client, system.gateway_node(), clock=WitnessedClock(time.time))
        with pytest.raises(KeyWithheld, match=check):
            await keys.fetch_ahead()


async def test_a_client_whose_trust_policy_takes_no_other_roots_refuses_made_up_hardware(tmp_path):
    kms_on, gateway_on = ON["a KMS on TDX, gateways on SEV-SNP"]
    system = LocalSystem(tmp_path, kms_on=kms_on, gateway_on=gateway_on)
    async with system.running(EchoEngine()):
        policy = system.trust_policy()
        strict = type(policy)(**{name: getattr(policy, name) for name in policy.__struct_fields__} | {"unsafe": ()})
        memory = MemoryFile(tmp_path / "memory", genesis=policy.constitution)
        async with Session(strict, memory, Relay(system.url("relay"))) as session:
            assert (await session.examine()).failed == ["trust.unsafe"]
