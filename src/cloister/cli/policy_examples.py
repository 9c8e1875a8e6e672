"""Appraisal policies to begin from: one for each platform, strict, commented, and with nothing in their lists yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from cloister.errors import UsageError
from cloister.formats.appraisal_policy import (
    AppraisalPolicy,
    AzureSnpPlatform,
    AzureTdxPlatform,
    NitroPlatform,
    Platform,
    SnpPlatform,
    SoftwarePlatform,
    TdxPlatform,
    VerifierPlatform,
)
from cloister.formats.appraisal_policy_file import format_appraisal_policy
from cloister.formats.azure_policy import AzurePolicy
from cloister.formats.nitro_policy import NitroPolicy
from cloister.formats.nvidia_policy import NvidiaPolicy
from cloister.formats.snp_policy import SnpGuestBits, SnpMinimum, SnpPlatformBits, SnpPolicy
from cloister.formats.snp_tcb import Product
from cloister.formats.tcb_info import TcbStatus
from cloister.formats.tdx_policy import IntelTcbPolicy, TdxPolicy
from cloister.formats.tpm_policy import TpmPolicy

HEAD: Final = """\
An appraisal policy to begin from. It denies everything until its lists have something in them: an empty list takes
nothing. Every key has to stand here; bytes are lower-case hexadecimal digits, as cloister evidence show prints them.
What it says in sentences: cloister appraisal-policy explain FILE
"""
_ANY = 'or "any"'
_COMMENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "unsafe": "Every exception that stands below has to be named here too. None is.",
        "roots": "Whose hardware: the vendors', as Cloister pins their roots.",
        "platforms.report.unsafe": "UnsafeAllowSnpDebug, UnsafeAllowSnpMigrationAgent, UnsafeAllowSnpWithoutRevocation",
        "platforms.report.signing_keys": "VCEK: one chip's own key. VLEK: a cloud's, for all of its chips.",
        "platforms.report.csp_ids": f"Whose VLEKs, if VLEK is taken above: names of clouds, {_ANY}.",
        "platforms.report.vmpls": "Who in the guest may have asked: 0 is the most privileged level.",
        "platforms.report.minimum_abi": "What POLICY demands of the firmware, so that no older one runs the guest.",
        "platforms.report.minimum_firmware": "Committed: major, minor, build.",
        "platforms.report.minimum_tcbs": "The lowest patch levels of a product; one without a table here is not taken."
        "\nToday's are in AMD's security bulletins; these numbers are where to begin.",
        "platforms.report.mitigations": "Bits that both mitigation vectors must have (reports of version 5); 0: none.",
        "platforms.report.chip_ids": f"Machines, by CHIP_ID of 64 bytes, {_ANY}.",
        "platforms.report.measurements": "Launch measurements, 48 bytes each, such as sev-snp-measure computes.",
        "platforms.report.host_data": f"HOST_DATA, 32 bytes each, {_ANY}: the host gives it.",
        "platforms.report.id_key_digests": f"Who signed the identity block, 48 bytes each, {_ANY}; zeros: nobody.",
        "platforms.report.author_key_digests": f"Who signed for that key, 48 bytes each, {_ANY}; zeros: nobody.",
        "platforms.report.minimum_guest_svn": "The guest's own version, from its identity block.",
        "platforms.report.guest": "What the guest's POLICY says: required, forbidden, or either.",
        "platforms.report.platform": "What PLATFORM_INFO says: required, forbidden, or either."
        "\nalias_check_complete stands against BadRAM (AMD-SB-3015).",
        **dict.fromkeys(
            [f"platforms.{part}.expressions" for part in ("report", "quote", "vm", "document", "gpu")],
            "What has to be true besides, in expressions: docs/formats/expressions.md.",
        ),
        "platforms.images": "Which launch measurement boots which workload, 48 bytes each; measurements has the same."
        "\nFor … write 96 hex digits:"
        '\nimages = [\n  { measurement = "…", workload = "…" },\n]',
        "platforms.gpu": "none: evidence of a GPU is refused. Else a table, which --gpus writes.",
        "platforms.gpu.gpus": "Exactly so many GPUs and switches.",
        "platforms.gpu.architectures": "hopper, blackwell",
        "platforms.gpu.modes": "How they are tied: single, multi, protected-pcie (with switches), unstated.",
        "platforms.gpu.drivers": "Versions of drivers, such as 580.95.05, and of VBIOSes, such as 96.00.CF.00.02.",
        "platforms.gpu.without_fwid": "Whether reports are taken that do not say the firmware id (drivers before 550).",
        "platforms.gpu.unsafe": "UnsafeAllowUncheckedRevocation, UnsafeAllowUnmeasuredGpu,"
        "\nUnsafeAllowUnattestedSwitches",
        "platforms.quote.images": "Trust domains, each by all that was measured: mr_td, rtmrs (RTMR0 to RTMR2), rtmr3,"
        "\nmr_config_id, mr_owner, mr_owner_config. workload: the one that is asked for; or a list of values of RTMR3."
        "\nFor … write 96 hex digits (48 bytes):\nimages = ["
        '\n  { mr_td = "…", rtmr3 = "workload", mr_config_id = "…", mr_owner = "…", mr_owner_config = "…", rtmrs = ['
        '\n    "…", "…", "…",\n  ] },\n]',
        "platforms.quote.unsafe": "UnsafeAllowTdDebug, UnsafeAllowSeptVe, UnsafeAllowMigratableTd",
        "platforms.quote.protection_keys": "TD attributes PKS, KL and PERFMON: required, allowed or refused.",
        "platforms.quote.other_attributes": "Further TD attributes that may be set, 8 bytes little-endian.",
        "platforms.quote.xfam_required": "XFAM: x87 and SSE have to be there; AVX, AVX-512, AMX, CET and PKU may be.",
        "platforms.quote.service_tds": "MRSERVICETD of service TDs that may be bound, 48 bytes each.",
        "platforms.quote.unreported_service_td": "Quotes of version 4 do not say which is bound: refuse or accept.",
        "platforms.quote.tcb.statuses": "What Intel says of platform, TDX module and quoting enclave together.",
        "platforms.quote.tcb.maximum_tcb_age_seconds": "How long ago the TCB level may have been published: two years.",
        "platforms.quote.tcb.advisories": "Advisories (INTEL-SA-00000) that somebody read and accepts.",
        "platforms.quote.tcb.minimum_evaluation_data_number": "The TCB recovery that collateral has to know of.",
        "platforms.quote.tcb.ppids": f"Machines, by PPID of 16 bytes, {_ANY}.",
        "platforms.quote.tcb.fmspcs": f"Kinds of machines, by FMSPC of 6 bytes, {_ANY}.",
        "platforms.vm.vm_configuration": "What the paravisor has to have seen.",
        "platforms.vm.tpm.pcrs": "PCRs of that bank, each with the values that are taken. PCR 13 is the workload's.",
        "platforms.document.images": "Enclave images: pcr0, pcr1 and pcr2 of each, as nitro-cli prints them:"
        '\nimages = [\n  { pcr0 = "…", pcr1 = "…", pcr2 = "…" },\n]',
        "platforms.document.maximum_age_seconds": "How old a document may be, and how far AWS's clock may be ahead.",
        "platforms.document.pcrs": "Further PCRs: 3 the parent's role, 4 the parent instance, 8 who signed the image.",
    }
)


def example_text(platform: str, *, gpus: int = 0) -> str:
    """The example for a platform, with so many GPUs, and with comments.

    Raises:
        UsageError: a platform that no GPU is tied to.
    """
    part = EXAMPLES[platform]()
    if gpus:
        if isinstance(part, NitroPlatform | SoftwarePlatform | VerifierPlatform):
            raise UsageError(f"nothing ties a GPU to a node of {platform}: leave --gpus away")
        part = msgspec.structs.replace(part, gpu=_gpu(gpus))
    policy = AppraisalPolicy(unsafe=(), roots="vendors", platforms=(part,))
    head = "".join(f"# {line}\n" for line in HEAD.splitlines())
    return f"{head}\n{format_appraisal_policy(policy, comment=_comment)}"


def _comment(path: Sequence[str]) -> str:
    return _COMMENTS.get(".".join(path), "")


def _report() -> SnpPolicy:
    return SnpPolicy(
        unsafe=(),
        signing_keys=("VCEK",),
        csp_ids=(),
        vmpls=(0,),
        minimum_abi=(1, 55),
        minimum_firmware=(1, 55, 0),
        minimum_tcbs=(
            SnpMinimum(product=Product.MILAN, fmc=0, bootloader=4, tee=0, snp=27, microcode=219),
            SnpMinimum(product=Product.GENOA, fmc=0, bootloader=10, tee=0, snp=23, microcode=84),
        ),
        guest=SnpGuestBits(
            smt="either",
            single_socket="either",
            cxl_allow="forbidden",
            mem_aes_256_xts="either",
            rapl_dis="either",
            ciphertext_hiding_dram="either",
            page_swap_disable="either",
        ),
        platform=SnpPlatformBits(
            smt_en="either",
            tsme_en="either",
            ecc_en="required",
            rapl_dis="either",
            ciphertext_hiding_dram_en="either",
            alias_check_complete="required",
            tio_en="either",
        ),
        mitigations=0,
        chip_ids=(),
        measurements=(),
        host_data=(),
        id_key_digests=(),
        author_key_digests=(),
        minimum_guest_svn=0,
        expressions=(),
    )


def _quote() -> TdxPolicy:
    tcb = IntelTcbPolicy(
        statuses=(TcbStatus.UP_TO_DATE,),
        maximum_tcb_age_seconds=2 * 365 * 86_400,
        advisories=(),
        minimum_evaluation_data_number=17,
        ppids=(),
        fmspcs=(),
    )
    return TdxPolicy(
        tcb=tcb,
        images=(),
        unsafe=(),
        protection_keys="allowed",
        key_locker="refused",
        performance_monitoring="refused",
        other_attributes=bytes(8),
        xfam_required=(0x3).to_bytes(8, "little"),
        xfam_allowed=(0x61BE7).to_bytes(8, "little"),
        service_tds=(),
        unreported_service_td="refuse",
        expressions=(),
    )


def _vm() -> AzurePolicy:
    pcrs: dict[int, tuple[bytes, ...]] = dict.fromkeys((*range(10), 11, 12), ())
    wanted: dict[str, bool | str] = {"secure-boot": True, "tpm-enabled": True, "console-enabled": False}
    return AzurePolicy(vm_configuration=wanted, tpm=TpmPolicy(bank="sha256", pcrs=pcrs), expressions=())


def _gpu(count: int) -> NvidiaPolicy:
    return NvidiaPolicy(
        gpus=count,
        switches=0,
        architectures=(),
        modes=("single",) if count == 1 else ("multi",),
        drivers=(),
        vbioses=(),
        switch_bioses=(),
        without_fwid=False,
        unsafe=(),
        expressions=(),
    )


def _nitro() -> NitroPlatform:
    pcrs: dict[int, tuple[bytes, ...]] = dict.fromkeys((3, 4, 8), ())
    document = NitroPolicy(images=(), pcrs=pcrs, maximum_age_seconds=300, maximum_ahead_seconds=5, expressions=())
    return NitroPlatform(document=document)


EXAMPLES: Final[Mapping[str, Callable[[], Platform]]] = MappingProxyType(
    {
        "snp": lambda: SnpPlatform(report=_report(), images=(), gpu="none"),
        "tdx": lambda: TdxPlatform(quote=_quote(), gpu="none"),
        "azure-snp": lambda: AzureSnpPlatform(report=_report(), vm=_vm(), gpu="none"),
        "azure-tdx": lambda: AzureTdxPlatform(quote=_quote(), vm=_vm(), gpu="none"),
        "nitro": _nitro,
    }
)
