"""Whether what a vendor is said to say is the vendor's, as far as that can be known without evidence; no I/O, no clock.

It is asked of everything that goes into a store of endorsements, wherever it came from: a lying mirror, a bundle from
nobody knows whom and a broken disk can then withhold, and do nothing else. Evidence is judged with all of it again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from cloister.attest.certificates import (
    ChainRefused,
    check_chain,
    day,
    fingerprint,
    name_of,
    parse_certificate,
    serial_number_of,
)
from cloister.attest.nvidia.chain import NvidiaTerms
from cloister.attest.nvidia.rim import examine_nvidia_rim
from cloister.attest.ocsp import STAPLED, parse_answer, read_answered
from cloister.attest.revocation import check_list_signed, parse_list
from cloister.attest.snp.authentic import check_key_chain
from cloister.attest.snp.endorsement_key import EndorsementKey, read_endorsement_key
from cloister.attest.tdx.intel_chain import PCK_CA_NAMES, ROOT_NAME, SIGNING_NAMES, key_of, read_chain, verify
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats import endorsement_bundle as bundle
from cloister.formats.appraisal_policy import VendorRoots
from cloister.formats.endorsement_bundle import Kept, Kind, kind_of, require_form
from cloister.formats.nvidia_policy import NvidiaUnsafe
from cloister.formats.nvidia_rim import parse_rim_file
from cloister.formats.snp_report import SigningKey
from cloister.formats.snp_tcb import Product, Tcb
from cloister.formats.tcb_info import QeIdentity, TcbInfo, parse_qe_identity, parse_tcb_info, seconds

ENDORSEMENT_STEPS: Final = (
    "endorsement.form",
    "endorsement.origin",
    "endorsement.subject",
    "endorsement.date",
    "endorsement.rollback",
)
_TEES: Final = {"TD_QE": "TDX", "QE": "SGX"}
_CAS: Final = {"Intel SGX PCK Platform CA": "platform", "Intel SGX PCK Processor CA": "processor"}
_REFUSALS: Final = (ChainRefused, BadSignature, MalformedInput, TooLarge, Refused)

Mark = tuple[int, ...]  # how new it is, by each thing that its vendor counts; nothing where it counts none


class EndorsementRefused(Refused):
    """What a vendor is said to say is not the vendor's, not in date, or older than what was seen."""


@dataclass(frozen=True, slots=True)
class Described:
    """What something kept says of itself. Nothing of it is trusted."""

    kind: Kind
    subject: str  # which of its kind, in words that people read
    first: int  # seconds since 1970: when the last of its parts began
    until: int  # and when the first of them ends
    mark: Mark


@dataclass(frozen=True, slots=True)
class AuthenticEndorsement:
    """Something that its vendor says now. Whether it is of this evidence, the evidence's examination says."""

    kept: Kept
    described: Described


@dataclass(frozen=True, slots=True)
class _Read:
    """What stands in one, and how it is held."""

    subject: str
    chain: tuple[x509.Certificate, ...]  # the signer's first, the root last
    pins: Callable[[VendorRoots], Collection[bytes]]
    times: Sequence[tuple[datetime | int, datetime | int | None]]  # beside those of the chain
    mark: Mark
    check: Callable[[VendorRoots, int], None]  # raises one of _REFUSALS


def describe(kept: Kept) -> Described:
    """What it says of itself.

    Raises:
        MalformedInput, TooLarge: a part of it is not what it should be.
    """
    return _described(kept, _read(kept))


def examine_endorsement(
    kept: Kept, *, roots: VendorRoots, at: int, subject: str, seen: Mark
) -> Examination[AuthenticEndorsement]:
    """Examine one at `at` (seconds since 1970).

    Args:
        kept: as it came.
        roots: what chains have to end in.
        at: now.
        subject: which of its kind was asked for; who imports what there is asks for what it says it is.
        seen: the mark of the newest of this kind and subject that was seen; empty where none was.
    """
    steps = Steps(ENDORSEMENT_STEPS, EndorsementRefused)
    # 1. Certificates, lists and documents that parse, and say what they are of.
    read = steps.attempt(
        "endorsement.form", lambda: _read(require_form(kept)), MalformedInput, TooLarge, found=kind_of(kept)
    )
    if read is None:
        return steps.stopped()
    own = _described(kept, read)
    # 2. Signed by its vendor, by a chain to a pinned root; judged at a moment when all of it was in date.
    moment = max(own.first, min(at, own.until))
    steps.attempt("endorsement.origin", lambda: _check(read, roots, moment), *_REFUSALS, found=name_of(read.chain[-1]))
    # 3. Of what was asked for: a mirror may answer with what is true of another chip.
    shortfall = f"it is of {own.subject}, and {subject} was asked for"
    steps.check("endorsement.subject", own.subject == subject, shortfall, found=own.subject)
    # 4. In date, all parts of it.
    shortfall = f"it counts from {day(own.first)} to {day(own.until)}, and now is {day(at)}: get it anew"
    steps.check("endorsement.date", own.first <= at <= own.until, shortfall, found=f"until {day(own.until)}")
    # 5. Nothing older than what was seen, by anything that its vendor counts: what is in date need not be the newest.
    older = bool(seen) and any(mine < theirs for mine, theirs in zip(own.mark, seen, strict=True))
    shortfall = f"it is older ({_words(own.mark)}) than what was seen before ({_words(seen)})"
    steps.check("endorsement.rollback", not older, shortfall, found=_words(own.mark))
    return steps.examined(lambda: AuthenticEndorsement(kept, own))


def key_subject(product: Product, kind: SigningKey, holder: bytes | str, tcb: Tcb) -> str:
    """The subject of an endorsement key: a chip's id of 64 bytes or a cloud's name holds it."""
    named = holder if isinstance(holder, str) else hardware_id(product, holder).hex()
    return f"{product} {kind.name} of {named} at {tcb.encode(product).hex()}"


def hardware_id(product: Product, chip_id: bytes) -> bytes:
    """A chip's id of 64 bytes as AMD's certificates and service have it: 8 bytes for Turin (AMD 57230, table 8)."""
    return chip_id[:8] if product is Product.TURIN else chip_id


def answer_subject(certificate: x509.Certificate, issuer: x509.Certificate) -> str:
    """The subject of an OCSP answer: serial number and issuer's key."""
    return f"certificate {serial_number_of(certificate):x} of issuer {fingerprint(issuer).hex()}"


def _check(read: _Read, roots: VendorRoots, moment: int) -> None:
    check_chain(read.chain, roots=read.pins(roots), at=moment)
    read.check(roots, moment)


def _described(kept: Kept, read: _Read) -> Described:
    spans = [(one.not_valid_before_utc, one.not_valid_after_utc) for one in read.chain]
    first = max(map(_moment, [*(one for one, _ in spans), *(one for one, _ in read.times)]))
    ends = [one for one in (*(one for _, one in spans), *(one for _, one in read.times)) if one is not None]
    return Described(kind_of(kept), read.subject, first, min(map(_moment, ends)), read.mark)


def _moment(at: datetime | int) -> int:
    return at if isinstance(at, int) else int(at.timestamp())


def _words(mark: Mark) -> str:
    """Numbers as they are, moments as people write them."""
    return ", ".join(day(one) if one > 1_000_000_000 else str(one) for one in mark) or "not counted"


def _read(kept: Kept) -> _Read:
    try:
        return _read_kind(kept)
    except ChainRefused as error:  # other certificates than this kind has
        raise MalformedInput(str(error)) from error


def _read_kind(kept: Kept) -> _Read:
    match kept:
        case bundle.AmdKey():
            return _read_key(kept)
        case bundle.AmdRevocations():
            return _read_amd_list(kept)
        case bundle.IntelTcbInfo():
            return _read_tcb_info(kept)
        case bundle.IntelQeIdentity():
            return _read_qe_identity(kept)
        case bundle.IntelPckRevocations():
            return _read_pck_list(kept)
        case bundle.IntelRootRevocations():
            return _read_root_list(kept)
        case bundle.NvidiaManifest():
            return _read_manifest(kept)
        case bundle.OcspAnswer():
            return _read_answer(kept)


def _read_key(kept: bundle.AmdKey) -> _Read:
    chain = tuple(map(parse_certificate, kept.chain))
    key = read_endorsement_key(chain[0])
    subject = key_subject(key.product, key.kind, key.chip_id or key.csp_id or "", key.tcb)
    return _Read(
        subject,
        chain,
        lambda roots: _of_product(roots, key.product),
        (),
        (),
        lambda roots, at: _check_key(chain, key, roots, at),
    )


def _check_key(chain: tuple[x509.Certificate, ...], key: EndorsementKey, roots: VendorRoots, at: int) -> None:
    check_key_chain(chain, key, roots=_of_product(roots, key.product), at=at)


def _of_product(roots: VendorRoots, product: Product) -> Collection[bytes]:
    return [roots.amd[product]] if product in roots.amd else []


def _read_amd_list(kept: bundle.AmdRevocations) -> _Read:
    issuer = parse_certificate(kept.issuer)
    products = {f"ARK-{product}": product for product in Product}
    product = products.get(name_of(issuer))
    if product is None:
        raise MalformedInput(f"a revocation list of {name_of(issuer)}, which is no root key of AMD's")
    return _list(kept.data, (issuer,), str(product), lambda roots: _of_product(roots, product))


def _read_root_list(kept: bundle.IntelRootRevocations) -> _Read:
    issuer = parse_certificate(kept.issuer)
    if name_of(issuer) != ROOT_NAME:
        raise MalformedInput(f"a revocation list of {name_of(issuer)}, not of {ROOT_NAME}")
    return _list(kept.data, (issuer,), "root", lambda roots: roots.intel)


def _read_pck_list(kept: bundle.IntelPckRevocations) -> _Read:
    chain = read_chain(kept.issuer_chain.encode(), PCK_CA_NAMES)
    return _list(kept.data, chain, _CAS[name_of(chain[0])], lambda roots: roots.intel)


def _list(
    data: bytes,
    chain: tuple[x509.Certificate, ...],
    subject: str,
    of: Callable[[VendorRoots], Collection[bytes]],
) -> _Read:
    """A complete list in DER that has an end."""
    found = parse_list(data)
    if found.public_bytes(Encoding.DER) != data or found.next_update_utc is None:
        raise MalformedInput("a revocation list that is not in DER, or has no end")
    try:
        number = found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        number = 0
    span = (found.last_update_utc, found.next_update_utc)
    mark = (number, _moment(found.last_update_utc))
    return _Read(subject, chain, of, (span,), mark, lambda _roots, _at: check_list_signed(found, chain[0]))


def _read_tcb_info(kept: bundle.IntelTcbInfo) -> _Read:
    info = parse_tcb_info(kept.body.encode())
    return _document(kept, info, f"{info.id} {info.fmspc.lower()}")


def _read_qe_identity(kept: bundle.IntelQeIdentity) -> _Read:
    identity = parse_qe_identity(kept.body.encode())
    if identity.id not in _TEES:
        raise MalformedInput(f"the identity of {identity.id}, which quotes nothing that is judged here")
    return _document(kept, identity, _TEES[identity.id])


def _document(
    kept: bundle.IntelTcbInfo | bundle.IntelQeIdentity, document: TcbInfo | QeIdentity, subject: str
) -> _Read:
    chain = read_chain(kept.issuer_chain.encode(), SIGNING_NAMES)
    issued = seconds(document.issue_date)
    return _Read(
        subject,
        chain,
        lambda roots: roots.intel,
        ((issued, seconds(document.next_update)),),
        (document.tcb_evaluation_data_number, issued),
        lambda _roots, _at: verify(key_of(chain[0]), bytes.fromhex(kept.signature), kept.body.encode(), "the document"),
    )


def _read_manifest(kept: bundle.NvidiaManifest) -> _Read:
    chain = tuple(map(parse_certificate, parse_rim_file(kept.data).certificates))
    return _Read(
        kept.id,
        chain,
        lambda roots: roots.nvidia_manifests,
        (),
        (),
        lambda roots, at: _check_manifest(kept, roots, at),
    )


def _check_manifest(kept: bundle.NvidiaManifest, roots: VendorRoots, at: int) -> None:
    """The signature, and that the id is of the version that was signed. Who is revoked is asked with the evidence."""
    unchecked: tuple[NvidiaUnsafe, ...] = ("UnsafeAllowUncheckedRevocation",)
    terms = NvidiaTerms(
        devices=(), manifests=roots.nvidia_manifests, answers=(), nonce=STAPLED, at=at, unsafe=unchecked
    )
    version = examine_nvidia_rim(kept.data, terms).require().manifest.version.upper()
    if not kept.id.upper().endswith((f"_{version}", f"_{version.replace('.', '')}")):
        raise ChainRefused(f"the manifest is of version {version}, which is not what {kept.id} names")


def _read_answer(kept: bundle.OcspAnswer) -> _Read:
    chain = tuple(map(parse_certificate, kept.chain))
    answer = parse_answer(kept.data)
    singles: list[ocsp.OCSPSingleResponse] = [
        one for one in answer.response.responses if one.serial_number == serial_number_of(chain[0])
    ]
    if len(singles) != 1 or singles[0].next_update_utc is None:
        raise MalformedInput("an OCSP answer that does not speak of this certificate once, or has no end")
    delegated = [(one.not_valid_before_utc, one.not_valid_after_utc) for one in answer.certificates]
    return _Read(
        answer_subject(chain[0], chain[1]),
        chain,
        lambda roots: (*roots.nvidia_devices, *roots.nvidia_manifests),
        ((singles[0].this_update_utc, singles[0].next_update_utc), *delegated),
        (_moment(singles[0].this_update_utc),),
        lambda _roots, at: _check_answer(chain, kept.data, at),
    )


def _check_answer(chain: Sequence[x509.Certificate], data: bytes, at: int) -> None:
    """Signed by who may. What it says is kept, whatever it is: that something was revoked is not to be forgotten."""
    read_answered(chain[0], chain[1], parse_answer(data), at=at)
