"""Intel's collateral put together from what its provisioning service answers, each answer a file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cloister.attest.certificates import name_of
from cloister.attest.revocation import parse_list
from cloister.attest.tdx.intel_chain import SIGNING_NAMES
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.intel_collateral import IntelCollateral, signed_document
from cloister.formats.tcb_info import parse_qe_identity, parse_tcb_info


class SignedDocument(NamedTuple):
    """TCB info or QE identity, with what it says that it is of."""

    kind: str  # tcbInfo, enclaveIdentity
    of: str  # "TDX 90c06f000000"; "TD_QE"
    body: str
    signature: str


class Platform(NamedTuple):
    """What a quote says of its platform."""

    tee: str  # SGX, TDX
    fmspc: str  # in hex digits
    chain: Sequence[x509.Certificate]  # PCK, its CA, the root


def read_document(data: bytes) -> SignedDocument:
    """An answer of Intel's service.

    Raises:
        TooLarge, MalformedInput: it is none.
    """
    try:
        body, signature = signed_document(data, "tcbInfo")
    except MalformedInput:
        body, signature = signed_document(data, "enclaveIdentity")
        return SignedDocument("enclaveIdentity", parse_qe_identity(body.encode()).id, body, signature)
    info = parse_tcb_info(body.encode())
    return SignedDocument("tcbInfo", f"{info.id} {info.fmspc.lower()}", body, signature)


def assembled(
    documents: Sequence[SignedDocument],
    certificates: Sequence[x509.Certificate],
    lists: Sequence[bytes],
    platform: Platform,
) -> IntelCollateral | None:
    """The collateral for one platform; nothing where a part of it is missing. Nothing of it is judged by that."""
    info = _document(documents, "tcbInfo", f"{platform.tee} {platform.fmspc}")
    identity = _document(documents, "enclaveIdentity", "TD_QE" if platform.tee == "TDX" else "QE")
    signing = next((one for one in certificates if name_of(one) in SIGNING_NAMES[0]), None)
    if info is None or identity is None or signing is None or len(platform.chain) != 3:
        return None
    _, authority, root = platform.chain
    pck_list, root_list = _list_of(authority, lists), _list_of(root, lists)
    if pck_list is None or root_list is None:
        return None
    return IntelCollateral(
        tcb_info=info.body,
        tcb_info_signature=info.signature,
        tcb_info_issuer_chain=_pem(signing, root),
        qe_identity=identity.body,
        qe_identity_signature=identity.signature,
        qe_identity_issuer_chain=_pem(signing, root),
        pck_crl=pck_list,
        pck_crl_issuer_chain=_pem(authority, root),
        root_ca_crl=root_list,
    )


def _document(documents: Sequence[SignedDocument], kind: str, of: str) -> SignedDocument | None:
    fitting = [one for one in documents if one.kind == kind]
    return next((one for one in fitting if one.of == of), fitting[0] if fitting else None)


def _list_of(issuer: x509.Certificate, lists: Sequence[bytes]) -> str | None:
    """In hex digits, as the collateral has it."""
    for data in lists:
        try:
            found = parse_list(data)
        except (MalformedInput, TooLarge):
            continue
        if found.issuer == issuer.subject:
            return found.public_bytes(Encoding.DER).hex()
    return None


def _pem(*chain: x509.Certificate) -> str:
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in chain)
