"""What stands in something that is kept of a vendor's words: what it is of, how new it is, and how it is held.

One reader for each kind. Nothing that one returns is trusted: `attest.endorsements` examines it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from cloister.attest.certificates import ChainRefused, fingerprint, name_of, parse_certificate, serial_number_of
from cloister.attest.nvidia.chain import NvidiaTerms
from cloister.attest.nvidia.rim import examine_nvidia_rim
from cloister.attest.ocsp import STAPLED, parse_answer, read_answered
from cloister.attest.revocation import check_list_signed, parse_list
from cloister.attest.snp.authentic import check_key_chain
from cloister.attest.snp.endorsement_key import EndorsementKey, read_endorsement_key
from cloister.attest.tdx.intel_chain import PCK_CA_NAMES, ROOT_NAME, SIGNING_NAMES, key_of, read_chain, verify
from cloister.errors import MalformedInput
from cloister.formats import endorsement_bundle as bundle
from cloister.formats.appraisal_policy import VendorRoots
from cloister.formats.endorsement_bundle import Kept
from cloister.formats.nvidia_policy import NvidiaUnsafe
from cloister.formats.nvidia_rim import parse_rim_file
from cloister.formats.snp_report import SigningKey
from cloister.formats.snp_tcb import Product, Tcb
from cloister.formats.tcb_info import QeIdentity, TcbInfo, parse_qe_identity, parse_tcb_info, seconds

_TEES: Final = {"TD_QE": "TDX", "QE": "SGX"}
_CAS: Final = {"Intel SGX PCK Platform CA": "platform", "Intel SGX PCK Processor CA": "processor"}

Mark = tuple[int, ...]  # how new it is, by each thing that its vendor counts; nothing where it counts none


@dataclass(frozen=True, slots=True)
class Said:
    """What stands in one, and how it is held."""

    subject: str
    chain: tuple[x509.Certificate, ...]  # the signer's first, the root last
    pins: Callable[[VendorRoots], Collection[bytes]]
    times: Sequence[tuple[datetime | int, datetime | int | None]]  # beside those of the chain
    mark: Mark
    check: Callable[[VendorRoots, int], None]  # raises what refuses it


def read_said(kept: Kept) -> Said:
    """Read one of any kind.

    Raises:
        MalformedInput, TooLarge: a part of it is not what it should be.
    """
    try:
        return _read_kind(kept)
    except ChainRefused as error:  # other certificates than this kind has
        raise MalformedInput(str(error)) from error


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


def moment_of(at: datetime | int) -> int:
    """Seconds since 1970."""
    return at if isinstance(at, int) else int(at.timestamp())


def _read_kind(kept: Kept) -> Said:
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


def _read_key(kept: bundle.AmdKey) -> Said:
    chain = tuple(map(parse_certificate, kept.chain))
    key = read_endorsement_key(chain[0])
    subject = key_subject(key.product, key.kind, key.chip_id or key.csp_id or "", key.tcb)
    return Said(
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


def _read_amd_list(kept: bundle.AmdRevocations) -> Said:
    issuer = parse_certificate(kept.issuer)
    products = {f"ARK-{product}": product for product in Product}
    product = products.get(name_of(issuer))
    if product is None:
        raise MalformedInput(f"a revocation list of {name_of(issuer)}, which is no root key of AMD's")
    return _list(kept.data, (issuer,), str(product), lambda roots: _of_product(roots, product))


def _read_root_list(kept: bundle.IntelRootRevocations) -> Said:
    issuer = parse_certificate(kept.issuer)
    if name_of(issuer) != ROOT_NAME:
        raise MalformedInput(f"a revocation list of {name_of(issuer)}, not of {ROOT_NAME}")
    return _list(kept.data, (issuer,), "root", lambda roots: roots.intel)


def _read_pck_list(kept: bundle.IntelPckRevocations) -> Said:
    chain = read_chain(kept.issuer_chain.encode(), PCK_CA_NAMES)
    return _list(kept.data, chain, _CAS[name_of(chain[0])], lambda roots: roots.intel)


def _list(
    data: bytes,
    chain: tuple[x509.Certificate, ...],
    subject: str,
    of: Callable[[VendorRoots], Collection[bytes]],
) -> Said:
    """A complete list in DER that has an end."""
    found = parse_list(data)
    if found.public_bytes(Encoding.DER) != data or found.next_update_utc is None:
        raise MalformedInput("a revocation list that is not in DER, or has no end")
    try:
        number = found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        number = 0
    span = (found.last_update_utc, found.next_update_utc)
    mark = (number, moment_of(found.last_update_utc))
    return Said(subject, chain, of, (span,), mark, lambda _roots, _at: check_list_signed(found, chain[0]))


def _read_tcb_info(kept: bundle.IntelTcbInfo) -> Said:
    info = parse_tcb_info(kept.body.encode())
    return _document(kept, info, f"{info.id} {info.fmspc.lower()}")


def _read_qe_identity(kept: bundle.IntelQeIdentity) -> Said:
    identity = parse_qe_identity(kept.body.encode())
    if identity.id not in _TEES:
        raise MalformedInput(f"the identity of {identity.id}, which quotes nothing that is judged here")
    return _document(kept, identity, _TEES[identity.id])


def _document(kept: bundle.IntelTcbInfo | bundle.IntelQeIdentity, document: TcbInfo | QeIdentity, subject: str) -> Said:
    chain = read_chain(kept.issuer_chain.encode(), SIGNING_NAMES)
    issued = seconds(document.issue_date)
    return Said(
        subject,
        chain,
        lambda roots: roots.intel,
        ((issued, seconds(document.next_update)),),
        (document.tcb_evaluation_data_number, issued),
        lambda _roots, _at: verify(key_of(chain[0]), bytes.fromhex(kept.signature), kept.body.encode(), "the document"),
    )


def _read_manifest(kept: bundle.NvidiaManifest) -> Said:
    chain = tuple(map(parse_certificate, parse_rim_file(kept.data).certificates))
    return Said(
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


def _read_answer(kept: bundle.OcspAnswer) -> Said:
    chain = tuple(map(parse_certificate, kept.chain))
    answer = parse_answer(kept.data)
    singles: list[ocsp.OCSPSingleResponse] = [
        one for one in answer.singles if one.serial_number == serial_number_of(chain[0])
    ]
    if len(singles) != 1 or singles[0].next_update_utc is None:
        raise MalformedInput("an OCSP answer that does not speak of this certificate once, or has no end")
    delegated = [(one.not_valid_before_utc, one.not_valid_after_utc) for one in answer.certificates]
    return Said(
        answer_subject(chain[0], chain[1]),
        chain,
        lambda roots: (*roots.nvidia_devices, *roots.nvidia_manifests),
        ((singles[0].this_update_utc, singles[0].next_update_utc), *delegated),
        (moment_of(singles[0].this_update_utc),),
        lambda _roots, at: _check_answer(chain, kept.data, at),
    )


def _check_answer(chain: Sequence[x509.Certificate], data: bytes, at: int) -> None:
    """Signed by who may. What it says is kept, whatever it is: that something was revoked is not to be forgotten."""
    read_answered(chain[0], chain[1], parse_answer(data), at=at)
