"""Whether an SEV-SNP report is AMD's word: its chain, revocation, the certificate's match, and its signature.

AMD 56860 (SEV-SNP firmware ABI) section 7.3 for reports, AMD 57230 for certificates and revocation lists. What a good
guest is, `attest.snp.appraised` says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from cloister.attest.certificates import ChainRefused, check_chain, day, name_of, parse_certificates
from cloister.attest.revocation import check_not_revoked, list_number, parse_list
from cloister.attest.seen import SeenEndorsements, SeenList, older_list
from cloister.attest.snp.endorsement_key import EndorsementKey, read_endorsement_key
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.snp_policy import UnsafeSnp
from cloister.formats.snp_report import SignedSnpReport, SigningKey, SnpReport, parse_snp_report
from cloister.formats.snp_tcb import Product, Tcb

SNP_STEPS: Final = (
    "snp.form",
    "snp.endorsement",
    "snp.product",
    "snp.chain",
    "snp.revocation",
    "snp.freshness",
    "snp.signing-key",
    "snp.chip-id",
    "snp.reported-tcb",
    "snp.signature",
)


class SnpRefused(Refused):
    """An SEV-SNP report is not authentic, or does not meet the policy."""


@dataclass(frozen=True, slots=True)
class SnpEndorsements:
    """What travels beside a report, as the host, AMD's KDS or a store gave it. Nothing in it is trusted yet."""

    chain: tuple[bytes, ...]  # DER, or PEM of one or more: VCEK, ASK, ARK; or VLEK, ASVK, ARK
    revocations: tuple[bytes, ...]  # lists of the ARK, in DER or PEM


@dataclass(frozen=True, slots=True)
class AuthenticSnp:
    """A report that AMD's hardware made. It is true; whether it is good enough is the appraisal's word."""

    report: SnpReport
    key: EndorsementKey
    reported: Tcb
    current: Tcb
    committed: Tcb
    launch: Tcb
    seen: SeenEndorsements  # what came along, for the caller to merge into its memory


@dataclass(frozen=True, slots=True)
class _Held:
    """What the chain is held against."""

    roots: Mapping[Product, bytes]
    at: int
    unsafe: Collection[UnsafeSnp]
    seen: SeenEndorsements


def examine_snp(
    report: bytes,
    endorsements: SnpEndorsements,
    *,
    roots: Mapping[Product, bytes],
    at: int,
    unsafe: Collection[UnsafeSnp],
    seen: SeenEndorsements,
) -> Examination[AuthenticSnp]:
    """Examine a report at `at`, seconds since 1970; no I/O, no clock.

    Args:
        report: 1,184 bytes.
        endorsements: its certificates and revocation lists.
        roots: the pin of each product's root key (attest.roots.AMD_ARKS is AMD's).
        at: when everything has to be in date.
        unsafe: what the policy accepts by name; only `UnsafeAllowSnpWithoutRevocation` matters here.
        seen: what the caller met before (`attest.seen.SEEN_NOTHING` where it keeps no memory).
    """
    steps = Steps(SNP_STEPS, SnpRefused)
    # 1. The bytes are a report: size, version, reserved fields (56860, table 23).
    signed = steps.attempt("snp.form", lambda: parse_snp_report(report), MalformedInput, found="1,184 bytes")
    # 2. Its first certificate is one of AMD's for an endorsement key (57230, section 3.1).
    read = steps.attempt("snp.endorsement", lambda: _read(endorsements), MalformedInput, TooLarge, found="read")
    if signed is None or read is None:
        return steps.stopped()
    chain, key = read
    newest = _check_certificates(steps, signed.report, chain, key, endorsements, _Held(roots, at, unsafe, seen))
    tcbs = _check_match(steps, signed, key)
    if tcbs is None:
        return steps.stopped()
    return steps.examined(lambda: AuthenticSnp(signed.report, key, *tcbs, SeenEndorsements(newest, {})))


def _read(endorsements: SnpEndorsements) -> tuple[tuple[x509.Certificate, ...], EndorsementKey]:
    chain = tuple(one for given in endorsements.chain for one in parse_certificates(given))
    if not chain:
        raise MalformedInput("no certificate of the endorsement key came along: fetch it from AMD's KDS")
    return chain, read_endorsement_key(chain[0])


def _check_certificates(
    steps: Steps,
    report: SnpReport,
    chain: tuple[x509.Certificate, ...],
    key: EndorsementKey,
    endorsements: SnpEndorsements,
    held: _Held,
) -> Mapping[Product, SeenList]:
    """Steps 3 to 6: AMD vouches for the key, for this product, now. Which list of its root says so."""
    # 3. Report and certificate are of one product. A report of version 2 does not say: the certificate does.
    named = key.product if report.version == 2 else report.product
    shortfall = f"the report is of {named or f'an unknown product, CPUID {report.cpuid}'}, its key of {key.product}"
    steps.check("snp.product", named is key.product, shortfall, found=str(key.product))
    # 4. Endorsement key, ASK or ASVK, and the root key of this very product (57230, section 2.2).
    own = held.roots.get(key.product)
    above = steps.attempt(
        "snp.chain",
        lambda: check_key_chain(chain, key, roots=() if own is None else (own,), at=held.at),
        ChainRefused,
        MalformedInput,
        found=f"to {name_of(chain[-1])}",
    )
    if above is None:  # whoever made it up may have made it long, and lists for each of its certificates
        return {}
    # 5. AMD revokes ASKs and ASVKs, by a list of the root key's (57230, section 4.3); endorsement keys all have the
    # serial number 0 and age with their TCB instead.
    if "UnsafeAllowSnpWithoutRevocation" in held.unsafe:
        for step in ("snp.revocation", "snp.freshness"):
            steps.check(step, True, "", found="not checked: UnsafeAllowSnpWithoutRevocation")
        return {}
    newest = steps.attempt(
        "snp.revocation",
        lambda: _check_revocation(above, endorsements.revocations, at=held.at),
        ChainRefused,
        MalformedInput,
        TooLarge,
        found="not revoked",
    )
    if newest is None:
        return {}
    # 6. By a list no older than one that was met: lists are in date for a year.
    older = older_list(newest, held.seen, key.product)
    shortfall = f"the revocation list is older than one seen before: {older}: fetch it from AMD's KDS"
    steps.check("snp.freshness", not older, shortfall, found=f"number {newest.number} of {day(newest.this_update)}")
    return {key.product: newest}


def _check_revocation(above: tuple[x509.Certificate, ...], lists: tuple[bytes, ...], *, at: int) -> SeenList:
    """The list of the root that does not name the ASK or ASVK, the newest of those that came along."""
    found = check_not_revoked(above, [parse_list(one) for one in lists], at=at)
    return SeenList(list_number(found[0]), int(found[0].last_update_utc.timestamp()))


def check_key_chain(
    chain: tuple[x509.Certificate, ...], key: EndorsementKey, *, roots: Collection[bytes], at: int
) -> tuple[x509.Certificate, ...]:
    """Hold an endorsement key's chain, the key's own certificate first, against the pinned `roots` at `at`.

    Returns:
        The two above it, whom a list of AMD's could name.

    Raises:
        ChainRefused: it does not hold, or the key is signed by what signs others.
    """
    if len(chain) != 3:
        raise ChainRefused(f"an endorsement key's chain has 3 certificates, not {len(chain)}")
    check_chain(chain, roots=roots, at=at)
    # An ASK signs VCEKs, an ASVK VLEKs; each for its product (57230, table 6; 58369).
    wanted = f"SEV-VLEK-{key.product}" if key.kind is SigningKey.VLEK else f"SEV-{key.product}"
    if name_of(chain[1]) != wanted:
        raise ChainRefused(f"a {key.kind.name} of {key.product} is signed by {wanted}, not by {name_of(chain[1])}")
    return chain[1:]


def _check_match(steps: Steps, signed: SignedSnpReport, key: EndorsementKey) -> tuple[Tcb, Tcb, Tcb, Tcb] | None:
    """Steps 7 to 10: the certificate is for the key that signed this report, on this chip, at this TCB."""
    report = signed.report
    # 7. The report says which kind of key signed it (table 23, SIGNING_KEY).
    shortfall = f"the report says {report.signing_key.name}, the certificate is of a {key.kind.name}"
    steps.check("snp.signing-key", report.signing_key is key.kind, shortfall, found=key.kind.name)
    # 8. A VCEK is one chip's; a report that hides its chip cannot be held against it. A VLEK is no chip's.
    same = key.chip_id is None or (report.chip_id == key.chip_id and any(report.chip_id))
    shortfall = f"the report is of chip {_short(report.chip_id)}, its certificate of {_short(key.chip_id or b'')}"
    found = "a VLEK names no chip" if key.chip_id is None else _short(report.chip_id)
    steps.check("snp.chip-id", same, shortfall, found=found)
    # 9. The key is derived from the REPORTED TCB (section 2.2), which may be below the CURRENT one: a certificate for
    # another TCB is one of another key.
    tcbs = steps.attempt("snp.reported-tcb", lambda: _tcbs(report, key.product), MalformedInput)
    if tcbs is not None:
        steps.check("snp.reported-tcb", tcbs[0] == key.tcb, _tcb_shortfall(tcbs, key), found=str(tcbs[0]))
    # 10. ECDSA P-384 with SHA-384 over everything before it.
    held = _is_signed(signed, key)
    steps.check("snp.signature", held, "the endorsement key did not sign this report", found="holds")
    return tcbs


def _tcbs(report: SnpReport, product: Product) -> tuple[Tcb, Tcb, Tcb, Tcb]:
    reported, current = Tcb.parse(report.reported_tcb, product), Tcb.parse(report.current_tcb, product)
    return reported, current, Tcb.parse(report.committed_tcb, product), Tcb.parse(report.launch_tcb, product)


def _tcb_shortfall(tcbs: tuple[Tcb, Tcb, Tcb, Tcb], key: EndorsementKey) -> str:
    said = f"the REPORTED TCB is {tcbs[0]}; the certificate is for {key.tcb}"
    if tcbs[1] == key.tcb:
        return f"{said}, the CURRENT one: fetch the certificate for the REPORTED TCB"
    return f"{said}: fetch the certificate for the REPORTED TCB"


def _is_signed(signed: SignedSnpReport, key: EndorsementKey) -> bool:
    try:
        key.public.verify(encode_dss_signature(signed.r, signed.s), signed.signed, ECDSA(SHA384()))
    except InvalidSignature:
        return False
    return True


def _short(chip: bytes) -> str:
    return f"{chip.hex()[:16]}…" if any(chip) else "none"
