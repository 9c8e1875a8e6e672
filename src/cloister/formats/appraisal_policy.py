"""What evidence must meet (docs/formats/evidence.md): part of constitutions and contracts, fixed by their digest."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.azure_policy import AzurePolicy
from cloister.formats.canonical import Digest, Measurement, PublicKey
from cloister.formats.contract_verifier import Verifier
from cloister.formats.evidence import Role, Unsafe
from cloister.formats.nitro_policy import NitroPolicy
from cloister.formats.nvidia_policy import NvidiaPolicy
from cloister.formats.snp_policy import SnpImage, SnpPolicy
from cloister.formats.snp_tcb import Product
from cloister.formats.tdx_policy import TdxPolicy

Gpu = NvidiaPolicy | Literal["none"]  # none: evidence of a GPU is refused
Pins = Annotated[tuple[Digest, ...], msgspec.Meta(max_length=8)]  # SHA-256 of roots' public keys


class VendorRoots(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Roots in place of the vendors': of hardware that somebody made up, or of a vendor's that is not known here."""

    amd: dict[Product, Digest]
    intel: Pins
    nitro: Pins
    nvidia_devices: Pins
    nvidia_manifests: Pins

    def digest(self) -> bytes:
        """SHA-256 of the deterministic encoding, 32 bytes: whose memory and store it is."""
        return hashlib.sha256(canonical.encode(self)).digest()


class SoftwarePlatform(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="platform", tag="software"
):
    """The software TEE."""

    keys: tuple[PublicKey, ...]  # the local platform keys whose reports are taken
    measurements: tuple[Measurement, ...]


class SnpPlatform(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="platform", tag="snp"
):
    """An SEV-SNP guest that speaks for itself, at VMPL 0."""

    report: SnpPolicy
    images: Annotated[tuple[SnpImage, ...], msgspec.Meta(max_length=64)]
    gpu: Gpu

    def __post_init__(self) -> None:
        """Refuse a launch measurement of which nobody says what it boots."""
        if set(self.report.measurements) != {image.measurement for image in self.images}:
            raise ValueError("each launch measurement needs an image that names its workload, and each image is one")


class TdxPlatform(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="platform", tag="tdx"
):
    """A trust domain whose loader extended RTMR3 by the workload."""

    quote: TdxPolicy
    gpu: Gpu


# PCRs that say what an Azure VM booted: the boot loader (4), secure boot and its keys (7), GRUB's commands and files (8
# and 9), a unified kernel image and what was added to it (11, 12). Whoever owns the disk chooses what is left out.
BOOT_PCRS: Final = (4, 7, 8, 9, 11, 12)


def _require_boot(vm: AzurePolicy) -> None:
    """Hold that a policy says which kernel and command line ran: PCR 13 is extended by whoever is root there.

    Raises:
        ValueError: it leaves a PCR of the boot out, or is over another bank than the workload's.
    """
    missing = [str(index) for index in BOOT_PCRS if index not in vm.tpm.pcrs]
    if missing:
        raise ValueError(f"the vTPM's PCR {', '.join(missing)} is not named: nothing would say what the VM booted")
    if vm.tpm.bank != "sha256":
        raise ValueError("Azure's vTPM is held by its SHA-256 bank, where the workload stands")


class AzureSnpPlatform(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="platform", tag="azure-snp"
):
    """A confidential VM of Azure on SEV-SNP: a paravisor, and its vTPM with the workload in PCR 13."""

    report: SnpPolicy
    vm: AzurePolicy
    gpu: Gpu

    def __post_init__(self) -> None:
        """Refuse a policy under which the disk's owner chooses the kernel."""
        _require_boot(self.vm)


class AzureTdxPlatform(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="platform", tag="azure-tdx"
):
    """The same on TDX."""

    quote: TdxPolicy
    vm: AzurePolicy
    gpu: Gpu

    def __post_init__(self) -> None:
        """As on SEV-SNP."""
        _require_boot(self.vm)


class VerifierPlatform(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="platform", tag="verifier"
):
    """Whatever hardware a node runs on, as a verifier saw it: its word counts, and every client is shown that."""

    verifiers: Annotated[tuple[Verifier, ...], msgspec.Meta(max_length=8)]

    def __post_init__(self) -> None:
        """A name means one verifier."""
        if len({one.name for one in self.verifiers}) < len(self.verifiers):
            raise ValueError("a verifier is named twice")


class NitroPlatform(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="platform", tag="nitro"
):
    """An AWS Nitro Enclave, with the workload in PCR 16."""

    document: NitroPolicy


Platform = (
    SoftwarePlatform
    | SnpPlatform
    | TdxPlatform
    | AzureSnpPlatform
    | AzureTdxPlatform
    | NitroPlatform
    | VerifierPlatform
)


class AppraisalPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """No list has a default: an empty list allows nothing."""

    version: Literal[1] = 1
    unsafe: tuple[Unsafe, ...]  # every exception below is named here too, so that nobody overlooks one
    roots: Literal["vendors"] | VendorRoots
    platforms: Annotated[tuple[Platform, ...], msgspec.Meta(max_length=16)]  # at most one of a kind

    def __post_init__(self) -> None:
        """Refuse what hides an exception, or says two things of one platform."""
        named = [platform.__struct_config__.tag for platform in self.platforms]
        if len(set(named)) < len(named):
            raise ValueError("a platform is named twice")
        if self.roots != "vendors" and "UnsafeAllowOtherRoots" not in self.unsafe:
            raise ValueError("roots other than the vendors' need UnsafeAllowOtherRoots")
        hidden = sorted({flag for platform in self.platforms for flag in exceptions(platform)} - set(self.unsafe))
        if hidden:
            raise ValueError(f"{', '.join(hidden)} stands in a platform and not in the policy's own list")


def takes(policy: AppraisalPolicy, platform: str) -> Platform | None:
    """What a policy says of the platform of this name; None where it does not take it."""
    return next((one for one in policy.platforms if one.__struct_config__.tag == platform), None)


def named_verifiers(policy: AppraisalPolicy) -> tuple[Verifier, ...]:
    """Those whose word a policy takes in place of raw evidence."""
    return tuple(one for part in policy.platforms if isinstance(part, VerifierPlatform) for one in part.verifiers)


def exceptions(platform: Platform) -> tuple[Unsafe, ...]:
    """The `Unsafe…` names that a platform's parts accept."""
    match platform:
        case SnpPlatform() | AzureSnpPlatform():
            own: tuple[Unsafe, ...] = platform.report.unsafe
        case TdxPlatform() | AzureTdxPlatform():
            own = platform.quote.unsafe
        case SoftwarePlatform() | NitroPlatform() | VerifierPlatform():
            return ()
    return own if platform.gpu == "none" else (*own, *platform.gpu.unsafe)


class RoleReference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The reference values for one role: which code may play it, with which settings."""

    role: Role
    workloads: Annotated[tuple[Measurement, ...], msgspec.Meta(max_length=64)]
    settings: Annotated[tuple[Digest, ...], msgspec.Meta(max_length=64)]
