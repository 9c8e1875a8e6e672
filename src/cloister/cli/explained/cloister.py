"""What Cloister's own evidence says: the report, and the preimages of what it binds (docs/formats/evidence.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from cloister.cli.explained.azure import explain_azure_evidence
from cloister.cli.explained.certificates import chain_part
from cloister.cli.explained.intel import explain_quote
from cloister.cli.explained.named_token import explain_named_token
from cloister.cli.explained.nitro import explain_nitro_document
from cloister.cli.explained.nvidia import explain_nvidia_report
from cloister.cli.explained.page import Page, Part, Raw, fields
from cloister.cli.explained.snp import explain_snp_report
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.cose_sign1 import CoseSign1
from cloister.formats.evidence import Evidence, parse_evidence, parse_software_report
from cloister.formats.named_token import BY_VERIFIER

_BOUND: Final = "the report, which carries their SHA-512, if it does"
_SAYS: Final = MappingProxyType(
    {
        "platform": "Which kind of hardware the report is of; `software` protects nothing from its machine's owner.",
        "report_size": "Bytes of the hardware's own report, which `report` below spells out where it can.",
        "endorsements": "How many pieces of the vendor's word came along: certificates, lists, collateral.",
        "gpus": "How many GPUs' evidence came along.",
        "challenge": "What the evidence answers: 32 bytes that whoever asked made up.",
        "qualifying_data": "The same for a TPM's quote, which has room for 32 bytes: SHA-512/256 over all of this.",
        "role": "Which part of the system this node plays.",
        "settings": "SHA-256 of the security settings below.",
        "subject": "The contract that it is for; of a KMS its constitution.",
        "keys": "Thumbprint of the node's keys below.",
        "gpu": "SHA-256 over the GPUs' evidence; empty: none is bound.",
        "report_data": "What the report has to carry for all of this to be bound: SHA-512 over it.",
        "unsafe": "What the node was told to relax; each is a claim that a policy has to accept by name.",
        "sign": "Ed25519: what the node signs with.",
        "wrap": "X-Wing: what is released to the node is encrypted to it.",
        "platform_measurement": "What the software TEE says for the platform.",
        "workload": "SHA-384 over everything that runs.",
    }
)


def explain_evidence(data: bytes) -> Page:
    """Evidence as nodes send it.

    Raises:
        TooLarge, MalformedInput: not evidence.
    """
    evidence = parse_evidence(data)
    title = f"Cloister evidence of a {evidence.settings.role}, platform {evidence.platform}"
    return Page(
        format="cloister-evidence",
        title=title,
        parts=(_envelope(evidence), *_bound(evidence), *_report(evidence), *_gpus(evidence)),
    )


def _envelope(evidence: Evidence) -> Part:
    told: dict[str, Raw] = {
        "platform": evidence.platform,
        "report_size": len(evidence.report),
        "endorsements": len(evidence.endorsements),
        "gpus": len(evidence.gpu),
    }
    along = {f"endorsements.{at}": f"{one.kind}, {len(one.data)} bytes" for at, one in enumerate(evidence.endorsements)}
    says = dict.fromkeys(along, "What a vendor says; its own signature counts.")
    title = "What travels together"
    return Part(name="evidence", title=title, signed_by=None, fields=(*fields(told, _SAYS), *fields(along, says)))


def _bound(evidence: Evidence) -> tuple[Part, ...]:
    binding, settings, keys = evidence.binding, evidence.settings, evidence.keys
    told = {name: getattr(binding, name) for name in ("challenge", "role", "settings", "subject", "keys", "gpu")}
    bound = fields(told | {"report_data": binding.report_data(), "qualifying_data": binding.qualifying_data()}, _SAYS)
    values = {f"values.{name}": value for name, value in settings.values.items()}
    says = dict.fromkeys(values, "A setting of the node's.")
    claimed = fields({"unsafe": ", ".join(settings.unsafe) or "none"}, _SAYS)
    own = fields({"sign": keys.sign, "wrap": keys.wrap}, _SAYS)
    return (
        Part(name="binding", title="What the evidence binds", signed_by=_BOUND, fields=bound),
        Part(
            name="settings",
            title="The node's security settings",
            signed_by="the binding, which has their digest, if it does",
            fields=(*claimed, *fields(values, says)),
        ),
        Part(
            name="keys",
            title="The node's keys",
            signed_by="the binding, which has their thumbprint, if it does",
            fields=own,
        ),
    )


def _report(evidence: Evidence) -> tuple[Part, ...]:
    return _read(_REPORTS.get(evidence.platform, _unknown), evidence.report)


def _gpus(evidence: Evidence) -> tuple[Part, ...]:
    return tuple(
        msgspec.structs.replace(part, name=f"gpus.{at}.{part.name}")
        for at, one in enumerate(evidence.gpu)
        for part in (*_read(explain_nvidia_report, one.report), chain_part(one.chain, name="chain"))
    )


def _read(explain: Callable[[bytes], Page], report: bytes) -> tuple[Part, ...]:
    """A report; one that cannot be read says why, and the rest stays worth reading."""
    try:
        return explain(report).parts
    except (MalformedInput, TooLarge) as error:
        told = fields({"malformed": str(error)}, {"malformed": "Why it is not spelled out."})
        return (Part(name="report", title="The report", signed_by=None, fields=told),)


def _unknown(_report: bytes) -> Page:
    raise MalformedInput("the platform is not known here")


def _software(report: bytes) -> Page:
    said = parse_software_report(CoseSign1.parse(report).payload or b"")
    told = {
        "platform_measurement": said.platform_measurement,
        "workload": said.workload,
        "report_data": said.report_data,
    }
    title = "What the software TEE says: it protects nothing from this machine's owner"
    by = "a platform key that lies on the machine's disk, if the signature holds"
    part = Part(name="report", title=title, signed_by=by, fields=fields(told, _SAYS))
    return Page(format="software-report", title=title, parts=(part,))


_REPORTS: Final[Mapping[str, Callable[[bytes], Page]]] = MappingProxyType(
    {
        "software": _software,
        "snp": explain_snp_report,
        "tdx": explain_quote,
        "azure-snp": explain_azure_evidence,
        "azure-tdx": explain_azure_evidence,
        "nitro": explain_nitro_document,
        BY_VERIFIER: explain_named_token,
    }
)
