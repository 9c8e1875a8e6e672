"""What vendors say beside evidence: revocation lists, and Intel's collateral."""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Final

from cryptography import x509

from cloister.attest.revocation import parse_list
from cloister.cli.explained.certificates import chain_part
from cloister.cli.explained.page import Page, Part, fields
from cloister.formats.intel_collateral import parse_collateral
from cloister.formats.tcb_info import parse_qe_identity, parse_tcb_info

_LIST: Final = MappingProxyType(
    {
        "issuer": "Who signed the list, by its own words.",
        "this_update": "It is of this moment.",
        "next_update": "A newer one is due by this moment; past it the list says nothing.",
        "revoked": "How many certificates it revokes.",
    }
)
_DOCUMENT: Final = MappingProxyType(
    {
        "id": "Which TEE, or which quoting enclave, it speaks of.",
        "fmspc": "The kind of platform that it speaks of: a quote's has to be the same.",
        "issue_date": "issueDate: it is of this moment.",
        "next_update": "nextUpdate: a newer one is due by this moment; past it this one says nothing.",
        "tcb_evaluation_data_number": "tcbEvaluationDataNumber: rises with every recovery of the TCB.",
        "levels": "How many TCB levels it has, the newest first.",
        "newest": "The newest level: its status, and the day that it was published.",
    }
)


def explain_revocation_list(data: bytes) -> Page:
    """A certificate revocation list in DER or PEM.

    Raises:
        TooLarge, MalformedInput: not a list.
    """
    part = _list_part(data, "revocation_list")
    return Page(format="revocation-list", title="Certificate revocation list", parts=(part,))


def explain_collateral(data: bytes) -> Page:
    """Intel's collateral for one kind of platform.

    Raises:
        TooLarge, MalformedInput: not that.
    """
    found = parse_collateral(data)
    info, identity = parse_tcb_info(found.tcb_info.encode()), parse_qe_identity(found.qe_identity.encode())
    by = "Intel's TCB signing key, if the signature holds"
    dated = ("id", "issue_date", "next_update", "tcb_evaluation_data_number")
    told = {name: getattr(info, name) for name in dated} | {"fmspc": info.fmspc.lower()}
    newest = info.tcb_levels[0]
    told |= {"levels": len(info.tcb_levels), "newest": f"{newest.tcb_status}, {newest.tcb_date}"}
    enclave = {name: getattr(identity, name) for name in dated}
    parts = (
        Part(name="tcb_info", title="TCB info", signed_by=by, fields=fields(told, _DOCUMENT)),
        Part(name="qe_identity", title="Identity of quoting enclaves", signed_by=by, fields=fields(enclave, _DOCUMENT)),
        chain_part(found.tcb_info_issuer_chain.encode(), name="tcb_info_issuer_chain"),
        _list_part(bytes.fromhex(found.pck_crl), "pck_crl"),
        _list_part(bytes.fromhex(found.root_ca_crl), "root_ca_crl"),
    )
    return Page(format="intel-collateral", title="Intel's collateral for quotes", parts=parts)


def _list_part(data: bytes, name: str) -> Part:
    found = parse_list(data)
    common = found.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    told = {
        "issuer": str(common[0].value) if common else found.issuer.rfc4514_string(),
        "this_update": _moment(found.last_update_utc),
        "next_update": _moment(found.next_update_utc),
        "revoked": len(found),
    }
    by = "its issuer, if the signature holds"
    return Part(name=name, title="Revocation list", signed_by=by, fields=fields(told, _LIST))


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
