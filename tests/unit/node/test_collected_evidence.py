"""From the kernel's door to the appraisal: what a node collects on each platform is accepted by whoever judges nodes.

The kernels, modules and services are doubles that keep the documented rules; what they hand out is made-up hardware's.
"""

from contextlib import contextmanager
from dataclasses import replace

import msgspec
import pytest
from tests.doubles.device_kernel import DeviceKernel
from tests.doubles.metadata_server import metadata_server, told
from tests.doubles.nsm_device import NsmDevice
from tests.doubles.nvml_library import NvmlLibrary
from tests.doubles.sev_guest_device import SevGuestDevice
from tests.doubles.tdx_guest_device import TdxGuestDevice, answer, quote_service
from tests.doubles.tpm_device import TpmDevice
from tests.doubles.tsm_kernel import TsmKernel

from cloister.attest.evidence import Expected, examine_evidence
from cloister.attest.seen import SEEN_NOTHING
from cloister.formats.appraisal_policy import RoleReference
from cloister.formats.endorsements import Endorsement
from cloister.formats.evidence import SecuritySettings
from cloister.formats.snp_certificate_table import ARK, ASK, CRL, VCEK
from cloister.formats.workload_event import NITRO_REGISTER, register_value
from cloister.node.device import TeeSettings, open_tee
from cloister.node.evidence import evidence
from cloister.node.keys import NodeSecrets
from cloister.tee.collectors.machine import Machine
from cloister.tee.collectors.metadata_service import MetadataService
from cloister.testing.azure_hardware import hcl_report, report_data_of, runtime_data
from cloister.testing.made_tees import MadeAzureTee, MadeGpus, MadeNitroTee, MadeSnpTee, MadeTdxTee, policy_of
from cloister.testing.snp_hardware import certificate_table

NOW = 1_800_000_000
WORKLOAD = b"\5" * 48
CHALLENGE, SUBJECT = b"c" * 32, b"s" * 32
KEYS = NodeSecrets.generate().public
SNP, TDX = MadeSnpTee(NOW, WORKLOAD), MadeTdxTee(NOW, WORKLOAD)
AZURE, NITRO = MadeAzureTee(NOW, WORKLOAD), MadeNitroTee(NOW, WORKLOAD)
GPUS = MadeGpus(NOW, devices=2)
WITH_GPUS = replace(SNP, gpu_vendor=GPUS)


def machine(kernel, **changes):
    waits: list[float] = []
    return Machine(calls=kernel, ioctl=kernel.ioctl, sleep=waits.append, **changes)


def snp_answer(report_data, _level=0):
    return SNP.collect(report_data, challenge=b"").report, table(SNP)


def table(tee):
    given = tee.hardware.endorsements()
    return certificate_table(dict(zip((VCEK, ASK, ARK, CRL), (*given.chain, *given.revocations), strict=True)))


def td_answer(report_data, _level=0):
    return TDX.collect(report_data, challenge=b"").report + bytes(2000), b""


@contextmanager
def configfs_snp():
    yield machine(DeviceKernel(tsm=TsmKernel(snp_answer)))


@contextmanager
def configfs_snp_with_gpus():
    gpus = NvmlLibrary(gpus=GPUS.all)
    yield machine(DeviceKernel(tsm=TsmKernel(snp_answer)), nvml=lambda: gpus)


@contextmanager
def configfs_tdx():
    yield machine(DeviceKernel(tsm=TsmKernel(td_answer, provider="tdx_guest", auxiliary=False)))


@contextmanager
def sev_guest():
    yield machine(DeviceKernel({"/dev/sev-guest": lambda: SevGuestDevice(answers=snp_answer, table=table(SNP))}))


@contextmanager
def tdx_guest():
    with quote_service(lambda request: answer(td_answer(request[24 + 128 : 24 + 192])[0])) as (host, _):
        yield machine(DeviceKernel({"/dev/tdx_guest": TdxGuestDevice}), host=host)


@contextmanager
def azure():
    runtime = runtime_data()
    chip = AZURE.hardware
    report = replace(chip.report(), report_data=report_data_of(runtime), measurement=b"p" * 48)
    nv = {0x01400001: hcl_report(chip.sign(report), runtime).ljust(2600, b"\0")}
    kernel = DeviceKernel({"/dev/tpmrm0": lambda: TpmDevice(tpm=AZURE.tpm, nv=nv)})
    vcek, *above = chip.endorsements().chain
    with metadata_server({"/metadata/THIM/amd/certification": told(vcek, above)}) as (port, _):
        yield machine(kernel, metadata=MetadataService("127.0.0.1", port))


@contextmanager
def nitro():
    pcrs = NITRO.hardware.fields()["pcrs"] | {NITRO_REGISTER: register_value(WORKLOAD, "sha384")}
    device = NsmDevice(nitro=NITRO.hardware, changes={"pcrs": pcrs})
    yield machine(DeviceKernel({"/dev/nsm": lambda: device}))


# What Azure's metadata service does not tell, and a relying party has in its store.
AZURE_LISTS = tuple(Endorsement(kind="amd-revocations", data=one) for one in AZURE.hardware.endorsements().revocations)
WAYS = {
    "configfs-tsm, SEV-SNP": (configfs_snp, SNP),
    "configfs-tsm, SEV-SNP, GPUs": (configfs_snp_with_gpus, WITH_GPUS),
    "configfs-tsm, TDX": (configfs_tdx, TDX),
    "sev-guest": (sev_guest, SNP),
    "tdx_guest and QGS": (tdx_guest, TDX),
    "Azure's vTPM": (azure, AZURE),
    "Nitro": (nitro, NITRO),
}


def shown(way, made):
    """A node's evidence there, completed as a relying party does."""
    settings = SecuritySettings(role="gateway", unsafe=policy_of([made], [WORKLOAD]).unsafe, values={})
    with way() as here:
        wanted = TeeSettings("auto", None, gpus=here.nvml is not Machine().nvml)
        tee = open_tee(wanted, WORKLOAD, machine=here)
        found = evidence(tee, challenge=CHALLENGE, settings=settings, subject=SUBJECT, keys=KEYS)
    stored = AZURE_LISTS if made is AZURE else made.fetched()
    return msgspec.structs.replace(found, endorsements=(*found.endorsements, *stored))


def examined(given, made, **changes):
    reference = RoleReference(role="gateway", workloads=(WORKLOAD,), settings=(given.settings.digest(),))
    wanted = replace(Expected(CHALLENGE, SUBJECT, reference), **changes)
    return examine_evidence(given, policy_of([made], [WORKLOAD]), wanted, at=NOW, seen=SEEN_NOTHING)


@pytest.mark.parametrize(("way", "made"), WAYS.values(), ids=WAYS)
def test_what_a_node_collects_is_accepted_and_answers_this_challenge_alone(way, made):
    given = shown(way, made)
    examination = examined(given, made)
    assert examination.failed == []
    found = examination.require()
    assert (found.platform, found.workload, found.keys) == (made.platform, WORKLOAD, KEYS)
    assert len(found.gpus) == (2 if made is WITH_GPUS else 0)
    assert "evidence.challenge" in examined(given, made, challenge=bytes(32)).failed
