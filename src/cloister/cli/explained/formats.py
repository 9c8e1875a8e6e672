"""Every format that evidence comes in, how to tell it, and who explains it: data, and the detection that goes by it.

Formats are tried in the table's order, and every parser is strict, so that the first that takes a file whole is it. How
a file begins does not decide: it says which refusal a person wants to read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from cloister.cli.explained.azure import explain_azure_evidence, explain_hcl_report
from cloister.cli.explained.certificates import explain_certificates
from cloister.cli.explained.cloister import explain_evidence
from cloister.cli.explained.endorsements import explain_collateral, explain_revocation_list
from cloister.cli.explained.intel import explain_quote
from cloister.cli.explained.logs import explain_ccel, explain_event_log, explain_quote_record, explain_runtime_log
from cloister.cli.explained.nitro import explain_nitro_document
from cloister.cli.explained.nvidia import explain_nvidia_envelope, explain_nvidia_report, explain_rim
from cloister.cli.explained.page import Page
from cloister.cli.explained.snp import explain_certificate_table, explain_snp_report
from cloister.cli.explained.tpm import explain_tpm_quote
from cloister.cli.explained.tsm import explain_tsm_report
from cloister.cli.explained.wrapped import wrapped
from cloister.errors import MalformedInput, TooLarge

MAXIMUM_FILE: Final = 1024 * 1024  # bytes: of the longest format, an event log


class Format(NamedTuple):
    """One format."""

    what: str
    begins: tuple[bytes, ...]  # how files of it begin, where that says much
    explain: Callable[[bytes], Page]


class UnknownFormat(MalformedInput):
    """A file is of no format that is known here."""


FORMATS: Final = (
    Format("a configfs-tsm report (JSON, CBOR)", (b'{"auxblob"', b'{"provider"', b'{"outblob"'), explain_tsm_report),
    Format("Azure confidential VM evidence (JSON)", (b'{"version"', b'{"hcl_report"'), explain_azure_evidence),
    Format("a TDX quote with its event log (JSON)", (b'{"quote"',), explain_quote_record),
    Format("an NVIDIA envelope (JSON)", (b'[{"arch"',), explain_nvidia_envelope),
    Format("a confidential VM's event log (JSON)", (b'[{"imr"',), explain_runtime_log),
    Format("an NVIDIA manifest (RIM, XML)", (b"<?xml", b"<ns0:Soft", b"<Soft"), explain_rim),
    Format("X.509 certificates (PEM, DER)", (b"-----BEGIN CERT", b"\x30\x82"), explain_certificates),
    Format("a revocation list (PEM, DER)", (b"-----BEGIN X509 CRL", b"\x30\x82"), explain_revocation_list),
    Format("Intel's collateral (JSON)", (b'{"tcb_info"', b'{"pck_crl'), explain_collateral),
    Format("an Azure HCL report", (b"HCLA",), explain_hcl_report),
    Format("a TPM 2.0 quote", (b"\xffTCG",), explain_tpm_quote),
    Format("ACPI's table CCEL", (b"CCEL",), explain_ccel),
    Format("an NVIDIA report (SPDM)", (b"\x11\xe0\x01\xff",), explain_nvidia_report),
    Format("an Intel quote (TDX 4 and 5, SGX 3)", (b"\3\0\2\0", b"\4\0\2\0", b"\5\0\2\0", b"\x81\0"), explain_quote),
    Format("an SEV-SNP report", (b"\2\0\0\0", b"\3\0\0\0", b"\5\0\0\0"), explain_snp_report),
    Format("an AWS Nitro document (COSE)", (b"\x84\x44\xa1\x01\x38\x22", b"\xd2\x84\x44\xa1"), explain_nitro_document),
    Format("Cloister's evidence (CBOR)", (b"\xa8\x63gpu", b"\xa8\x64keys"), explain_evidence),
    Format("an SEV-SNP certificate table", (), explain_certificate_table),
    Format("a TCG event log", (), explain_event_log),
)


def explain(data: bytes) -> Page:
    """Spell out evidence of any format, at most 1 MiB.

    Raises:
        TooLarge: over the cap; nothing was tried.
        UnknownFormat: what was tried; where the file begins like one of them, why it is none.
    """
    if len(data) > MAXIMUM_FILE:
        raise TooLarge(f"more than {MAXIMUM_FILE} bytes, which no evidence has")
    reasons: dict[str, str] = {}
    for one in FORMATS:
        try:
            return one.explain(data)
        except (MalformedInput, TooLarge) as error:
            reasons[one.what] = str(error)
    raise UnknownFormat(_refusal(data, reasons))


def _inside(data: bytes) -> list[str]:
    """What is in it, if it is one that we know in a wrapping that we do not; nothing of that is accepted."""
    for inner, says in wrapped(data):
        for one in FORMATS:
            if not inner.startswith(one.begins):
                continue
            try:
                one.explain(inner)
            except (MalformedInput, TooLarge):
                continue
            return [says.format(one.what)]
    return []


def _refusal(data: bytes, reasons: dict[str, str]) -> str:
    start = b"".join(data[:64].split()) if data[:1] in b"{[" else data
    alike = [one.what for one in FORMATS if start.startswith(one.begins)]
    lines = [f"it begins like {what}, but: {reasons[what]}" for what in alike] + _inside(data)
    tried = ", ".join(one.what for one in FORMATS)
    return "\n".join(
        ["not evidence of a format that is known here" if data else "an empty file", *lines, f"tried: {tried}"]
    )
