"""What the chains of NVIDIA's devices and of the signers of its manifests have in common."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey

from cloister.attest.certificates import MALFORMED, ChainRefused, check_chain, name_of
from cloister.attest.ocsp import Nonce, OcspAnswer, check_answered_good
from cloister.examination import Steps
from cloister.formats.nvidia_policy import NvidiaUnsafe

UNCHECKED: Final = "not checked: UnsafeAllowUncheckedRevocation"


@dataclass(frozen=True, slots=True, kw_only=True)
class NvidiaTerms:
    """What NVIDIA's chains are held against. Devices and manifests have a root each: neither vouches for the other."""

    devices: Collection[bytes]  # pins of the roots of devices
    manifests: Collection[bytes]  # pins of the roots of manifests' signers
    answers: Sequence[OcspAnswer]
    nonce: Nonce  # what those answers have to answer, or `stapled`
    at: int  # seconds since 1970
    unsafe: Collection[NvidiaUnsafe]


def check_signer(
    chain: Sequence[x509.Certificate], *, roots: Collection[bytes], terms: NvidiaTerms
) -> EllipticCurvePublicKey:
    """Hold a chain to its root, and its leaf to a key that signs what is no certificate. Returns that key, on P-384.

    `roots` are those of `terms` for what the leaf is to sign.

    Raises:
        ChainRefused: the chain does not hold, or its leaf has another kind of key, or one for something else.
    """
    check_chain(chain, roots=roots, at=terms.at)
    return signing_key(chain[0])


def signing_key(leaf: x509.Certificate) -> EllipticCurvePublicKey:
    """A leaf's key: on P-384, and for digital signatures (RFC 5280 section 4.2.1.3).

    Raises:
        ChainRefused: another kind of key, or for something else.
    """
    try:
        key = leaf.public_key()
    except MALFORMED as error:
        raise ChainRefused(f"the key of {name_of(leaf)} is not one we know") from error
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP384R1):
        raise ChainRefused(f"the key of {name_of(leaf)} is not on P-384")
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as error:
        raise ChainRefused(f"{name_of(leaf)} does not say what its key is for") from error
    if not usage.digital_signature:
        raise ChainRefused(f"the key of {name_of(leaf)} is not for signatures")
    return key


def check_revocation(
    steps: Steps, step: str, chain: Sequence[x509.Certificate], terms: NvidiaTerms, *, whole: bool
) -> None:
    """Record whether OCSP answers say that none of the chain was revoked, or that this was not asked for."""
    if "UnsafeAllowUncheckedRevocation" in terms.unsafe:
        steps.check(step, True, "", found=UNCHECKED)
        return
    steps.attempt(
        step,
        lambda: check_answered_good(chain, terms.answers, nonce=terms.nonce, at=terms.at, whole=whole),
        ChainRefused,
        found="not revoked",
    )
