"""Intel's collateral as it is kept and carried: TCB info, QE identity, their signing chains, and revocation lists.

The members are those of Intel's `sgx_ql_qve_collateral_t` (Intel TDX DCAP Quoting Library API, section 3), in one JSON
object, with the signed bodies and their signatures as members of their own. Documents as Intel's service answers them
are read by `signed_document`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from cloister.errors import MalformedInput, TooLarge

MAXIMUM_COLLATERAL: Final = 8 * 1024 * 1024  # bytes; a list of revoked platforms may have thousands of entries
_SIGNATURE_SIZE: Final = 64
Hexes = Annotated[str, msgspec.Meta(pattern=r"^(?:(?:[0-9a-f]{2})+|(?:[0-9A-F]{2})+)\Z")]
Chain = Annotated[str, msgspec.Meta(max_length=64 * 1024)]
Document = Annotated[str, msgspec.Meta(max_length=256 * 1024)]
Signature = Annotated[str, msgspec.Meta(pattern=r"^(?:[0-9a-f]{128}|[0-9A-F]{128})\Z")]


class IntelCollateral(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What it takes to judge a quote beside the quote. Nothing in it is trusted yet.

    There is no place for a PCK certificate or for a root: the quote carries its own chain, and roots are pinned.
    """

    tcb_info: Document  # the signed bytes of `tcbInfo`
    tcb_info_signature: Signature  # r and s, 64 bytes
    tcb_info_issuer_chain: Chain  # PEM: the signing certificate, the root
    qe_identity: Document  # the signed bytes of `enclaveIdentity`
    qe_identity_signature: Signature
    qe_identity_issuer_chain: Chain
    pck_crl: Hexes  # DER: by the CA of PCK certificates
    pck_crl_issuer_chain: Chain  # PEM: that CA, the root; held against the quote's own
    root_ca_crl: Hexes  # DER


def parse_collateral(data: bytes) -> IntelCollateral:
    """The JSON object.

    Raises:
        TooLarge: over 8 MiB; nothing was parsed.
        MalformedInput: not that object; a member that is not known is refused.
    """
    if len(data) > MAXIMUM_COLLATERAL:
        raise TooLarge(f"collateral of {len(data)} bytes, the cap is {MAXIMUM_COLLATERAL}")
    try:
        return msgspec.json.decode(data, type=IntelCollateral)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedInput(f"not Intel's collateral: {error}") from error


def signed_document(data: bytes, member: str) -> tuple[str, str]:
    """Body and signature of an answer of Intel's service, `{"<member>": {…}, "signature": "…"}`; the body byte by byte.

    Raises:
        TooLarge: over 8 MiB.
        MalformedInput: not an object of these two members.
    """
    if len(data) > MAXIMUM_COLLATERAL:
        raise TooLarge(f"a document of {len(data)} bytes, the cap is {MAXIMUM_COLLATERAL}")
    try:
        found: dict[str, Any] = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        if found.keys() != {member, "signature"}:
            raise MalformedInput(f"a document of {', '.join(sorted(found))}, not of {member} and signature")
        return bytes(found[member]).decode(), msgspec.json.decode(found["signature"], type=Signature)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedInput(f"not a signed document: {error}") from error
