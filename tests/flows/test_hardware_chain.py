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
from cloister.services.gateway.keys import KeyWithheld
from cloister.services.gateway.kms_keys import KmsKeys
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

AUDIO = UserRequest("POST", "/v1/audio/transcriptions", (("Content-Type", "audio/wav"),), b"RIFF a voice")
On = Callable[[bytes], MadeTee]


def with_gpus(kind):
    return lambda now, workload: kind(now, workload, MadeGpus(now, devices=2))


ON = {
    "SEV-SNP, gateways with GPUs": (MadeSnpTee, with_gpus(MadeSnpTee)),
    "TDX, gateways with GPUs": (MadeTdxTee, with_gpus(MadeTdxTee)),
    "Azure's VMs": (MadeAzureTdxTee, MadeAzureTee),
    "Nitro Enclaves": (MadeNitroTee, MadeNitroTee),
    "a KMS on TDX, gateways on SEV-SNP": (MadeTdxTee, MadeSnpTee),
}


def on(name: str) -> tuple[On, On]:
    """What KMS and gateways run on, everything in date now: a Nitro document is no older than minutes."""
    now = int(time.time())
    kms, gateway = ON[name]
    return (lambda workload: kms(now, workload)), (lambda workload: gateway(now, workload))


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


@pytest.mark.parametrize("name", ON)
async def test_a_request_is_answered_through_a_chain_that_begins_in_hardware(tmp_path, name):
    kms_on, gateway_on = on(name)
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
    kms_on, gateway_on = on("TDX, gateways with GPUs")
    system = LocalSystem(tmp_path, kms_on=kms_on, gateway_on=gateway_on)
    async with system.running(EchoEngine()), session_with(system, tmp_path) as session:
        await session.send(AUDIO)
        assert set(TDX_STEPS) < set((await session.examine()).passed)
        release, _ = await last_release(system)
    assert {*TDX_STEPS, *NVIDIA_APPRAISAL_STEPS} < set(release.checks)
    assert not set(SNP_STEPS) & set(release.checks)


def stranger(now, workload):
    return MadeSnpTee(now, workload, MadeGpus(now, devices=2), seed="another vendor")


@pytest.mark.parametrize(
    ("found", "check"),
    [
        pytest.param(MadeTdxTee, r"evidence\.platform", id="another platform"),
        pytest.param(MadeSnpTee, r"gpu\.count", id="no GPUs"),
        pytest.param(stranger, r"snp\.chain", id="a stranger"),
        pytest.param(lambda now, _: with_gpus(MadeSnpTee)(now, bytes(48)), r"snp\.measurement", id="another image"),
    ],
)
async def test_a_gateway_on_other_hardware_gets_no_key_and_says_which_check_failed(tmp_path, found, check):
    kms_on, gateway_on = on("SEV-SNP, gateways with GPUs")
    system = LocalSystem(tmp_path, kms_on=kms_on, gateway_on=gateway_on)
    async with system.kms_alone(), KmsClient(system.url("kms")) as client:
        system.gateway_on = partial(found, int(time.time()))
        keys = KmsKeys(client, system.gateway_node(), clock=WitnessedClock(time.time))
        with pytest.raises(KeyWithheld, match=check):
            await keys.fetch_ahead()


async def test_a_client_whose_trust_policy_takes_no_other_roots_refuses_made_up_hardware(tmp_path):
    kms_on, gateway_on = on("a KMS on TDX, gateways on SEV-SNP")
    system = LocalSystem(tmp_path, kms_on=kms_on, gateway_on=gateway_on)
    async with system.running(EchoEngine()):
        policy = system.trust_policy()
        strict = type(policy)(**{name: getattr(policy, name) for name in policy.__struct_fields__} | {"unsafe": ()})
        memory = MemoryFile(tmp_path / "memory", genesis=policy.constitution)
        async with Session(strict, memory, Relay(system.url("relay"))) as session:
            assert (await session.examine()).failed == ["trust.unsafe"]
