"""What Intel's quotes of TDX trust domains and SGX enclaves say.

The words are those of the Intel TDX DCAP Quoting Library API, appendix A.3, the Intel TDX Module ABI Reference
(ATTRIBUTES, XFAM), and the Intel SGX ECDSA Quote Library Reference, appendix A.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cryptography import x509

from cloister.attest.certificates import MALFORMED, parse_certificates
from cloister.cli.explained.certificates import chain_part
from cloister.cli.explained.page import Field, Page, Part, Raw, fields
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.intel_quote import Quote, declared_length, parse_quote
from cloister.formats.pck_certificate import EXTENSIONS_OID, PckExtensions, parse_pck_extensions
from cloister.formats.sgx_report import EnclaveReport
from cloister.formats.td_report import TdAttributes, TdReport

_HEADER: Final = MappingProxyType(
    {
        "version": "The quote's form: 3 is of SGX, 4 and 5 of TDX; 5 can tell of TDX 1.5.",
        "attestation_key_type": "2: the quoting enclave signs with ECDSA over P-256.",
        "tee_type": "0x0 is an SGX enclave, 0x81 a TDX trust domain.",
        "qe_vendor_id": "Who made the quoting enclave: this is Intel's number, which proves nothing by itself.",
        "user_data": "20 bytes of the quoting enclave's; its first 16 are a number of the platform's.",
    }
)
_TD: Final = MappingProxyType(
    {
        "tee_tcb_svn": "TEE_TCB_SVN: security versions of the TDX module that launched the TD: its minor and major"
        " number first, then that of the loader.",
        "mr_seam": "MRSEAM: SHA-384 of the TDX module.",
        "mr_signer_seam": "MRSIGNERSEAM: who signed the TDX module; zeros for Intel's.",
        "seam_attributes": "SEAMATTRIBUTES: zeros for the TDX module.",
        "td_attributes": "TDATTRIBUTES: how the TD may be looked into, moved and used. Its bits follow.",
        "xfam": "XFAM: which extended features of the processor (as XCR0 and IA32_XSS name them) the TD may use.",
        "mr_td": "MRTD: SHA-384 over the TD as it was built, its firmware above all.",
        "mr_config_id": "MRCONFIGID: what whoever started the TD wrote there for its configuration.",
        "mr_owner": "MROWNER: what whoever started the TD wrote there for its owner.",
        "mr_owner_config": "MROWNERCONFIG: what whoever started the TD wrote there for the owner's configuration.",
        "rtmr0": "RTMR0: what the firmware measured of itself and its configuration.",
        "rtmr1": "RTMR1: what the firmware measured of the loader and the kernel.",
        "rtmr2": "RTMR2: what the loader measured: the kernel's command line, the initial ramdisk.",
        "rtmr3": "RTMR3: what the running system extended; alone it says nothing of who extended it.",
        "report_data": "REPORTDATA: 64 bytes that the TD gave: its answer to a challenge.",
        "tee_tcb_svn_2": "TEE_TCB_SVN_2: the same as TEE_TCB_SVN, of the module that runs now; version 5 only.",
        "mr_service_td": "MRSERVICETD: the service TDs bound to it, such as one that migrates it; version 5 only.",
    }
)
_ATTRIBUTES: Final[Mapping[TdAttributes, str]] = MappingProxyType(
    {
        TdAttributes.DEBUG: "the host may read and change the TD: nothing in it is confidential",
        TdAttributes.HGS_PLUS_PROF: "the host profiles the TD's threads",
        TdAttributes.PERF_PROF: "the host profiles the TD with performance counters",
        TdAttributes.PMT_PROF: "the host profiles the TD with the platform's telemetry",
        TdAttributes.ICSSD: "the TD is defended against being stepped by single instructions",
        TdAttributes.LASS: "the TD may use linear address space separation",
        TdAttributes.SEPT_VE_DISABLE: "a page that the host took away stops the TD, and raises no exception in it",
        TdAttributes.MIGRATABLE: "the TD may be moved to another platform",
        TdAttributes.PKS: "the TD may use protection keys of supervisor pages",
        TdAttributes.KL: "the TD may use Key Locker",
        TdAttributes.TPA: "the TD is the platform's provisioning agent (TDX Connect)",
        TdAttributes.PERFMON: "the TD may use performance monitoring",
    }
)
_ENCLAVE: Final = MappingProxyType(
    {
        "cpu_svn": "CPUSVN: the security version of the processor.",
        "misc_select": "MISCSELECT: what is written into the enclave's state when it exits.",
        "isv_ext_prod_id": "ISVEXTPRODID: the maker's long product number.",
        "attributes": "ATTRIBUTES: flags and extended features (XFRM) of the enclave.",
        "debug": "DEBUG, of ATTRIBUTES: whether its owner may read and change the enclave.",
        "mr_enclave": "MRENCLAVE: SHA-256 over the enclave as it was built.",
        "mr_signer": "MRSIGNER: SHA-256 of the key that signed the enclave.",
        "config_id": "CONFIGID: what whoever started the enclave wrote there.",
        "isv_prod_id": "ISVPRODID: the maker's product number.",
        "isv_svn": "ISVSVN: the enclave's security version.",
        "config_svn": "CONFIGSVN: the security version of its configuration.",
        "isv_family_id": "ISVFAMILYID: the maker's family of products.",
        "report_data": "REPORTDATA: 64 bytes that the enclave gave; a quoting enclave's name the attestation key.",
    }
)
_PCK: Final = MappingProxyType(
    {
        "ppid": "PPID: the platform's own number.",
        "fmspc": "FMSPC: family, model, stepping, platform type and custom SKU; Intel's TCB info is fetched for it.",
        "pce_id": "PCE-ID: which provisioning certification enclave.",
        "sgx_type": "0: standard, 1: scalable, 2: scalable with integrity.",
        "components": "SGX TCB components 1 to 16: what Intel holds against the levels of its TCB info.",
        "pce_svn": "PCESVN: the security version of the provisioning certification enclave.",
        "cpu_svn": "CPUSVN: the same components, as the processor has them.",
        "smt_enabled": "Whether threads of a core are enabled; platforms with one package do not say.",
    }
)
_SIGNATURE: Final = MappingProxyType(
    {
        "attestation_key": "The key that signed the quote, x and y; the quoting enclave's report names it.",
        "qe_authentication_data": "What the quoting enclave hashed beside the key.",
    }
)


def explain_quote(data: bytes) -> Page:
    """A quote; what a buffer holds behind it is told of, and left out.

    Raises:
        TooLarge, MalformedInput: not a quote.
    """
    length = declared_length(data)
    quote = parse_quote(data[:length])
    td = isinstance(quote.body, TdReport)
    parts = (_signed_part(quote), *_proving_parts(quote))
    if length != len(data):
        parts = (*parts, _behind(len(data) - length, length))
    title = f"Intel {'TDX' if td else 'SGX'} quote, version {quote.header.version}"
    return Page(format="tdx-quote" if td else "sgx-quote", title=title, parts=parts)


def _signed_part(quote: Quote) -> Part:
    header = quote.header
    told: dict[str, Raw] = {
        "version": header.version,
        "attestation_key_type": header.attestation_key_type,
        "tee_type": hex(header.tee_type),
        "qe_vendor_id": header.qe_vendor_id,
        "user_data": header.user_data,
    }
    body = td_fields(quote.body) if isinstance(quote.body, TdReport) else _enclave(quote.body)
    title = "What the trust domain's processor says" if header.tee_type else "What the enclave's processor says"
    by = "the attestation key below, if the signature holds"
    return Part(name="quote", title=title, signed_by=by, fields=(*fields(told, _HEADER, prefix="header."), *body))


def td_fields(report: TdReport) -> tuple[Field, ...]:
    """A trust domain's report."""
    attributes = int(report.td_attributes)
    first = {name: getattr(report, name) for name in ("tee_tcb_svn", "mr_seam", "mr_signer_seam")}
    bits = tuple(
        Field(
            name=f"td_attributes.{bit.name or ''}".lower(),
            value=bool(attributes & bit),
            says=f"{bit.name} (bit {bit.value.bit_length() - 1}): {says}.",
        )
        for bit, says in _ATTRIBUTES.items()
    )
    measured = {name: getattr(report, name) for name in ("mr_td", "mr_config_id", "mr_owner", "mr_owner_config")}
    rtmrs = {f"rtmr{at}": value for at, value in enumerate(report.rtmrs)}
    last = {name: getattr(report, name) for name in ("report_data", "tee_tcb_svn_2", "mr_service_td")}
    return (
        *fields(first | {"seam_attributes": hex(report.seam_attributes), "td_attributes": f"{attributes:#018x}"}, _TD),
        *bits,
        *fields({"xfam": f"{report.xfam:#x}"} | measured | rtmrs | last, _TD),
    )


def _enclave(report: EnclaveReport, *, prefix: str = "") -> tuple[Field, ...]:
    told = {name: getattr(report, name) for name in _ENCLAVE}
    return fields(told | {"misc_select": hex(report.misc_select)}, _ENCLAVE, prefix=prefix)


def _proving_parts(quote: Quote) -> tuple[Part, ...]:
    """The chain of hands: PCK, quoting enclave, attestation key."""
    signature = quote.signature
    key = {"attestation_key": signature.attestation_key, "qe_authentication_data": signature.qe_authentication_data}
    enclave = _enclave(signature.quoting_enclave, prefix="qe.")
    by = "the platform's PCK, if the signature holds"
    return (
        Part(
            name="attestation_key",
            title="The key that signed the quote",
            signed_by="the quoting enclave, whose REPORTDATA is its hash, if it is",
            fields=fields(key, _SIGNATURE),
        ),
        Part(name="quoting_enclave", title="The quoting enclave", signed_by=by, fields=enclave),
        *_pck_parts(signature.pck_chain),
    )


def _pck_parts(chain: bytes) -> tuple[Part, ...]:
    parts = (chain_part(chain, name="pck_chain"),)
    found = _extensions(chain)
    if found is None:
        return parts
    told = {name: getattr(found, name) for name in _PCK} | {"components": " ".join(map(str, found.components))}
    by = "Intel, in the PCK certificate, if the chain holds"
    title = "The platform, as its PCK certificate names it"
    return (*parts, Part(name="platform", title=title, signed_by=by, fields=fields(told, _PCK)))


def _extensions(chain: bytes) -> PckExtensions | None:
    try:
        leaf = parse_certificates(chain)[0]
        found = leaf.extensions.get_extension_for_oid(x509.ObjectIdentifier(EXTENSIONS_OID)).value
        return parse_pck_extensions(found.public_bytes())
    except (MalformedInput, TooLarge, x509.ExtensionNotFound, *MALFORMED):
        return None


def _behind(count: int, length: int) -> Part:
    says = {
        "size": f"Bytes behind the quote, which declares {length} bytes: head -c {length} cuts it as collectors do.",
    }
    return Part(
        name="behind",
        title="What follows the quote in its buffer",
        signed_by=None,
        fields=fields({"size": count}, says),
    )
