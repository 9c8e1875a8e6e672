"""A quote and Intel's collateral become authentic: everything about them is true, whether it is good enough or not.

Source: Intel SGX ECDSA Quote Library Reference, section 4.1.2.4 (how a quote is verified; TDX adds 4.1.2.4.11). The
chain is the one in the quote, the root is pinned: collateral adds what Intel says, and replaces nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from cloister.attest.certificates import ChainRefused, fingerprint
from cloister.attest.revocation import check_not_revoked
from cloister.attest.seen import SeenEndorsements
from cloister.attest.tdx.collateral import (
    COLLATERAL_STEPS,
    REFUSALS,
    AuthenticCollateral,
    RevocationLists,
    examine_collateral,
    read_lists,
)
from cloister.attest.tdx.quote import QUOTE_STEPS, AuthenticIntelQuote, TdxRejected, Tee, examine_quote
from cloister.attest.tdx.tcb import NoTcbLevel, check_module
from cloister.examination import Examination, Steps
from cloister.formats.intel_collateral import IntelCollateral
from cloister.formats.pck_certificate import PckExtensions
from cloister.formats.sgx_report import EnclaveReport
from cloister.formats.tcb_info import QeIdentity, TcbInfo
from cloister.formats.td_report import TdReport

Collateral = IntelCollateral | AuthenticCollateral  # as it came, or as an examination left it
_Held = tuple[Collection[bytes], int, SeenEndorsements]  # what it is held against: roots, now, what was seen
_QE_OF: Final = {"TDX": "TD_QE", "SGX": "QE"}

_LIST_STEPS = ("tdx.lists", "tdx.revocation")
_PLATFORM_STEPS = (
    "tdx.fmspc",
    "tdx.qe-identity",
)
TDX_STEPS = (*QUOTE_STEPS, *_LIST_STEPS, *COLLATERAL_STEPS, *_PLATFORM_STEPS, "tdx.module")
SGX_STEPS = (*QUOTE_STEPS, *_LIST_STEPS, *COLLATERAL_STEPS, *_PLATFORM_STEPS)


@dataclass(frozen=True, slots=True)
class IntelPlatform:
    """The platform that a quote is of, and what Intel says of it."""

    pck: PckExtensions
    quoting_enclave: EnclaveReport
    collateral: AuthenticCollateral  # to be given again with the next quote; its `seen` is to be merged into the memory


@dataclass(frozen=True, slots=True)
class AuthenticTdx:
    """What a genuine platform, not revoked, says of a trust domain. Built only here."""

    report: TdReport
    platform: IntelPlatform


@dataclass(frozen=True, slots=True)
class AuthenticSgx:
    """What a genuine platform, not revoked, says of an enclave. Built only here."""

    report: EnclaveReport
    platform: IntelPlatform


def examine_tdx(
    evidence: bytes, endorsements: Collateral, *, roots: Collection[bytes], at: int, seen: SeenEndorsements
) -> Examination[AuthenticTdx]:
    """Examine a TDX quote at `at` (seconds since 1970), with nothing older than what was `seen`.

    Args:
        evidence: the quote, cut at its declared length.
        endorsements: Intel's collateral for its FMSPC, wherever it came from, or what an examination made of it.
        roots: pins of the roots that are taken: `attest.roots.INTEL_SGX_ROOT`.
        at: now, in seconds since 1970.
        seen: what the caller met before (`attest.seen.SEEN_NOTHING` where it keeps no memory).
    """
    steps = Steps(TDX_STEPS, TdxRejected)
    platform, body = _examine(steps, "TDX", evidence, endorsements, (roots, at, seen))
    if platform is None or not isinstance(body, TdReport):
        return steps.stopped()
    # 16. The TDX module is one of Intel's (4.1.2.4.11).
    if platform.collateral.tcb_info.id == "TDX":
        steps.attempt(
            "tdx.module", lambda: check_module(platform.collateral.tcb_info, body), NoTcbLevel, found="Intel's"
        )
    return steps.examined(lambda: AuthenticTdx(body, platform))


def examine_sgx(
    evidence: bytes, endorsements: Collateral, *, roots: Collection[bytes], at: int, seen: SeenEndorsements
) -> Examination[AuthenticSgx]:
    """Examine an SGX quote as `examine_tdx` does a TDX quote."""
    steps = Steps(SGX_STEPS, TdxRejected)
    platform, body = _examine(steps, "SGX", evidence, endorsements, (roots, at, seen))
    if platform is None or not isinstance(body, EnclaveReport):
        return steps.stopped()
    return steps.examined(lambda: AuthenticSgx(body, platform))


def _examine(
    steps: Steps, tee: Tee, evidence: bytes, endorsements: Collateral, held: _Held
) -> tuple[IntelPlatform | None, TdReport | EnclaveReport | None]:
    """All steps that both TEEs share; no platform where one of them left nothing to go on with."""
    roots, at, _ = held
    # 1. to 6. The quote is signed.
    quote = steps.include(examine_quote(evidence, tee, roots=roots, at=at))
    # 7. and 9. to 13. The collateral is Intel's, of today.
    lists, collateral = _examine_collateral(steps, endorsements, held)
    # 8. Neither the platform's key nor its CA is revoked, by lists in date that the chain in the quote signed.
    if quote is not None and lists is not None:
        found = "not revoked"
        steps.attempt("tdx.revocation", lambda: _check_revocation(quote, lists, at), ChainRefused, found=found)
    if quote is None or collateral is None:
        return None, None
    # 14. What Intel says is of this kind of platform (4.1.2.4.9 and .10).
    shortfall = _other_platform(quote.pck, collateral.tcb_info, tee)
    steps.check("tdx.fmspc", not shortfall, shortfall, found=f"FMSPC {quote.pck.fmspc.hex()}")
    # 15. The quoting enclave is Intel's, by its report, not by its vendor's name (4.1.2.4.14 and .15).
    shortfall = _other_enclave(quote.quoting_enclave, collateral.qe_identity, tee)
    steps.check("tdx.qe-identity", not shortfall, shortfall, found="Intel's quoting enclave")
    return IntelPlatform(quote.pck, quote.quoting_enclave, collateral), quote.body


def _examine_collateral(
    steps: Steps, endorsements: Collateral, held: _Held
) -> tuple[RevocationLists | None, AuthenticCollateral | None]:
    """Examine collateral, or take what an examination made of it while it would pass every step again."""
    roots, at, seen = held
    if isinstance(endorsements, AuthenticCollateral):
        if endorsements.holds(roots=roots, at=at, seen=seen):
            for step in ("tdx.lists", *COLLATERAL_STEPS):
                steps.check(step, True, "", found="examined before, and holds")
            return endorsements.lists, endorsements
        endorsements = endorsements.source
    source = endorsements
    lists = steps.attempt("tdx.lists", lambda: read_lists(source, roots=roots, at=at), *REFUSALS, found="two")
    if lists is None:
        return None, None
    return lists, steps.include(examine_collateral(source, lists, roots=roots, at=at, seen=seen))


def _check_revocation(quote: AuthenticIntelQuote, lists: RevocationLists, at: int) -> None:
    check_not_revoked(quote.pck_chain, [lists.pck, lists.root], at=at)
    if fingerprint(quote.pck_chain[1]) != fingerprint(lists.pck_ca):
        raise ChainRefused("the revocation list is of another CA than the one that issued the PCK certificate")


def _other_platform(pck: PckExtensions, info: TcbInfo, tee: Tee) -> str:
    """In which way TCB info is of another kind of platform; empty if it is of this."""
    if info.id != tee:
        return f"TCB info is of {info.id}, not of {tee}"
    if pck.fmspc.hex() != info.fmspc.lower():
        return f"TCB info is of FMSPC {info.fmspc.lower()}, not of {pck.fmspc.hex()}: fetch it for that"
    if pck.pce_id.hex() != info.pce_id.lower():
        return f"TCB info is of PCE {info.pce_id.lower()}, not of {pck.pce_id.hex()}"
    return ""


def _other_enclave(qe: EnclaveReport, identity: QeIdentity, tee: Tee) -> str:
    """In which way the QE's report is not of Intel's quoting enclave for this TEE; empty if it is.

    A verifier that fetches the identity and never compares it takes quotes of any enclave of anybody's that runs on a
    genuine platform (CVE-2026-22696).
    """
    if identity.id != _QE_OF[tee]:
        return f"the QE identity is of {identity.id}, not of {_QE_OF[tee]}"
    differing = {
        "MRSIGNER": qe.mr_signer.hex() != identity.mrsigner.lower(),
        "ISVPRODID": qe.isv_prod_id != identity.isvprodid,
        "MISCSELECT": _differs(qe.misc_select.to_bytes(4, "little"), identity.miscselect, identity.miscselect_mask),
        "ATTRIBUTES": _differs(qe.attributes, identity.attributes, identity.attributes_mask),
    }
    names = ", ".join(name for name, differs in differing.items() if differs)
    return f"the quoting enclave is not Intel's: another {names}" if names else ""


def _differs(found: bytes, expected: str, mask: str) -> bool:
    """Whether some bit that the mask covers is not as expected; all three in the order of bytes."""
    masked = bytes(one & other for one, other in zip(found, bytes.fromhex(mask), strict=True))
    return masked != bytes.fromhex(expected)
