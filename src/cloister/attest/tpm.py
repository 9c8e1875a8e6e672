"""Quotes of TPM 2.0, in hardware and virtual: from parsed to authentic to appraised (TPM 2.0 Library parts 1 to 3).

A quote signs a digest over PCRs, never their values: those travel beside it, and only what the digest was recomputed
from gets into `AuthenticQuote`. Who vouches for the key is the caller's to say: a list of Names, or, on Azure, the
hardware report that names it (`attest.azure`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from cloister.attest.certificates import RSA_EXPONENT, RSA_SIZES
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused
from cloister.examination import Examination, Steps
from cloister.formats.event_log import DIGEST_SIZES, SHA256, SHA384, SHA512
from cloister.formats.tpm_policy import TpmPolicy
from cloister.formats.tpm_quote import ECDSA, RSAPSS, TpmPublic, TpmQuote, TpmSignature

QUOTE_STEPS = ("tpm.signature", "tpm.pcr-selection", "tpm.pcrs")
TPM_STEPS = ("tpm.key", *QUOTE_STEPS)
TPM_APPRAISAL_STEPS = ("tpm.nonce", "tpm.pcr-values")

HASHES: Final[dict[int, hashes.HashAlgorithm]] = {
    SHA256: hashes.SHA256(),
    SHA384: hashes.SHA384(),
    SHA512: hashes.SHA512(),
}
_BANKS: Final = {"sha256": SHA256, "sha384": SHA384, "sha512": SHA512}
_CURVES: Final[dict[int, ec.EllipticCurve]] = {0x0003: ec.SECP256R1(), 0x0004: ec.SECP384R1()}  # TPM_ECC_CURVE
# objectAttributes (part 2 table 35) of an attestation key: made in this TPM, stays there, and signs nothing that looks
# like an attestation unless the TPM made it (part 1 section 25.3.3, restricted).
_REQUIRED: Final = {"fixedTPM": 1 << 1, "sensitiveDataOrigin": 1 << 5, "restricted": 1 << 16, "sign": 1 << 18}
_DECRYPT: Final = 1 << 17

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
PcrBanks = Mapping[int, Mapping[int, bytes]]  # by TPM_ALG_ID, then by PCR


class TpmRejected(Refused):
    """A TPM's quote is not authentic, or did not meet the appraisal policy."""


@dataclass(frozen=True, slots=True)
class SignedQuote:
    """A quote, its signature, and the PCRs' values that travel beside it unsigned."""

    quote: TpmQuote
    signature: TpmSignature
    pcrs: PcrBanks


@dataclass(frozen=True, slots=True)
class AuthenticQuote:
    """A quote that its key signed, over exactly these PCRs. Built only here."""

    extra_data: bytes
    pcrs: dict[int, dict[int, bytes]]  # by TPM_ALG_ID, then by PCR
    reset_count: int
    restart_count: int
    firmware_version: int


@dataclass(frozen=True, slots=True)
class AppraisedQuote:
    """A quote that meets its appraisal policy. Built only here."""

    pcrs: dict[int, bytes]  # of the policy's bank, those that it names


def examine_tpm(signed: SignedQuote, public: TpmPublic, *, names: Collection[bytes]) -> Examination[AuthenticQuote]:
    """Whether an attestation key that the caller knows by its Name signed this quote; no I/O, no clock.

    Args:
        signed: as parsed.
        public: the key beside it.
        names: the Names of the keys that are taken (nameAlg in 2 bytes, then that hash of the public key); none takes
            none.
    """
    steps: Steps = Steps(TPM_STEPS, TpmRejected)
    # 1. A key of these, that can only have signed what its TPM made.
    key = steps.attempt("tpm.key", lambda: _attestation_key(public, names), BadSignature, found="an attestation key")
    if key is None:
        return steps.stopped()
    # 2. to 4.
    authentic = steps.include(examine_quote(signed, key))
    return steps.stopped() if authentic is None else steps.examined(lambda: authentic)


def examine_quote(signed: SignedQuote, key: PublicKey) -> Examination[AuthenticQuote]:
    """Whether `key`, for which the caller vouches, signed this quote, over the PCRs beside it."""
    steps: Steps = Steps(QUOTE_STEPS, TpmRejected)
    quote = signed.quote
    # 1. The signature over TPMS_ATTEST (part 3 section 18.4, TPM2_Quote).
    steps.attempt("tpm.signature", lambda: _check_signature(signed, key), BadSignature, found="by that key")
    # 2. It is over PCRs at all, of banks whose hash holds: a quote over none proves none (CVE-2022-0317).
    weak = [one.algorithm for one in quote.selections if one.pcrs and one.algorithm not in HASHES]
    selected = sum(len(one.pcrs) for one in quote.selections)
    shortfall = (
        f"a quote over PCRs of algorithm {weak[0]:#06x}: quote the SHA-256 or SHA-384 bank"
        if weak
        else "a quote over no PCRs proves nothing about them: name them to TPM2_Quote"
    )
    steps.check("tpm.pcr-selection", selected > 0 and not weak, shortfall, found=f"{selected} PCRs")
    # 3. The digest is that of these values, and no value is there that it does not cover.
    steps.attempt("tpm.pcrs", lambda: _check_pcrs(signed), BadSignature, found="the digest is of these values")
    return steps.examined(
        lambda: AuthenticQuote(
            quote.extra_data,
            {bank: dict(values) for bank, values in signed.pcrs.items() if values},
            quote.reset_count,
            quote.restart_count,
            quote.firmware_version,
        )
    )


def appraise_tpm(authentic: AuthenticQuote, policy: TpmPolicy, *, nonce: bytes) -> Examination[AppraisedQuote]:
    """Hold an authentic quote against the policy and the qualifying data that was asked for, whole."""
    steps = Steps(TPM_APPRAISAL_STEPS, TpmRejected)
    # 1. Freshness: the qualifying data is the whole of what was asked for, never the beginning of it.
    fresh = bool(nonce) and authentic.extra_data == nonce
    shortfall = f"the quote answers {authentic.extra_data.hex()[:16] or 'nothing'}, not this challenge"
    steps.check("tpm.nonce", fresh, shortfall, found="answers this challenge")
    # 2. Each PCR that the policy names was quoted, and has a value that it names.
    values = authentic.pcrs.get(_BANKS[policy.bank], {})
    wrong = [
        f"PCR{index} is {values[index].hex()[:16]}…" if index in values else f"PCR{index} was not quoted"
        for index, allowed in sorted(policy.pcrs.items())
        if values.get(index) not in allowed
    ]
    shortfall = f"{', '.join(wrong)}, in the bank {policy.bank}: not among the values that the policy names"
    steps.check("tpm.pcr-values", not wrong, shortfall, found=f"{len(policy.pcrs)} PCRs hold")
    return steps.examined(lambda: AppraisedQuote({index: values[index] for index in policy.pcrs}))


def name_of_key(public: TpmPublic) -> bytes:
    """A key's Name (part 1 section 16): nameAlg, and that hash of TPMT_PUBLIC.

    Raises:
        BadSignature: a nameAlg that is weak or unknown.
    """
    algorithm = HASHES.get(public.name_algorithm)
    if algorithm is None:
        raise BadSignature(f"the key's nameAlg is {public.name_algorithm:#06x}, not SHA-256, SHA-384 or SHA-512")
    return public.name_algorithm.to_bytes(2, "big") + hashlib.new(algorithm.name, public.encoded).digest()


def rsa_key(modulus: int, exponent: int) -> rsa.RSAPublicKey:
    """The key of these numbers.

    Raises:
        MalformedInput: they are no key, or one of fewer than 2,048 or more than 4,096 bits, or not with 65537.
    """
    try:
        key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedInput(f"not an RSA key: {error}") from error
    if key.key_size not in RSA_SIZES or exponent != RSA_EXPONENT:
        raise MalformedInput(f"an RSA key of {key.key_size} bits; 2,048 to 4,096 are taken, with {RSA_EXPONENT}")
    return key


def _attestation_key(public: TpmPublic, names: Collection[bytes]) -> PublicKey:
    name = name_of_key(public)
    if name not in names:
        raise BadSignature(f"the key {name.hex()[:20]}… is not one of those that are taken")
    missing = [word for word, bit in _REQUIRED.items() if not public.attributes & bit]
    if missing or public.attributes & _DECRYPT:
        what = f"is not {missing[0]}" if missing else "decrypts"
        raise BadSignature(f"the key {what}, so that it may have signed what no TPM made: use an attestation key")
    try:
        return rsa_key(*public.rsa) if public.rsa is not None else _ecc_key(public)
    except MalformedInput as error:
        raise BadSignature(str(error)) from error


def _ecc_key(public: TpmPublic) -> ec.EllipticCurvePublicKey:
    curve_id, x, y = public.ecc or (0, 0, 0)
    curve = _CURVES.get(curve_id)
    if curve is None:
        raise MalformedInput(f"a key on curve {curve_id:#06x}; P-256 and P-384 are taken")
    try:
        return ec.EllipticCurvePublicNumbers(x, y, curve).public_key()
    except ValueError as error:
        raise MalformedInput("the key is no point of its curve") from error


def _check_signature(signed: SignedQuote, key: PublicKey) -> None:
    signature = signed.signature
    algorithm = HASHES.get(signature.hash)
    if algorithm is None:
        raise BadSignature(f"signed with algorithm {signature.hash:#06x}; SHA-256, SHA-384 and SHA-512 are taken")
    if isinstance(key, ec.EllipticCurvePublicKey) != (signature.scheme == ECDSA):
        raise BadSignature("the signature's scheme is not one of the key's kind")
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            r, s = (int.from_bytes(part, "big") for part in signature.parts)
            key.verify(encode_dss_signature(r, s), signed.quote.signed, ec.ECDSA(algorithm))
        else:
            key.verify(signature.parts[0], signed.quote.signed, _padding(signature.scheme, algorithm), algorithm)
    except InvalidSignature as error:
        raise BadSignature("the signature over the quote does not hold") from error


def _padding(scheme: int, algorithm: hashes.HashAlgorithm) -> padding.AsymmetricPadding:
    if scheme == RSAPSS:  # the salt is as long as the hash, or as the key allows (part 1 section B.7)
        return padding.PSS(mgf=padding.MGF1(algorithm), salt_length=padding.PSS.AUTO)
    return padding.PKCS1v15()


def _check_pcrs(signed: SignedQuote) -> None:
    """The digest is by the key's hash, over the selected values in the selection's order (part 3 section 18.4.1)."""
    wanted = {(one.algorithm, index) for one in signed.quote.selections for index in one.pcrs}
    given = {(bank, index) for bank, values in signed.pcrs.items() for index in values}
    if given != wanted:
        (bank, index), *_ = sorted(given ^ wanted)
        missing = "is signed, and its value is missing" if (bank, index) in wanted else "is beside the quote, unsigned"
        raise BadSignature(f"PCR{index} of bank {bank:#06x} {missing}")
    values = [
        (one.algorithm, signed.pcrs[one.algorithm][index]) for one in signed.quote.selections for index in one.pcrs
    ]
    if any(len(value) != DIGEST_SIZES.get(bank) for bank, value in values):
        raise BadSignature("a PCR's value is not as long as its bank's hash")
    algorithm = HASHES.get(signed.signature.hash)
    if algorithm is None:
        raise BadSignature(f"the digest is of algorithm {signed.signature.hash:#06x}, which is not taken")
    if hashlib.new(algorithm.name, b"".join(value for _, value in values)).digest() != signed.quote.pcr_digest:
        raise BadSignature("the PCRs' values are not those that were quoted: their digest is another")
