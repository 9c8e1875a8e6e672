"""What the evidence of Azure's confidential VMs says: the paravisor's report, the vTPM's quote, the hardware below.

The words are those of Microsoft's "Azure confidential VM guest attestation" (learn.microsoft.com), report layout.
"""

from __future__ import annotations

from typing import Final

import msgspec

from cloister.cli.explained.certificates import chain_part
from cloister.cli.explained.intel import explain_quote
from cloister.cli.explained.page import Field, Page, Part, Value, fields
from cloister.cli.explained.snp import report_part
from cloister.cli.explained.tpm import pcrs_part, quote_part
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.azure_evidence import AzureEvidence, parse_azure_buffers
from cloister.formats.hcl_report import (
    AK_NAME,
    HclReport,
    RuntimeData,
    declared_length,
    parse_hcl_report,
    parse_runtime_data,
)
from cloister.formats.snp_report import parse_snp_report

_TD_REPORT: Final = "report_data", slice(128, 192)  # of the TDREPORT
_SAYS: Final = {
    "kind": "Which hardware the VM runs on.",
    "hash": "By which hash the runtime data are in the hardware's REPORT_DATA, with zeros behind it.",
    "report_data": "REPORTDATA of the TDREPORT, whose MAC its own processor alone can check: anyone can write one.",
    "size": "Its bytes: the runtime data are not JSON of the form that paravisors write.",
    "user_data": "What the VM's owner had written into the runtime data.",
}
_KEYS: Final = {AK_NAME: "the vTPM's attestation key, which signs quotes", "HCLEkPub": "its endorsement key"}


def explain_hcl_report(data: bytes) -> Page:
    """What a vTPM keeps in NV index 0x01400001.

    Raises:
        TooLarge, MalformedInput: not such a report.
    """
    hcl = parse_hcl_report(data[: declared_length(data)])
    return Page(format="azure-hcl-report", title=f"Azure HCL report on {hcl.kind.upper()}", parts=_hcl(hcl))


def explain_azure_evidence(data: bytes) -> Page:
    """The JSON that Confidential Containers' agents send.

    Raises:
        TooLarge, MalformedInput: not such evidence.
    """
    evidence = parse_azure_buffers(data)
    title = f"Evidence of an Azure confidential VM on {evidence.hcl.kind.upper()}"
    quote = quote_part(evidence.quote, by=f"{AK_NAME}, which the runtime data name, if the signature holds")
    parts = (*_hcl(evidence.hcl), quote, pcrs_part(evidence.pcrs), *_beside(evidence))
    return Page(format="azure-evidence", title=title, parts=parts)


def _beside(evidence: AzureEvidence) -> tuple[Part, ...]:
    parts: tuple[Part, ...] = ()
    if evidence.vcek is not None:
        parts += (chain_part(evidence.vcek, name="vcek"),)
    if evidence.td_quote is not None:
        try:
            inside = explain_quote(evidence.td_quote).parts
            parts += tuple(msgspec.structs.replace(part, name=f"td_quote.{part.name}") for part in inside)
        except (MalformedInput, TooLarge) as error:
            told = {"malformed": str(error)}
            says = {"malformed": "What is wrong with the TD quote."}
            title = "A TD quote that cannot be read"
            parts += (Part(name="td_quote", title=title, signed_by=None, fields=fields(told, says)),)
    return parts


def _hcl(hcl: HclReport) -> tuple[Part, ...]:
    header = Part(
        name="header",
        title="The paravisor's header",
        signed_by=None,
        fields=fields({"kind": hcl.kind, "hash": hcl.hash}, _SAYS),
    )
    return (header, _hardware(hcl), _runtime_part(hcl))


def _hardware(hcl: HclReport) -> Part:
    if hcl.kind == "tdx":
        name, at = _TD_REPORT
        told = fields({name: hcl.hardware[at]}, _SAYS)
        return Part(name="td_report", title="A TDREPORT, which no one else can check", signed_by=None, fields=told)
    try:
        return report_part(parse_snp_report(hcl.hardware))
    except MalformedInput as error:
        told = fields({"malformed": str(error)}, {"malformed": "What is wrong with the SNP report."})
        return Part(name="report", title="An SNP report that cannot be read", signed_by=None, fields=told)


def _runtime_part(hcl: HclReport) -> Part:
    by = f"the hardware, whose REPORT_DATA is their {hcl.hash}, if it is"
    title = "The paravisor's runtime data"
    try:
        told = _runtime(parse_runtime_data(hcl.runtime_data))
    except MalformedInput:
        told = fields({"size": len(hcl.runtime_data)}, _SAYS)
    return Part(name="runtime_data", title=title, signed_by=by, fields=told)


def _runtime(data: RuntimeData) -> tuple[Field, ...]:
    keys = tuple(
        Field(
            name=f"keys.{key.kid}",
            value=f"{key.kty} {key.n}",
            says=f"{key.kid}: {_KEYS.get(key.kid, 'a key of the vTPM')}, its modulus in base64url.",
        )
        for key in data.keys
    )
    configuration = tuple(
        Field(
            name=f"vm_configuration.{name}", value=_plain(value), says="A setting of the VM, as the paravisor saw it."
        )
        for name, value in data.vm_configuration.items()
    )
    return (*keys, *configuration, *fields({"user_data": data.user_data}, _SAYS))


def _plain(value: object) -> Value:
    return value if value is None or isinstance(value, str | int | bool) else str(value)
