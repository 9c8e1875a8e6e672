"""What evidence needs of vendors, once its own signature holds as far as that can be known without them.

So nobody makes us ask a vendor by sending what is no evidence. A TDX quote brings its chain, a GPU too; of an Azure VM
the paravisor's runtime data and the vTPM's quote are held. A report of SEV-SNP has no key before AMD is asked: there
only a well-formed report of a known product asks, and how often, its asker's limit says (`Needs.proven`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cloister.attest.azure import examine_azure
from cloister.attest.certificates import name_of, parse_certificates
from cloister.attest.nvidia.chain import NvidiaTerms
from cloister.attest.nvidia.device import DeviceEvidence, examine_nvidia_device
from cloister.attest.ocsp import STAPLED
from cloister.attest.tdx.quote import AuthenticIntelQuote, Tee, examine_quote
from cloister.attest.tpm import SignedQuote
from cloister.endorsements.wanted import (
    PckCa,
    WantedAnswer,
    WantedKey,
    WantedManifest,
    WantedPckList,
    WantedQeIdentity,
    WantedRootList,
    WantedTcbInfo,
)
from cloister.errors import MalformedInput
from cloister.formats.appraisal_policy import VendorRoots
from cloister.formats.azure_evidence import AzureEvidence, parse_azure_buffers
from cloister.formats.endorsements import Endorsement
from cloister.formats.nvidia_policy import NvidiaUnsafe
from cloister.formats.snp_report import SigningKey, SnpReport, parse_snp_report
from cloister.formats.snp_tcb import Product, Tcb
from cloister.formats.td_report import TdReport

_CAS: Final[dict[str, PckCa]] = {
    "Intel SGX PCK Platform CA": "platform",
    "Intel SGX PCK Processor CA": "processor",
}
_UNCHECKED: Final[tuple[NvidiaUnsafe, ...]] = ("UnsafeAllowUncheckedRevocation",)  # that is what is asked for here


class Device(Protocol):
    """A GPU's or switch's evidence, as `formats.evidence.GpuEvidence`."""

    @property
    def report(self) -> bytes:
        """SPDM request and response."""

    @property
    def chain(self) -> bytes:
        """Its certificates in PEM."""


class EvidenceLike(Protocol):
    """What is looked at of evidence: `formats.evidence.Evidence` is such, and a bare report made to look like it."""

    @property
    def platform(self) -> str:
        """As appraisal policies name it; `sgx`, too."""

    @property
    def report(self) -> bytes:
        """The platform's own."""

    @property
    def endorsements(self) -> Sequence[Endorsement]:
        """What it brought along."""

    @property
    def gpu(self) -> Sequence[Device]:
        """All of the machine's."""


@dataclass(frozen=True, slots=True)
class SnpNeed:
    """The key that signed an SNP report."""

    report: bytes
    keys: tuple[WantedKey, ...]  # a VCEK, of one of these products; none where it was another key
    clouds: tuple[tuple[Product, Tcb], ...]  # a VLEK of some cloud's, of one of these
    given: bytes = b""  # the key's certificate in DER, where evidence has it in itself: that one is judged

    @property
    def products(self) -> tuple[Product, ...]:
        """What the report may be of: the report of version 2 does not say."""
        return tuple(one.product for one in self.keys) + tuple(product for product, _ in self.clouds)


@dataclass(frozen=True, slots=True)
class IntelNeed:
    """What Intel says of one kind of platform."""

    tcb_info: WantedTcbInfo
    identity: WantedQeIdentity
    pck_list: WantedPckList
    root_list: WantedRootList


@dataclass(frozen=True, slots=True)
class Needs:
    """All that evidence needs."""

    snp: SnpNeed | None
    intel: IntelNeed | None
    manifests: tuple[WantedManifest, ...]
    answers: tuple[WantedAnswer, ...]  # for devices; manifests' signers are known when the manifests are there
    proven: bool  # whether a key that leads to a pinned root signed it


def needs_of(evidence: EvidenceLike, *, roots: VendorRoots, at: int) -> Needs:
    """What `evidence` needs at `at`, seconds since 1970.

    Raises:
        Refused: its own signature does not hold.
        MalformedInput, TooLarge: it is none.
    """
    devices = [_device(one, roots, at) for one in evidence.gpu]
    manifests = tuple(dict.fromkeys(one for manifests, _ in devices for one in manifests))
    answers = tuple(dict.fromkeys(one for _, answers in devices for one in answers))
    match evidence.platform:
        case "snp":
            return Needs(_snp(evidence.report), None, manifests, answers, proven=False)
        case "tdx" | "sgx":
            tee: Tee = "TDX" if evidence.platform == "tdx" else "SGX"
            return Needs(None, _intel(evidence.report, tee, roots, at)[0], manifests, answers, proven=True)
        case "azure-snp":
            return Needs(_azure_snp(evidence.report), None, manifests, answers, proven=False)
        case "azure-tdx":
            return Needs(None, _azure_tdx(evidence.report, roots, at), manifests, answers, proven=True)
        case _:  # AWS's documents bring their chain, and their certificates live three hours
            return Needs(None, None, manifests, answers, proven=True)


def answers_for(chain: Sequence[x509.Certificate], *, whole: bool) -> tuple[WantedAnswer, ...]:
    """The OCSP answers for a chain, its root aside; of a device the leaf is aside too, which it makes by itself."""
    encoded = tuple(one.public_bytes(Encoding.DER) for one in chain)
    return tuple(WantedAnswer(encoded[at:]) for at, _ in list(enumerate(pairwise(encoded)))[0 if whole else 1 :])


def _snp(report: bytes) -> SnpNeed:
    return _snp_need(report, parse_snp_report(report).report)


def _snp_need(data: bytes, report: SnpReport) -> SnpNeed:
    products = (Product.MILAN, Product.GENOA) if report.version == 2 else (report.product,)
    known = [product for product in products if product is not None]
    if not known:
        raise MalformedInput(f"an SNP report of an unknown product, CPUID {report.cpuid}: nobody knows whom to ask")
    levels = tuple((product, Tcb.parse(report.reported_tcb, product)) for product in known)
    if report.signing_key is SigningKey.VLEK:
        return SnpNeed(data, (), levels)
    if report.signing_key is not SigningKey.VCEK or not any(report.chip_id):
        raise MalformedInput("the SNP report is not signed, or hides its chip: have the host show it (MASK_CHIP_ID)")
    return SnpNeed(data, tuple(WantedKey(product, report.chip_id, tcb) for product, tcb in levels), ())


def _intel(quote: bytes, tee: Tee, roots: VendorRoots, at: int) -> tuple[IntelNeed, AuthenticIntelQuote]:
    found = examine_quote(quote, tee, roots=roots.intel, at=at).require()
    need = IntelNeed(
        WantedTcbInfo(tee, found.pck.fmspc),
        WantedQeIdentity(tee),
        WantedPckList(_CAS[name_of(found.pck_chain[1])]),
        WantedRootList(),
    )
    return need, found


def _azure_snp(data: bytes) -> SnpNeed:
    told = parse_azure_buffers(data)
    report = parse_snp_report(told.hcl.hardware).report
    _require_vm(told, report.report_data)
    return replace(_snp_need(told.hcl.hardware, report), given=told.vcek or b"")


def _azure_tdx(data: bytes, roots: VendorRoots, at: int) -> IntelNeed:
    told = parse_azure_buffers(data)
    if told.td_quote is None:
        raise MalformedInput("a TDREPORT without a TD quote: have the VM get one, and send that too")
    need, quote = _intel(told.td_quote, "TDX", roots, at)
    _require_vm(told, quote.body.report_data if isinstance(quote.body, TdReport) else None)
    return need


def _require_vm(told: AzureEvidence, report_data: bytes | None) -> None:
    """The runtime data is what REPORT_DATA names, and the key in it signed the quote."""
    signed = SignedQuote(told.quote, told.signature, told.pcrs)
    examine_azure(told.hcl, signed, report_data=report_data).require()


def _device(one: Device, roots: VendorRoots, at: int) -> tuple[tuple[WantedManifest, ...], tuple[WantedAnswer, ...]]:
    terms = NvidiaTerms(devices=roots.nvidia_devices, manifests=(), answers=(), nonce=STAPLED, at=at, unsafe=_UNCHECKED)
    device = examine_nvidia_device(DeviceEvidence(one.report, one.chain), terms).require()
    manifests = tuple(map(WantedManifest, device.manifests))
    return manifests, answers_for(parse_certificates(one.chain), whole=False)
