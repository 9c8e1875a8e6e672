"""Attestation documents of AWS Nitro Enclaves: from parsed to authentic to appraised.

The specification is AWS's "Verifying the root of trust" (Nitro Enclaves user guide), by its sections; its chain of
certificates lives for hours, and AWS tells verifiers to disable revocation lists, so none are asked for here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from cloister.attest.certificates import ChainRefused, check_chain, day, name_of, parse_certificate
from cloister.attest.claims import pcr_claims
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.cose_sign1 import sig_structure
from cloister.formats.nitro_document import PROTECTED, SIGNATURE_SIZE, SignedNitroDocument
from cloister.formats.nitro_policy import NitroPolicy
from cloister.formats.policy_expression import unheld

NITRO_STEPS = ("nitro.chain", "nitro.signature", "nitro.time")
NITRO_APPRAISAL_STEPS = (
    "nitro.age",
    "nitro.user-data",
    "nitro.nonce",
    "nitro.public-key",
    "nitro.debug",
    "nitro.image",
    "nitro.pcrs",
    "nitro.expressions",
)
_IMAGE_PCRS = (0, 1, 2)


class NitroRejected(Refused):
    """A Nitro document is not authentic, or did not meet the appraisal policy."""


@dataclass(frozen=True, slots=True)
class AuthenticNitro:
    """A document that an AWS Nitro Security Module signed. Built only here."""

    module_id: str
    timestamp: int  # milliseconds since 1970
    pcrs: dict[int, bytes]  # 48 bytes each
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None


@dataclass(frozen=True, slots=True)
class NitroExpected:
    """What the document is to carry, whole; None where it is to carry nothing."""

    user_data: bytes | None
    nonce: bytes | None
    public_key: bytes | None


@dataclass(frozen=True, slots=True)
class AppraisedNitro:
    """A document that meets its appraisal policy. Built only here."""

    pcrs: dict[int, bytes]  # 48 bytes each
    appraised_at: int  # seconds since 1970


def examine_nitro(signed: SignedNitroDocument, *, roots: Collection[bytes], at: int) -> Examination[AuthenticNitro]:
    """Whether an AWS Nitro Security Module signed this document; no I/O, no clock.

    Args:
        signed: as parsed.
        roots: SHA-256 of the roots' public keys; `attest.roots.AWS_NITRO_ROOT_G1` for AWS's.
        at: when it is judged, in seconds since 1970.
    """
    steps = Steps(NITRO_STEPS, NitroRejected)
    document = signed.document
    # 1. "Certificate chain validation": the leaf, then the CA bundle from its end, to the pinned root.
    leaf = steps.attempt(
        "nitro.chain", lambda: _leaf(signed, roots, at), ChainRefused, MalformedInput, TooLarge, found="leads to AWS"
    )
    if leaf is None:
        return steps.stopped()
    # 2. "COSE and CBOR": ES384 over the Sig_structure, by the key of that leaf.
    steps.attempt("nitro.signature", lambda: _check_signature(leaf, signed), BadSignature, found="by that certificate")
    # 3. "Semantic validity": the document is of the certificate's time, which is issued to this enclave alone.
    first, last = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    seconds = document.timestamp // 1000
    shortfall = f"the document is of {day(seconds)}, which is outside its certificate's time"
    steps.check("nitro.time", first <= seconds <= last, shortfall, found=day(seconds))
    return steps.examined(
        lambda: AuthenticNitro(
            document.module_id,
            document.timestamp,
            dict(document.pcrs),
            document.public_key,
            document.user_data,
            document.nonce,
        )
    )


def appraise_nitro(
    authentic: AuthenticNitro, policy: NitroPolicy, expected: NitroExpected, *, at: int
) -> Examination[AppraisedNitro]:
    """Hold an authentic document against the policy, and against what it is to carry, at `at` (seconds since 1970)."""
    steps = Steps(NITRO_APPRAISAL_STEPS, NitroRejected)
    # 1. Freshness: neither older than the policy allows, nor from ahead of the clock.
    age = at - authentic.timestamp // 1000
    fresh = -policy.maximum_ahead_seconds <= age <= policy.maximum_age_seconds
    allowed = f"at most {policy.maximum_age_seconds} s old, or {policy.maximum_ahead_seconds} s ahead"
    steps.check("nitro.age", fresh, f"the document is {age} s old, and is to be {allowed}", found=f"{age} s old")
    # 2. to 4. What the enclave put in, whole: a prefix that agrees would leave the rest to someone else.
    for step, name in (("nitro.user-data", "user_data"), ("nitro.nonce", "nonce"), ("nitro.public-key", "public_key")):
        found, wanted = getattr(authentic, name), getattr(expected, name)
        shortfall = f"{name} is {_shown(found)}, not {_shown(wanted)}: it answers someone else"
        steps.check(step, found == wanted, shortfall, found=_shown(found))
    # 5. An enclave in debug mode can be read through its console; its PCRs are zeros ("PCRs in debug mode").
    zeros = [index for index in _IMAGE_PCRS if authentic.pcrs.get(index) == bytes(48)]
    shortfall = (
        f"PCR{zeros[0] if zeros else ''} is zeros: the enclave runs in debug mode; start it without --debug-mode"
    )
    steps.check("nitro.debug", not zeros, shortfall, found="not in debug mode")
    # 6. The image that runs, by its three PCRs together.
    image = tuple(authentic.pcrs.get(index) for index in _IMAGE_PCRS)
    known = image in [(one.pcr0, one.pcr1, one.pcr2) for one in policy.images]
    steps.check("nitro.image", known, f"the image {_shown(image[0])} is not in the policy", found=_shown(image[0]))
    # 7. Every other PCR that the policy names.
    _check_pcrs(steps, authentic, policy)
    # 8. Whatever else the policy says of it, in expressions.
    wrong = unheld(policy.expressions, claims_of_enclave(authentic))
    steps.check("nitro.expressions", not wrong, "; ".join(wrong), found=f"{len(policy.expressions)} hold")
    return steps.examined(lambda: AppraisedNitro(dict(authentic.pcrs), at))


def claims_of_enclave(authentic: AuthenticNitro) -> dict[str, Any]:
    """What its document says, by the names that expressions use."""
    told = {"module_id": authentic.module_id, "timestamp": authentic.timestamp // 1000}
    return told | pcr_claims(authentic.pcrs)


def _leaf(signed: SignedNitroDocument, roots: Collection[bytes], at: int) -> x509.Certificate:
    document = signed.document
    chain = [parse_certificate(one) for one in (document.certificate, *reversed(document.cabundle))]
    check_chain(chain, roots=roots, at=at)
    usage = next((one.value for one in chain[0].extensions if isinstance(one.value, x509.KeyUsage)), None)
    if usage is None or not usage.digital_signature:
        raise ChainRefused(f"{name_of(chain[0])} may not sign documents: its key usage does not say so")
    return chain[0]


def _check_signature(leaf: x509.Certificate, signed: SignedNitroDocument) -> None:
    try:
        key = leaf.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadSignature("the certificate's key is of no kind that we know") from error
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP384R1):
        raise BadSignature("ES384 takes a key on P-384, and the certificate's is none")
    half = SIGNATURE_SIZE // 2
    r, s = (int.from_bytes(part, "big") for part in (signed.signature[:half], signed.signature[half:]))
    try:
        key.verify(encode_dss_signature(r, s), sig_structure(PROTECTED, signed.payload), ECDSA(SHA384()))
    except InvalidSignature as error:
        raise BadSignature("the signature over the document does not hold") from error


def _check_pcrs(steps: Steps, authentic: AuthenticNitro, policy: NitroPolicy) -> None:
    wrong = [
        f"PCR{index} is {_shown(authentic.pcrs.get(index))}"
        for index, values in sorted(policy.pcrs.items())
        if authentic.pcrs.get(index) not in values
    ]
    shortfall = f"{', '.join(wrong)}: not among the values that the policy names"
    steps.check("nitro.pcrs", not wrong, shortfall, found=f"{len(policy.pcrs)} further PCRs hold")


def _shown(value: bytes | None) -> str:
    if value is None:
        return "absent"
    return f"{value.hex()[:16]}… ({len(value)} bytes)" if len(value) > 8 else value.hex() or "empty"
