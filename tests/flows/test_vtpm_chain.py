"""The main job where a gateway's evidence is quoted by a real TPM (swtpm), as on an Azure confidential VM."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial

import msgspec
import pytest
from tests.doubles.azure_vm import azure_vm, report_of, set_up
from tests.doubles.software_tpm import MISSING, WHY_NOT, software_tpm
from tests.doubles.trivial_engine import EchoEngine

from cloister.client.exchange import UserRequest
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay
from cloister.client.session import Session
from cloister.formats.appraisal_policy import BOOT_PCRS, AzureSnpPlatform
from cloister.formats.azure_policy import AzurePolicy
from cloister.formats.endorsements import Endorsement
from cloister.formats.tpm_policy import TpmPolicy
from cloister.node.witnessed_clock import WitnessedClock
from cloister.peers.kms import KmsClient
from cloister.services.gateway.keys import KeyWithheld
from cloister.services.gateway.kms_keys import KmsKeys
from cloister.tee.collectors.collected import Collected
from cloister.tee.collectors.detected import open_collector
from cloister.tee.collectors.machine import Machine
from cloister.testing.local_system import LocalSystem
from cloister.testing.made_tees import MadeAzureTee, MadeSnpTee
from cloister.testing.world import WORKLOAD

pytestmark = pytest.mark.skipif(bool(MISSING), reason=WHY_NOT)
NOW = int(time.time())
GUEST = b"p" * 48  # its launch measurement


@dataclass(frozen=True)
class VtpmTee(MadeAzureTee):
    """A made-up chip's guest whose TPM is real, asked as collectors ask on real machines."""

    machine: Machine = field(default_factory=Machine)

    def collect(self, report_data: bytes, *, challenge: bytes) -> Collected:
        return open_collector(self.machine).collect(report_data, challenge=challenge)

    def fetched(self) -> tuple[Endorsement, ...]:
        lists = self.hardware.endorsements().revocations
        return tuple(Endorsement(kind="amd-revocations", data=one) for one in lists)

    def platform_policy(self, workloads: Collection[bytes]) -> AzureSnpPlatform:
        """A TPM that no firmware extended: the boot's PCRs are zeros."""
        tpm = TpmPolicy(bank="sha256", pcrs={index: (bytes(32),) for index in BOOT_PCRS})
        vm = AzurePolicy(vm_configuration={"secure-boot": True}, tpm=tpm, expressions=())
        return msgspec.structs.replace(super().platform_policy(workloads), vm=vm)


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    chip = MadeAzureTee(NOW, WORKLOAD).hardware
    with software_tpm(tmp_path_factory.mktemp("vtpm")) as tpm:
        set_up(tpm, report_of(chip, measurement=GUEST), WORKLOAD)
        with azure_vm(tpm, chip.endorsements().chain) as found:
            yield found


async def test_a_request_is_answered_by_a_gateway_that_a_real_tpm_speaks_for(tmp_path, machine):
    system = LocalSystem(tmp_path, kms_on=partial(MadeSnpTee, NOW), gateway_on=partial(VtpmTee, NOW, machine=machine))
    policy = system.trust_policy()
    async with system.running(EchoEngine()):
        memory = MemoryFile(tmp_path / "memory", genesis=policy.constitution)
        async with Session(policy, memory, Relay(system.url("relay"))) as session:
            audio = UserRequest("POST", "/v1/audio/transcriptions", (("Content-Type", "audio/wav"),), b"RIFF a voice")
            answer = await session.send(audio)
    assert answer.response.body == b"heard RIFF a voice"
    assert answer.verified.gateway == system.secrets.sign.public


async def test_a_gateway_whose_contract_names_another_workload_than_the_tpm_measured_gets_no_key(tmp_path, machine):
    other = b"\1" * 48
    gateway_on = partial(VtpmTee, NOW, machine=machine)
    system = LocalSystem(tmp_path, kms_on=partial(MadeSnpTee, NOW), gateway_on=gateway_on, gateway_workload=other)
    async with system.kms_alone(), KmsClient(system.url("kms")) as client:
        keys = KmsKeys(client, system.gateway_node(), clock=WitnessedClock(time.time))
        with pytest.raises(KeyWithheld, match=r"evidence\.workload: the KMS: what was measured there is not named"):
            await keys.fetch_ahead()
