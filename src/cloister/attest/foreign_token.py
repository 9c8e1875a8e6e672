"""The steps that tokens of other makers' verifiers have in common: signed by a pinned key, for us, just now. No I/O.

The algorithm is the kind's, never the token's; what its header says of keys is passed over. The specification is
docs/formats/attestation-result.md, "In place of evidence".
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cloister.attest.certificates import ChainRefused, check_chain, parse_certificate, require_strong
from cloister.attest.claims import token_claims
from cloister.crypto.rs256 import check_rs256
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Steps
from cloister.formats.contract_verifier import Verifier
from cloister.formats.evidence import Binding, NodeKeys, Unsafe
from cloister.formats.jwt import Jwt, parse_jwt, parse_jwt_members
from cloister.formats.policy_expression import Claims, unheld

MAXIMUM_SKEW: Final = 60  # seconds that a verifier's clock may be ahead
_RS256: Final = "RS256"
_JWT: Final = "JWT"

# A token signed with RS256, up to what its kind alone says; then come those of _END.
FOREIGN_STEPS: Final = (
    "token.verifier",
    "token.form",
    "token.algorithm",
    "token.type",
    "token.signature",
    "token.claims",
    "token.issuer",
    "token.time",
    "token.age",
    "token.nonce",
    "token.environment",
    "token.measurement",
    "token.expressions",
)

Read = TypeVar("Read")


class NamedTokenRefused(Refused):
    """A token in place of evidence is not one of a verifier that the policy names, or does not say what it has to."""


@dataclass(frozen=True, slots=True)
class TokenTerms:
    """What a token in place of evidence is held against besides its verifier's part of the policy."""

    binding: Binding  # as it travels beside the token
    keys: NodeKeys
    unsafe: tuple[Unsafe, ...]  # exceptions that the policy accepts
    workloads: Collection[bytes]  # of 48 bytes, one of which is to run
    at: int  # seconds since 1970


class Timed(Protocol):
    """When a token was made, and from when until when it counts: seconds since 1970."""

    @property
    def iss(self) -> str:
        """Whose it is."""

    @property
    def iat(self) -> int:
        """Made."""

    @property
    def nbf(self) -> int:
        """From."""

    @property
    def exp(self) -> int:
        """Until, and not at."""


def read_signed(
    steps: Steps, token: bytes, verifier: Verifier, read: Callable[[dict[str, Any]], Read], keys: Callable[[Jwt], None]
) -> tuple[Read, Claims] | None:
    """The claims of a token whose signature holds, by name and as expressions see them; `keys` checks the signature."""
    # A compact JWS; nothing in it is decoded twice.
    jwt = steps.attempt("token.form", lambda: parse_jwt(token), MalformedInput, TooLarge, found="compact JWS")
    if jwt is None:
        return None
    # RS256 is what this kind of verifier signs with: `none`, HMAC and whatever else is another's.
    algorithm = steps.check("token.algorithm", jwt.header.alg == _RS256, "is not signed with RS256", found=_RS256)
    typed = steps.check("token.type", jwt.header.typ == _JWT, f"typ is not {_JWT}", found=_JWT)
    if not algorithm or not typed:
        return None
    # By a key that the policy pins.
    errors = (BadSignature, ChainRefused, MalformedInput, TooLarge)
    steps.attempt("token.signature", lambda: keys(jwt), *errors, found=f"by a key of {verifier.name}")
    if not steps.clean:
        return None
    return steps.attempt(
        "token.claims", lambda: _both(jwt.payload, read), MalformedInput, TooLarge, found="well-formed"
    )


def check_pinned(jwt: Jwt, keys: Collection[bytes]) -> None:
    """Check a token's signature against pinned RSA keys; which of them, the token does not choose.

    Raises:
        BadSignature: none of them made it.
    """
    for key in keys:
        try:
            return check_rs256(key, jwt.signature, jwt.signed)
        except BadSignature:
            continue
    raise BadSignature("the signature holds under none of the keys that the policy pins")


def check_chained(jwt: Jwt, roots: Collection[bytes], *, at: int) -> None:
    """Check a token's signature by the certificate that it brings along, which leads to a pinned root.

    Raises:
        BadSignature, ChainRefused, MalformedInput, TooLarge: it does not hold, or the chain does not.
    """
    chain = [parse_certificate(one) for one in jwt.chain]
    check_chain(chain, roots=roots, at=at)
    require_strong(chain[0])
    _require_signer(chain[0])
    key = chain[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    check_rs256(key, jwt.signature, jwt.signed)


def check_exchange(steps: Steps, token: Timed, verifier: Verifier, *, at: int) -> None:
    """By this verifier, in force, and made no longer ago than the policy allows."""
    steps.check("token.issuer", token.iss == verifier.issuer, f"is of {token.iss[:80]}", found=verifier.issuer)
    early, late = max(token.iat, token.nbf) - MAXIMUM_SKEW - at, at - token.exp
    shortfall = f"is from {early + MAXIMUM_SKEW} s in the future" if early > 0 else f"has been over for {late} s"
    steps.check("token.time", early <= 0 and late < 0, shortfall, found=f"for {-late} s more")
    check_age(steps, token.iat, verifier, at=at)


def check_age(steps: Steps, made: int, verifier: Verifier, *, at: int) -> None:
    """Made no longer ago than the policy allows, however long the verifier lets it live."""
    age, allowed = at - made, verifier.maximum_age_seconds
    steps.check("token.age", age <= allowed, f"is {age} s old; {allowed} at most", found=f"{age} s old")


def check_nonce(steps: Steps, found: bytes, wanted: bytes) -> None:
    """The binding, whole: challenge, role, settings, contract and keys of this node, and no other's."""
    bound = hmac.compare_digest(found, wanted)
    steps.check("token.nonce", bound, "carries the binding of something else", found=f"{len(wanted)} bytes bound")


def check_expressions(steps: Steps, verifier: Verifier, claims: Claims) -> None:
    """Whatever else the policy says of the token, in expressions."""
    wrong = unheld(verifier.expressions, claims)
    steps.check("token.expressions", not wrong, "; ".join(wrong), found=f"{len(verifier.expressions)} hold")


def _both(payload: bytes, read: Callable[[dict[str, Any]], Read]) -> tuple[Read, Claims]:
    members = parse_jwt_members(payload)
    return read(members), token_claims(members)


def _require_signer(leaf: x509.Certificate) -> None:
    usage = next((one.value for one in leaf.extensions if isinstance(one.value, x509.KeyUsage)), None)
    if usage is None or not usage.digital_signature:
        raise ChainRefused("the certificate may not sign tokens: its key usage does not say so")
