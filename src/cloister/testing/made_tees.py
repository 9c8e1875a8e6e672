"""Nodes on made-up hardware: TEEs whose evidence production code takes where a policy names their vendors' roots.

Each is a `node.evidence.Tee`, and says which part of an appraisal policy takes it; `policy_of` puts the parts together.
Such a policy carries UnsafeAllowOtherRoots, which shows wherever a person looks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import msgspec

from cloister.endorsements.endorsing import Gathered
from cloister.formats.appraisal_policy import (
    BOOT_PCRS,
    AppraisalPolicy,
    AzureSnpPlatform,
    AzureTdxPlatform,
    Gpu,
    NitroPlatform,
    Platform,
    SnpPlatform,
    TdxPlatform,
    VendorRoots,
    exceptions,
)
from cloister.formats.azure_policy import AzurePolicy
from cloister.formats.endorsements import Endorsement
from cloister.formats.event_log import SHA256
from cloister.formats.evidence import Evidence, GpuEvidence, Unsafe
from cloister.formats.nitro_policy import NitroImage, NitroPolicy
from cloister.formats.nvidia_policy import NvidiaPolicy
from cloister.formats.snp_policy import SnpImage
from cloister.formats.td_report import TdReport
from cloister.formats.tdx_policy import TdxPolicy
from cloister.formats.tpm_policy import TpmPolicy
from cloister.formats.tpm_quote import RSASSA
from cloister.formats.workload_event import NITRO_REGISTER, TPM_REGISTER, register_value
from cloister.node.evidence import Tee
from cloister.tee.collectors.collected import Collected
from cloister.testing.azure_hardware import PCRS, azure_evidence, hcl_report, report_data_of, runtime_data
from cloister.testing.certificates import Life
from cloister.testing.nitro_hardware import MadeNitro
from cloister.testing.nvidia_hardware import MadeDevice, MadeRim, NvidiaVendor, measured
from cloister.testing.ocsp_answers import Responder
from cloister.testing.snp_hardware import SnpHardware
from cloister.testing.tdx_hardware import DAY, TD, TdxHardware, image_of, td_report
from cloister.testing.tpm_hardware import MadeTpm

_BOOT = (0, 1, 2, 3, *BOOT_PCRS)


@runtime_checkable
class MadeTee(Tee, Protocol):
    """A TEE of this module."""

    def platform_policy(self, workloads: Collection[bytes]) -> Platform:
        """The tightest policy that its evidence meets, over any of these workloads."""

    def roots(self) -> VendorRoots:
        """What stands in place of the vendors'."""

    def fetched(self) -> tuple[Endorsement, ...]:
        """What a relying party fetches from them for its evidence, or finds in its store."""


class MadeEndorsing:
    """A relying party's store that holds what these TEEs' vendors say, and nothing else."""

    def __init__(self, tees: Iterable[MadeTee]) -> None:
        self._tees = tuple(tees)

    async def gather(self, evidence: Evidence, roots: VendorRoots, *, at: int, asker: str | None) -> Gathered:  # noqa: ARG002 - as `Endorsing`
        """What there is for evidence of one of them, and what it brought."""
        alike = (tee for tee in self._tees if tee.platform == evidence.platform)
        fetched = next((tee.fetched() for tee in alike if bool(tee.gpus(bytes(32))) == bool(evidence.gpu)), ())
        return Gathered((*evidence.endorsements, *fetched))


def policy_of(tees: Sequence[MadeTee], workloads: Collection[bytes]) -> AppraisalPolicy:
    """Takes these TEEs, at most one of each platform, and nothing else."""
    platforms = tuple(tee.platform_policy(workloads) for tee in tees)
    flags: set[Unsafe] = {flag for platform in platforms for flag in exceptions(platform)}
    return AppraisalPolicy(
        unsafe=("UnsafeAllowOtherRoots", *sorted(flags)),
        roots=_joined(tee.roots() for tee in tees),
        platforms=platforms,
    )


def _joined(parts: Iterable[VendorRoots]) -> VendorRoots:
    joined = NO_ROOTS
    for part in parts:
        joined = VendorRoots(
            amd={**joined.amd, **part.amd},
            intel=(*joined.intel, *part.intel),
            nitro=(*joined.nitro, *part.nitro),
            nvidia_devices=(*joined.nvidia_devices, *part.nvidia_devices),
            nvidia_manifests=(*joined.nvidia_manifests, *part.nvidia_manifests),
        )
    return joined


NO_ROOTS = VendorRoots(amd={}, intel=(), nitro=(), nvidia_devices=(), nvidia_manifests=())


@dataclass(frozen=True)
class MadeGpus:
    """The GPUs of one node, of one vendor; all run the same driver and VBIOS."""

    at: int
    devices: int = 1

    @property
    def vendor(self) -> NvidiaVendor:
        """Who made them."""
        return NvidiaVendor(Life(self.at - 30 * DAY, self.at + 30 * DAY))

    @property
    def all(self) -> tuple[MadeDevice, ...]:
        """Each of them."""
        return tuple(MadeDevice(vendor=self.vendor, serial=f"48B02D{number:010}") for number in range(self.devices))

    def evidence(self, nonce: bytes) -> tuple[GpuEvidence, ...]:
        """What all of them say to the nonce."""
        return tuple(GpuEvidence(report=one.report(nonce), chain=one.chain()) for one in self.all)

    def policy(self) -> NvidiaPolicy:
        """The tightest that they meet."""
        one = self.all[0]
        return NvidiaPolicy(
            gpus=self.devices,
            switches=0,
            architectures=("hopper",),
            modes=("single",),
            drivers=(one.driver,),
            vbioses=("96.00.9F.00.01",),
            switch_bioses=(),
            without_fwid=False,
            unsafe=(),
            expressions=(),
        )

    def manifests(self) -> tuple[bytes, ...]:
        """NVIDIA's word on what runs on them: of the driver, and of the VBIOS."""
        driver = MadeRim(version=self.all[0].driver, measurements={index: [measured(index)] for index in range(9, 40)})
        vbios = MadeRim(version="96.00.9F.00.01", measurements={index: [measured(index)] for index in range(9)})
        return driver.file(self.vendor.rim_signer), vbios.file(self.vendor.rim_signer)

    def answers(self) -> tuple[bytes, ...]:
        """OCSP answers for every chain, in date."""
        responder = Responder(life=Life(self.at - 3600, self.at + 7 * DAY))
        own = [answer for one in self.all for answer in one.answers(responder)]
        return (*own, *self.vendor.rim_answers(responder))

    def fetched(self) -> tuple[Endorsement, ...]:
        """All of these, as endorsements."""
        manifests = [Endorsement(kind="nvidia-manifest", data=one) for one in self.manifests()]
        return (*manifests, *(Endorsement(kind="ocsp-answer", data=one) for one in self.answers()))


@dataclass(frozen=True)
class _WithGpus:
    """What TEEs with or without GPUs have in common."""

    at: int  # when everything is in date, seconds since 1970
    workload: bytes  # 48 bytes
    gpu_vendor: MadeGpus | None = None

    def gpus(self, nonce: bytes) -> tuple[GpuEvidence, ...]:
        """As `Tee`."""
        return () if self.gpu_vendor is None else self.gpu_vendor.evidence(nonce)

    def sealing_key(self, context: bytes) -> None:
        """As `Tee`: none."""

    def gpu_policy(self) -> Gpu:
        """What takes them, or refuses any."""
        return "none" if self.gpu_vendor is None else self.gpu_vendor.policy()

    def gpu_roots(self) -> VendorRoots:
        """The GPU vendor's roots."""
        if self.gpu_vendor is None:
            return NO_ROOTS
        vendor = self.gpu_vendor.vendor
        pins = {"nvidia_devices": (vendor.device_root.pin,), "nvidia_manifests": (vendor.rim_root.pin,)}
        return msgspec.structs.replace(NO_ROOTS, **pins)

    def fetched(self) -> tuple[Endorsement, ...]:
        """As `MadeTee`."""
        return () if self.gpu_vendor is None else self.gpu_vendor.fetched()


@dataclass(frozen=True)
class MadeSnpTee(_WithGpus):
    """An SEV-SNP guest whose launch measurement stands for its workload."""

    platform: Literal["snp"] = "snp"
    seed: str = "made-up"

    @property
    def hardware(self) -> SnpHardware:
        """Its chip, and the vendor behind it."""
        return SnpHardware(seed=self.seed, life=Life(self.at - 30 * DAY, self.at + 30 * DAY))

    @property
    def measurement(self) -> bytes:
        """At launch: another image for each workload."""
        return register_value(self.workload, "sha384")

    def collect(self, report_data: bytes, *, challenge: bytes) -> Collected:  # noqa: ARG002 - the report has one field
        """As `Tee`; with the certificates that a host has, and a fresh list."""
        chip = self.hardware
        report = replace(chip.report(), report_data=report_data, measurement=self.measurement)
        return Collected(chip.sign(report), _amd(chip))

    def platform_policy(self, workloads: Collection[bytes]) -> SnpPlatform:
        """As `MadeTee`."""
        images = tuple(SnpImage(measurement=register_value(one, "sha384"), workload=one) for one in workloads)
        measurements = tuple(one.measurement for one in images)
        report = msgspec.structs.replace(self.hardware.policy(), measurements=measurements)
        return SnpPlatform(report=report, images=images, gpu=self.gpu_policy())

    def roots(self) -> VendorRoots:
        """As `MadeTee`."""
        return msgspec.structs.replace(self.gpu_roots(), amd=dict(self.hardware.roots))


@dataclass(frozen=True)
class MadeTdxTee(_WithGpus):
    """A trust domain whose loader extended RTMR3 by its workload."""

    platform: Literal["tdx"] = "tdx"

    @property
    def hardware(self) -> TdxHardware:
        """Its platform, and the vendor behind it."""
        return TdxHardware(at=self.at)

    def collect(self, report_data: bytes, *, challenge: bytes) -> Collected:  # noqa: ARG002 - the quote has one field
        """As `Tee`."""
        return Collected(self.hardware.quote(self.domain(report_data)))

    def domain(self, report_data: bytes) -> TdReport:
        """What the module says of it."""
        return replace(TD, rtmrs=(*TD.rtmrs[:3], register_value(self.workload, "sha384")), report_data=report_data)

    def fetched(self) -> tuple[Endorsement, ...]:
        """As `MadeTee`: Intel's collateral for its platform, and what there is to know of its GPUs."""
        collateral = Endorsement(kind="intel-collateral", data=msgspec.json.encode(self.hardware.collateral()))
        return (collateral, *super().fetched())

    def platform_policy(self, workloads: Collection[bytes]) -> TdxPlatform:  # noqa: ARG002 - the register tells them
        """As `MadeTee`."""
        return TdxPlatform(quote=self.quote_policy(), gpu=self.gpu_policy())

    def quote_policy(self) -> TdxPolicy:
        """The tightest that its quotes meet."""
        return self.hardware.policy(msgspec.structs.replace(image_of(TD), rtmr3="workload"))

    def roots(self) -> VendorRoots:
        """As `MadeTee`."""
        return msgspec.structs.replace(self.gpu_roots(), intel=tuple(self.hardware.roots))


@dataclass(frozen=True)
class MadeAzureTee(_WithGpus):
    """A confidential VM of Azure's kind on SEV-SNP, with a vTPM that is made up, or real."""

    platform: Literal["azure-snp"] = "azure-snp"

    @property
    def tpm(self) -> MadeTpm:
        """Its vTPM, whose PCR 13 the loader extended by the workload."""
        pcrs = PCRS | {TPM_REGISTER: register_value(self.workload, "sha256")}
        return MadeTpm({SHA256: pcrs}, scheme=RSASSA)

    @property
    def hardware(self) -> SnpHardware:
        """Its chip, and the vendor behind it."""
        return SnpHardware(seed="made-up cloud", life=Life(self.at - 30 * DAY, self.at + 30 * DAY))

    def collect(self, report_data: bytes, *, challenge: bytes) -> Collected:  # noqa: ARG002 - the quote has one field
        """As `Tee`: `report_data` are the quote's 32 bytes."""
        chip, runtime = self.hardware, runtime_data()
        report = replace(chip.report(), report_data=report_data_of(runtime), measurement=b"p" * 48)
        hcl = hcl_report(chip.sign(report), runtime)
        told = azure_evidence(hcl, report_data, beside={"vcek": chip.certificate()}, tpm=self.tpm)
        return Collected(told, _amd(chip)[1:])

    def platform_policy(self, workloads: Collection[bytes]) -> AzureSnpPlatform:  # noqa: ARG002 - the register tells them
        """As `MadeTee`."""
        return AzureSnpPlatform(
            report=msgspec.structs.replace(self.hardware.policy(), measurements=(b"p" * 48,)),
            vm=_vm_policy(),
            gpu=self.gpu_policy(),
        )

    def roots(self) -> VendorRoots:
        """As `MadeTee`."""
        return msgspec.structs.replace(self.gpu_roots(), amd=dict(self.hardware.roots))


@dataclass(frozen=True)
class MadeAzureTdxTee(_WithGpus):
    """The same on TDX, where the paravisor is what the module measures."""

    platform: Literal["azure-tdx"] = "azure-tdx"

    @property
    def hardware(self) -> TdxHardware:
        """Its platform, and the vendor behind it."""
        return TdxHardware(at=self.at, seed="made-up cloud")

    def collect(self, report_data: bytes, *, challenge: bytes) -> Collected:  # noqa: ARG002 - the quote has one field
        """As `Tee`: `report_data` are the quote's 32 bytes."""
        runtime = runtime_data()
        domain = replace(TD, report_data=report_data_of(runtime))
        hcl = hcl_report(td_report(domain), runtime, tdx=True)
        beside, tpm = {"td_quote": self.hardware.quote(domain)}, MadeAzureTee(self.at, self.workload).tpm
        return Collected(azure_evidence(hcl, report_data, beside=beside, tpm=tpm))

    def fetched(self) -> tuple[Endorsement, ...]:
        """As `MadeTee`."""
        collateral = Endorsement(kind="intel-collateral", data=msgspec.json.encode(self.hardware.collateral()))
        return (collateral, *super().fetched())

    def platform_policy(self, workloads: Collection[bytes]) -> AzureTdxPlatform:  # noqa: ARG002 - the register tells them
        """As `MadeTee`."""
        quote = self.hardware.policy(image_of(TD))
        return AzureTdxPlatform(quote=quote, vm=_vm_policy(), gpu=self.gpu_policy())

    def roots(self) -> VendorRoots:
        """As `MadeTee`."""
        return msgspec.structs.replace(self.gpu_roots(), intel=tuple(self.hardware.roots))


def _vm_policy() -> AzurePolicy:
    """What both of Azure's kinds here meet besides their hardware's policy."""
    tpm = TpmPolicy(bank="sha256", pcrs={index: (PCRS[index],) for index in _BOOT})
    return AzurePolicy(vm_configuration={"secure-boot": True}, tpm=tpm, expressions=())


@dataclass(frozen=True)
class MadeNitroTee:
    """An enclave whose loader extended PCR 16 by its workload, and locked it."""

    at: int
    workload: bytes
    platform: Literal["nitro"] = "nitro"

    @property
    def hardware(self) -> MadeNitro:
        """Its module."""
        return MadeNitro(self.at)

    def collect(self, report_data: bytes, *, challenge: bytes) -> Collected:
        """As `Tee`."""
        pcrs = {**self.hardware.fields()["pcrs"], NITRO_REGISTER: register_value(self.workload, "sha384")}
        return Collected(self.hardware.document(pcrs=pcrs, user_data=report_data, nonce=challenge))

    def gpus(self, nonce: bytes) -> tuple[GpuEvidence, ...]:  # noqa: ARG002 - there is none to ask
        """As `Tee`: enclaves have none."""
        return ()

    def sealing_key(self, context: bytes) -> None:
        """As `Tee`: none."""

    def fetched(self) -> tuple[Endorsement, ...]:
        """As `MadeTee`: a document carries its whole chain."""
        return ()

    def platform_policy(self, workloads: Collection[bytes]) -> NitroPlatform:  # noqa: ARG002 - the register tells them
        """As `MadeTee`."""
        image = NitroImage(pcr0=b"\1" * 48, pcr1=b"\2" * 48, pcr2=b"\3" * 48)
        document = NitroPolicy(
            images=(image,), pcrs={}, maximum_age_seconds=600, maximum_ahead_seconds=60, expressions=()
        )
        return NitroPlatform(document=document)

    def roots(self) -> VendorRoots:
        """As `MadeTee`."""
        return msgspec.structs.replace(NO_ROOTS, nitro=tuple(self.hardware.roots))


def _amd(chip: SnpHardware) -> tuple[Endorsement, ...]:
    given = chip.endorsements()
    certificates = [Endorsement(kind="amd-certificates", data=one) for one in given.chain]
    return (*certificates, *(Endorsement(kind="amd-revocations", data=one) for one in given.revocations))
