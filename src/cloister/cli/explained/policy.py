"""What an appraisal policy takes, in sentences, and, as prominently, what it does not check, relaxes or accepts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from cloister.cli.explained.policy_gpu import explain_gpu
from cloister.cli.explained.policy_intel import explain_tdx
from cloister.cli.explained.policy_snp import explain_snp
from cloister.cli.explained.policy_verifiers import explain_verifiers
from cloister.cli.explained.policy_vm import explain_nitro, explain_vm
from cloister.cli.explained.policy_words import UNSAFE, Said, Words
from cloister.formats.appraisal_policy import (
    AppraisalPolicy,
    AzureSnpPlatform,
    AzureTdxPlatform,
    NitroPlatform,
    Platform,
    SnpPlatform,
    SoftwarePlatform,
    TdxPlatform,
    VendorRoots,
    VerifierPlatform,
)

_TITLES: Final = MappingProxyType(
    {
        "software": "The software TEE, which protects nothing from its machine's owner",
        "snp": "AMD SEV-SNP guests",
        "tdx": "Intel TDX trust domains",
        "azure-snp": "Azure confidential VMs on SEV-SNP",
        "azure-tdx": "Azure confidential VMs on TDX",
        "nitro": "AWS Nitro Enclaves",
        "verifier": "Whatever a verifier vouches for: its word counts in place of evidence",
    }
)


class PlatformSaid(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy says of one platform."""

    platform: str
    title: str
    takes: tuple[Said, ...]
    relaxes: tuple[Said, ...]
    denies: tuple[str, ...]  # keys of lists that are still empty, so that nothing passes


class PolicySaid(msgspec.Struct, frozen=True, kw_only=True):
    """A whole policy."""

    relaxes: tuple[Said, ...]  # in the policy as a whole
    roots: str
    platforms: tuple[PlatformSaid, ...]
    refused: tuple[str, ...]  # platforms that it does not take at all


def explain_policy(policy: AppraisalPolicy) -> PolicySaid:
    """The policy in sentences."""
    words = Words()
    for flag in policy.unsafe:
        words.relax("unsafe", f"{flag}: {UNSAFE[flag]}.")
    platforms = tuple(_platform(one) for one in policy.platforms)
    named = {one.platform for one in platforms}
    return PolicySaid(
        relaxes=tuple(words.relaxes),
        roots=_roots(policy.roots),
        platforms=platforms,
        refused=tuple(name for name in _TITLES if name not in named),
    )


def _roots(roots: VendorRoots | str) -> str:
    if not isinstance(roots, VendorRoots):
        return "The vendors' own: AMD's, Intel's, AWS's and NVIDIA's, as Cloister pins them."
    pins = {
        "AMD": len(roots.amd),
        "Intel": len(roots.intel),
        "AWS": len(roots.nitro),
        "NVIDIA devices": len(roots.nvidia_devices),
        "NVIDIA manifests": len(roots.nvidia_manifests),
    }
    told = ", ".join(f"{name} {number or 'none'}" for name, number in pins.items())
    return f"Others than the vendors' ({told}): whoever has their keys can make evidence of any hardware."


def _platform(platform: Platform) -> PlatformSaid:
    words = Words()
    _EXPLAIN[type(platform)](platform, words)
    name = str(platform.__struct_config__.tag)
    return PlatformSaid(
        platform=name,
        title=_TITLES[name],
        takes=tuple(words.takes),
        relaxes=tuple(words.relaxes),
        denies=tuple(words.denies),
    )


def _software(platform: SoftwarePlatform, words: Words) -> None:
    words.named("keys", platform.keys, "platform key", "taken, and lies on its machine's disk")
    words.named("measurements", platform.measurements, "platform measurement", "taken")
    words.relax("platform", "Nothing is protected from whoever owns the machine: it can sign what it likes.")


def _snp(platform: SnpPlatform, words: Words) -> None:
    explain_snp(platform.report, words)
    words.named("images", platform.images, "launch measurement", "tied to the workload that it boots")
    explain_gpu(platform.gpu, words)


def _tdx(platform: TdxPlatform, words: Words) -> None:
    explain_tdx(platform.quote, words)
    explain_gpu(platform.gpu, words)


def _azure_snp(platform: AzureSnpPlatform, words: Words) -> None:
    explain_snp(platform.report, words)
    explain_vm(platform.vm, words)
    explain_gpu(platform.gpu, words)


def _azure_tdx(platform: AzureTdxPlatform, words: Words) -> None:
    explain_tdx(platform.quote, words)
    explain_vm(platform.vm, words)
    explain_gpu(platform.gpu, words)


def _nitro(platform: NitroPlatform, words: Words) -> None:
    explain_nitro(platform.document, words)


_EXPLAIN: Final[Mapping[type[Platform], Callable[[Any, Words], None]]] = MappingProxyType(
    {
        SoftwarePlatform: _software,
        SnpPlatform: _snp,
        TdxPlatform: _tdx,
        AzureSnpPlatform: _azure_snp,
        AzureTdxPlatform: _azure_tdx,
        NitroPlatform: _nitro,
        VerifierPlatform: explain_verifiers,
    }
)
