"""Whether TCB info and QE identity are Intel's, of today, and no older than what was seen.

Source: Intel SGX and TDX Provisioning Certification Service API v4; Intel SGX PCK Certificate and Certificate
Revocation List Profile Specification, section 2 (TCB signing certificate). Nothing here speaks of any one platform.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from cloister.attest.certificates import ChainRefused, check_chain, day, fingerprint
from cloister.attest.revocation import check_list_signed, check_not_revoked, parse_list
from cloister.attest.seen import SeenCollateral, SeenEndorsements, intel_kind, older_collateral
from cloister.attest.tdx.intel_chain import PCK_CA_NAMES, SIGNING_NAMES, key_of, read_chain, verify
from cloister.attest.tdx.quote import TdxRejected
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.intel_collateral import IntelCollateral
from cloister.formats.tcb_info import QeIdentity, TcbInfo, parse_qe_identity, parse_tcb_info, seconds

Document = TypeVar("Document", TcbInfo, QeIdentity)
REFUSALS: Final = (BadSignature, ChainRefused, MalformedInput, TooLarge)

COLLATERAL_STEPS = (
    "tdx.tcb-info",
    "tdx.tcb-info-date",
    "tdx.identity",
    "tdx.identity-date",
    "tdx.rollback",
)


@dataclass(frozen=True, slots=True)
class RevocationLists:
    """The two lists that a platform's chain is held against, in date or not, by who may sign them."""

    pck: x509.CertificateRevocationList
    root: x509.CertificateRevocationList
    pck_ca: x509.Certificate  # that the first is of


@dataclass(frozen=True, slots=True)
class AuthenticCollateral:
    """What Intel says at this time. Built only here.

    It may be given again with the next quote of the same kind of platform: between `first` and `last` nothing of it
    depends on the moment, so that its signatures need not be checked twice.
    """

    tcb_info: TcbInfo
    qe_identity: QeIdentity
    lists: RevocationLists
    seen: SeenEndorsements  # for the caller to merge into its memory
    source: IntelCollateral
    roots: frozenset[bytes]  # the pins that its chains end in
    first: int  # seconds since 1970: when the last of its parts began
    last: int  # and when the first of them ends

    def holds(self, *, roots: Collection[bytes], at: int, seen: SeenEndorsements) -> bool:
        """Whether examining it again, now and under these roots, would pass every step."""
        return self.first <= at <= self.last and self.roots <= set(roots) and not self._older_than(seen)

    def _older_than(self, seen: SeenEndorsements) -> bool:
        return any(older_collateral(found, seen, kind) for kind, found in self.seen.intel.items())


@dataclass(frozen=True, slots=True)
class _Signed:
    """One of the two documents, as it came."""

    what: str
    step: str
    body: str
    signature: str
    issuer_chain: str


def examine_collateral(
    collateral: IntelCollateral, lists: RevocationLists, *, roots: Collection[bytes], at: int, seen: SeenEndorsements
) -> Examination[AuthenticCollateral]:
    """Hold collateral against the pinned `roots` at `at` (seconds since 1970), and against what was `seen`."""
    steps = Steps(COLLATERAL_STEPS, TdxRejected)
    # 1. TCB info, signed as it stands there by the TCB signing key, which is not revoked; 2. in date: a fresh list of
    # revoked certificates does not make old TCB info true.
    tcb_info, identity = _documents(collateral)
    info = _examine(steps, tcb_info, parse_tcb_info, lambda pem: _signing_key(pem, lists, roots, at), at)
    # 3. and 4. The same for the identity of quoting enclaves.
    qe_identity = _examine(steps, identity, parse_qe_identity, lambda pem: _signing_key(pem, lists, roots, at), at)
    if info is None or qe_identity is None:
        return steps.stopped()
    # 5. Nothing older than what the caller has met: what is in date need not be the newest.
    found, kind = _newest(info, qe_identity, lists), intel_kind(info.id, bytes.fromhex(info.fmspc))
    older = older_collateral(found, seen, kind)
    steps.check("tdx.rollback", not older, f"{older} is older than what was seen before: fetch it anew", found="newest")
    return steps.examined(lambda: _authentic(collateral, lists, info, qe_identity, SeenEndorsements({}, {kind: found})))


def _authentic(
    source: IntelCollateral, lists: RevocationLists, info: TcbInfo, identity: QeIdentity, seen: SeenEndorsements
) -> AuthenticCollateral:
    chains = [
        read_chain(source.pck_crl_issuer_chain.encode(), PCK_CA_NAMES),
        read_chain(source.tcb_info_issuer_chain.encode(), SIGNING_NAMES),
        read_chain(source.qe_identity_issuer_chain.encode(), SIGNING_NAMES),
    ]
    certificates = [one for chain in chains for one in chain]
    # Lists that have no end were refused with the signing chain, or are refused with the quote's own.
    ends = [one.next_update_utc for one in (lists.pck, lists.root) if one.next_update_utc is not None]
    return AuthenticCollateral(
        info,
        identity,
        lists,
        seen,
        source,
        roots=frozenset(fingerprint(chain[-1]) for chain in chains),
        first=max(
            *(int(one.not_valid_before_utc.timestamp()) for one in certificates),
            *(int(one.last_update_utc.timestamp()) for one in (lists.pck, lists.root)),
            *(seconds(one.issue_date) for one in (info, identity)),
        ),
        last=min(
            *(int(one.not_valid_after_utc.timestamp()) for one in certificates),
            *(int(one.timestamp()) for one in ends),
            *(seconds(one.next_update) for one in (info, identity)),
        ),
    )


def read_lists(collateral: IntelCollateral, *, roots: Collection[bytes], at: int) -> RevocationLists:
    """The lists, each signed by its CA, whose chain leads to a pinned root; their dates are held with what they list.

    Raises:
        MalformedInput, TooLarge, ChainRefused: not two lists, no such chain, or a list of someone else's.
    """
    chain = read_chain(collateral.pck_crl_issuer_chain.encode(), PCK_CA_NAMES)
    check_chain(chain, roots=roots, at=at)
    pck, root = (parse_list(bytes.fromhex(one)) for one in (collateral.pck_crl, collateral.root_ca_crl))
    check_list_signed(pck, chain[0])
    check_list_signed(root, chain[1])
    return RevocationLists(pck, root, chain[0])


def _documents(collateral: IntelCollateral) -> tuple[_Signed, _Signed]:
    return (
        _Signed(
            "TCB info",
            "tdx.tcb-info",
            collateral.tcb_info,
            collateral.tcb_info_signature,
            collateral.tcb_info_issuer_chain,
        ),
        _Signed(
            "the QE identity",
            "tdx.identity",
            collateral.qe_identity,
            collateral.qe_identity_signature,
            collateral.qe_identity_issuer_chain,
        ),
    )


def _signing_key(pem: str, lists: RevocationLists, roots: Collection[bytes], at: int) -> EllipticCurvePublicKey:
    chain = read_chain(pem.encode(), SIGNING_NAMES)
    check_chain(chain, roots=roots, at=at)
    check_not_revoked(chain, [lists.root], at=at)
    return key_of(chain[0])


def _examine(
    steps: Steps,
    signed: _Signed,
    parse: Callable[[bytes], Document],
    key: Callable[[str], EllipticCurvePublicKey],
    at: int,
) -> Document | None:
    """Two steps: the signature over the bytes as they stand, and today between its dates."""

    def authentic() -> Document:
        body = signed.body.encode()
        verify(key(signed.issuer_chain), bytes.fromhex(signed.signature), body, signed.what)
        return parse(body)

    document = steps.attempt(signed.step, authentic, *REFUSALS, found="signed by Intel")
    if document is not None:
        first, last = seconds(document.issue_date), seconds(document.next_update)
        until = f"{day(first)} to {day(last)}"
        shortfall = f"{signed.what} is of {until}, and now is {day(at)}: fetch it anew"
        steps.check(f"{signed.step}-date", first <= at <= last, shortfall, found=until)
    return document


def _newest(info: TcbInfo, identity: QeIdentity, lists: RevocationLists) -> SeenCollateral:
    return SeenCollateral(
        min(info.tcb_evaluation_data_number, identity.tcb_evaluation_data_number),
        seconds(info.issue_date),
        seconds(identity.issue_date),
        int(lists.pck.last_update_utc.timestamp()),
        int(lists.root.last_update_utc.timestamp()),
    )
