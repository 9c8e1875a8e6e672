"""What AMD's SEV-SNP reports, and the certificates that hosts give beside them, say.

The words are those of AMD 56860 (SEV-SNP firmware ABI), tables 3, 9, 23 and 24, and of AMD 56421 (GHCB), section 4.1.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cloister.cli.explained.certificates import certificates_part
from cloister.cli.explained.page import Field, Page, Part, Raw, fields, version
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.snp_certificate_table import ARK, ASK, CRL, VCEK, VLEK, parse_certificate_table
from cloister.formats.snp_report import (
    HOST_VMPL,
    PLATFORM_BITS,
    POLICY_BITS,
    SignedSnpReport,
    SigningKey,
    SnpReport,
    parse_snp_report,
)
from cloister.formats.snp_tcb import Product, Tcb

_REPORT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "version": "VERSION: the report's form. 2 has no CPUID fields, 3 and 4 have them, 5 adds mitigation vectors.",
        "guest_svn": "GUEST_SVN: the security version of the guest, from its identity block; 0 where it has none.",
        "policy": "POLICY: what the guest's owner demanded at launch; the firmware enforces it. Its bits follow.",
        "policy.abi": "ABI_MAJOR and ABI_MINOR: the guest does not run on firmware of a lower ABI.",
        "family_id": "FAMILY_ID: which family of guests this is, as its owner wrote into the identity block.",
        "image_id": "IMAGE_ID: which image this is, as its owner wrote into the identity block.",
        "vmpl": "VMPL: who in the guest asked: 0 is the most privileged level, 3 the least; `host` asked from outside.",
        "current_tcb": "CURRENT_TCB: the firmware that runs now, in security patch levels.",
        "platform_info": "PLATFORM_INFO: how the machine is set up. Its bits follow.",
        "author_key_en": "AUTHOR_KEY_EN: whether the digest of an author's key was given at launch.",
        "mask_chip_key": "MASK_CHIP_KEY: whether the host has the firmware write zeros for a signature.",
        "signing_key": "SIGNING_KEY: VCEK is one chip's own key, VLEK is leased to a cloud for all of its chips.",
        "report_data": "REPORT_DATA: 64 bytes that the guest, and nobody else, gave: its answer to a challenge.",
        "measurement": "MEASUREMENT: SHA-384 over the guest's memory as it was launched, its firmware first.",
        "host_data": "HOST_DATA: 32 bytes that the host gave at launch. They are the host's word, not the guest's.",
        "id_key_digest": "ID_KEY_DIGEST: SHA-384 of the key that signed the identity block; zeros: there was none.",
        "author_key_digest": "AUTHOR_KEY_DIGEST: SHA-384 of the key that signed for the identity key; zeros: none did.",
        "report_id": "REPORT_ID: a random number of this guest, for its life.",
        "report_id_ma": "REPORT_ID_MA: that of its migration agent; all ones where it has none.",
        "reported_tcb": "REPORTED_TCB: what the signing key stands for; its certificate is fetched for this TCB.",
        "cpuid": "CPUID family, model and stepping of the processor; reports of version 2 do not say.",
        "product": "The line of processors that family and model name, which decides the root key and the TCB's form.",
        "chip_id": "CHIP_ID: the chip's own number; zeros where the host hides it, and with a VLEK.",
        "committed_tcb": "COMMITTED_TCB: the firmware cannot go back below this.",
        "current_firmware": "CURRENT_MAJOR, MINOR and BUILD: the version of the firmware that runs now.",
        "committed_firmware": "COMMITTED_MAJOR, MINOR and BUILD: the version that the firmware cannot go back below.",
        "launch_tcb": "LAUNCH_TCB: the CURRENT_TCB when this guest was launched (or imported).",
        "launch_mit_vector": "LAUNCH_MIT_VECTOR: mitigations verified when the guest was launched; from version 5.",
        "current_mit_vector": "CURRENT_MIT_VECTOR: mitigations verified now; from version 5.",
    }
)
POLICY_SAYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "SMT": "whether the guest may run on cores that share threads with others",
        "MIGRATE_MA": "whether a migration agent may take the guest to another machine",
        "DEBUG": "whether the host may read and write the guest's memory: if so, nothing in it is confidential",
        "SINGLE_SOCKET": "whether the guest runs on one socket only",
        "CXL_ALLOW": "whether memory and devices on CXL may be there",
        "MEM_AES_256_XTS": "whether memory must be encrypted with AES-256-XTS, not AES-128-XEX",
        "RAPL_DIS": "whether power measurements (RAPL) must be off, which side channels use",
        "CIPHERTEXT_HIDING_DRAM": "whether the host must not see even the guest's ciphertext",
        "PAGE_SWAP_DISABLE": "whether the host may not swap or move the guest's pages",
    }
)
PLATFORM_SAYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "SMT_EN": "whether threads of a core are enabled",
        "TSME_EN": "whether all memory is encrypted transparently",
        "ECC_EN": "whether memory corrects errors",
        "RAPL_DIS": "whether power measurements (RAPL) are off",
        "CIPHERTEXT_HIDING_DRAM_EN": "whether guests' ciphertext is hidden from the host",
        "ALIAS_CHECK_COMPLETE": "whether no two addresses lead to one memory cell (BadRAM, AMD-SB-3015)",
        "TIO_EN": "whether trusted I/O with devices is enabled",
    }
)
_LEVELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "fmc": "the security patch level of the FMC, which boots the secure processor (Turin)",
        "bootloader": "the security patch level of the secure processor's boot loader",
        "tee": "the security patch level of the secure processor's operating system",
        "snp": "the security patch level of the SNP firmware",
        "microcode": "the lowest security patch level of the microcode of all cores",
    }
)
_NAMES: Final = MappingProxyType({ARK: "ark", ASK: "ask", VCEK: "vcek", VLEK: "vlek", CRL: "crl"})


def explain_snp_report(data: bytes) -> Page:
    """A report of 1,184 bytes.

    Raises:
        MalformedInput: not such a report.
    """
    signed = parse_snp_report(data)
    title = f"AMD SEV-SNP attestation report, version {signed.report.version}"
    return Page(format="snp-report", title=title, parts=(report_part(signed),))


def explain_certificate_table(data: bytes) -> Page:
    """What a host gives its guest beside a report: configfs-tsm's `auxblob`.

    Raises:
        TooLarge, MalformedInput: not such a table.
    """
    parts = table_parts(data)
    return Page(format="snp-certificate-table", title="Certificates that an SEV-SNP host gives its guest", parts=parts)


def report_part(signed: SignedSnpReport) -> Part:
    """The report itself."""
    report = signed.report
    unsigned = report.signing_key is SigningKey.NONE
    by = None if unsigned else f"the processor's {report.signing_key.name}, if the signature holds"
    return Part(name="report", title="What the secure processor says", signed_by=by, fields=_report(report))


def table_parts(data: bytes) -> tuple[Part, ...]:
    """The table's entries, each a part of its own.

    Raises:
        TooLarge, MalformedInput: not such a table.
    """
    parts = []
    for kind, entry in parse_certificate_table(data).entries:
        name = _NAMES.get(kind)
        try:
            part = None if name in (None, "crl") else certificates_part(entry, name=f"certificates.{name}")
        except (MalformedInput, TooLarge):
            part = None
        parts.append(part or _other_entry(str(kind), name or "other", entry))
    return tuple(parts)


def _other_entry(kind: str, name: str, entry: bytes) -> Part:
    found: dict[str, Raw] = {"guid": kind, "size": len(entry)}
    says = {"guid": "Which kind of entry this is.", "size": "Its bytes, which are not spelled out."}
    title = f"An entry of the host's table: {name}"
    return Part(name=f"certificates.{name}", title=title, signed_by=None, fields=fields(found, says))


def _report(report: SnpReport) -> tuple[Field, ...]:
    guest: dict[str, Raw] = {
        "version": report.version,
        "guest_svn": report.guest_svn,
        "policy": hex(report.policy.bits),
    }
    policy = (*fields(guest, _REPORT), *fields({"policy.abi": version(report.policy.abi)}, _REPORT))
    bits = tuple(
        _bit("policy", name, found=report.policy.allows(name), says=POLICY_SAYS[name], at=at)
        for name, at in POLICY_BITS.items()
    )
    platform = tuple(
        _bit("platform_info", name, found=report.platform_info.has(name), says=PLATFORM_SAYS[name], at=at)
        for name, at in PLATFORM_BITS.items()
    )
    vmpl = "host" if report.vmpl == HOST_VMPL else report.vmpl
    return (
        *policy,
        *bits,
        *_plain(report, "family_id", "image_id"),
        *fields({"vmpl": vmpl}, _REPORT),
        *_tcb(report, "current_tcb"),
        *fields({"platform_info": hex(report.platform_info.bits)}, _REPORT),
        *platform,
        *_plain(report, "author_key_en", "mask_chip_key"),
        *fields({"signing_key": report.signing_key.name}, _REPORT),
        *_plain(report, "report_data", "measurement", "host_data", "id_key_digest", "author_key_digest"),
        *_plain(report, "report_id", "report_id_ma"),
        *_tcb(report, "reported_tcb"),
        *_processor(report),
        *_tcb(report, "committed_tcb"),
        *fields({"current_firmware": version(report.current_firmware)}, _REPORT),
        *fields({"committed_firmware": version(report.committed_firmware)}, _REPORT),
        *_tcb(report, "launch_tcb"),
        *_plain(report, "launch_mit_vector", "current_mit_vector"),
    )


def _plain(report: SnpReport, *names: str) -> tuple[Field, ...]:
    return fields({name: getattr(report, name) for name in names}, _REPORT)


def _bit(register: str, name: str, *, found: bool, says: str, at: int) -> Field:
    return Field(name=f"{register}.{name.lower()}", value=found, says=f"{name} (bit {at}): {says}.")


def _processor(report: SnpReport) -> tuple[Field, ...]:
    cpuid = None if report.cpuid is None else "family {:#x}, model {:#x}, stepping {}".format(*report.cpuid)
    product = None if report.product is None else str(report.product)
    return fields({"cpuid": cpuid, "product": product, "chip_id": report.chip_id}, _REPORT)


def _tcb(report: SnpReport, name: str) -> tuple[Field, ...]:
    """The 8 bytes, and the components that the product gives them."""
    data: bytes = getattr(report, name)
    whole = fields({name: data}, _REPORT)
    # A report of version 2 does not say its product; Turin, whose form is another, never made one.
    product = Product.MILAN if report.version == 2 else report.product
    if product is None:
        return whole
    try:
        levels = Tcb.parse(data, product).levels()
    except MalformedInput:
        return whole
    named = {level: f"{words[:1].upper()}{words[1:]}." for level, words in _LEVELS.items()}
    return (*whole, *fields(levels, named, prefix=f"{name}."))
