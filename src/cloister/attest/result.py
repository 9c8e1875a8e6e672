"""Examines an attestation result: the token that a verifier gave of a node, as a relying party holds it. No I/O.

The specification is docs/formats/attestation-result.md; the steps' ids are rows of docs/formats/checks.md. What a
relying party wants to take as it comes it says in a word, `any`: nothing is passed over because it was not mentioned.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from cloister.attest.trustworthiness import GPU, explained
from cloister.crypto.jws import ES384, check_jws
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.attestation_result import (
    CPU,
    MAXIMUM_LIFETIME,
    PROFILE,
    TOKEN_TYPE,
    AttestationResult,
    parse_attestation_result,
)
from cloister.formats.evidence import Unsafe
from cloister.formats.jws import Jws, parse_jws

TOKEN_STEPS: Final = (
    "token.form",
    "token.algorithm",
    "token.type",
    "token.signature",
    "token.claims",
    "token.profile",
    "token.issuer",
    "token.audience",
    "token.nonce",
    "token.time",
    "token.lifetime",
    "token.confirmation",
    "token.subject",
    "token.policy",
    "token.unsafe",
    "token.status",
)
MAXIMUM_SKEW: Final = 60  # seconds that a verifier's clock may be ahead of the relying party's


class TokenRefused(Refused):
    """An attestation result does not say what the relying party needs, or is not one."""


@dataclass(frozen=True, slots=True)
class ExpectedResult:
    """What a relying party expects of a token; `any` takes whatever it says."""

    issuer: str  # whose keys they are
    audience: str  # the relying party's own name
    nonce: bytes  # its challenge, 8 to 64 bytes
    presenter: bytes | Literal["any"]  # Ed25519, 32 bytes: the key that the token's bearer proved possession of
    subject: bytes | Literal["any"]  # digest of the contract, or of a KMS's constitution, 32 bytes
    policies: tuple[str, ...] | Literal["any"]  # ids of the policies whose appraisal counts; an empty list: none
    unsafe: tuple[Unsafe, ...]  # exceptions accepted by name


@dataclass(frozen=True, slots=True)
class VerifiedResult:
    """A verifier's word on a node, as the relying party asked for it. Built only here."""

    claims: AttestationResult


def examine_attestation_result(
    token: bytes, keys: Mapping[str, bytes], expected: ExpectedResult, *, at: int
) -> Examination[VerifiedResult]:
    """Examine `token` in order.

    Args:
        token: as it was handed over.
        keys: the verifier's ES384 keys by `kid`, x and y of 48 bytes, from where the relying party trusts them.
        expected: what it should say.
        at: seconds since 1970.
    """
    steps = Steps(TOKEN_STEPS, TokenRefused)
    # 1. A compact JWS whose header holds `alg`, `typ`, `kid`: no extension, and no key that it brought along.
    jws = steps.attempt("token.form", lambda: parse_jws(token), MalformedInput, TooLarge, found="compact JWS")
    if jws is None or not _check_signed(steps, jws, keys):
        return steps.stopped()
    # 5. Only now is what it says read: every claim there, once, and none that is not ours.
    claims = steps.attempt(
        "token.claims", lambda: parse_attestation_result(jws.payload), MalformedInput, TooLarge, found="well-formed"
    )
    if claims is None:
        return steps.stopped()
    _check_exchange(steps, claims, expected, at)
    _check_node(steps, claims, expected)
    return steps.examined(lambda: VerifiedResult(claims))


def _check_signed(steps: Steps, jws: Jws, keys: Mapping[str, bytes]) -> bool:
    """Steps 2 to 4."""
    # 2. The reader chooses the algorithm, never the token: `none`, or a public key used as an HMAC's secret.
    algorithm = steps.check("token.algorithm", jws.header.alg == ES384, "is not signed with ES384", found=ES384)
    # 3. Signed as what it is taken for (RFC 8725 section 3.11).
    typed = steps.check("token.type", jws.header.typ == TOKEN_TYPE, f"typ is not {TOKEN_TYPE}", found=TOKEN_TYPE)
    if not algorithm or not typed:
        return False
    # 4. By a key of the verifier's that the relying party had already.
    steps.attempt("token.signature", lambda: check_jws(jws, keys), BadSignature, found=f"key {jws.header.kid[:16]}…")
    return steps.clean


def _check_exchange(steps: Steps, claims: AttestationResult, expected: ExpectedResult, at: int) -> None:
    """Steps 6 to 11: made by this verifier, for this relying party, just now."""
    # 6. EAR, in the draft that is understood here.
    steps.check("token.profile", claims.eat_profile == PROFILE, f"is not {PROFILE}", found=PROFILE)
    # 7. A key set may be served under many names; the token says which of them it speaks for.
    steps.check("token.issuer", claims.iss == expected.issuer, f"is of {claims.iss}", found=claims.iss)
    # 8. A token for another relying party, handed on, would be its replay here.
    steps.check("token.audience", claims.aud == expected.audience, f"is for {claims.aud}", found=claims.aud)
    # 9. Answers this relying party's challenge.
    answered = hmac.compare_digest(claims.nonce, expected.nonce)
    steps.check("token.nonce", answered, "answers another challenge", found="answers this challenge")
    # 10. In force: not from the future, not over.
    early, late = claims.iat - MAXIMUM_SKEW - at, at - claims.exp
    shortfall = f"is from {early + MAXIMUM_SKEW} s in the future" if early > 0 else f"has been over for {late} s"
    steps.check("token.time", early <= 0 and late < 0, shortfall, found=f"for {-late} s more")
    # 11. Short-lived: what was true then is said anew, not revoked.
    life = claims.exp - claims.iat
    short = 0 < life <= MAXIMUM_LIFETIME
    steps.check("token.lifetime", short, f"lives {life} s; {MAXIMUM_LIFETIME} at most", found=f"{life} s")


def _check_node(steps: Steps, claims: AttestationResult, expected: ExpectedResult) -> None:
    """Steps 12 to 16: of this node, for this purpose, appraised by a policy that counts."""
    node = claims.cloister
    # 12. Of whoever presents it: a token alone proves nothing about its bearer.
    holder = expected.presenter == "any" or hmac.compare_digest(claims.key, expected.presenter)
    shown = f"key {claims.key.hex()[:16]}…"
    steps.check("token.confirmation", holder, f"is of {shown}, not of the one that presents it", found=shown)
    # 13. A verifier knows no contracts: which one the node serves is the relying party's to hold.
    subject = expected.subject == "any" or node.subject == expected.subject.hex()
    steps.check("token.subject", subject, f"is bound to {node.subject[:16]}…", found=f"bound to {node.subject[:16]}…")
    # 14. Appraised, in every part, by a policy that the relying party knows.
    named = {policy for part in claims.submods.values() for policy in part.ear_appraisal_policy_ids}
    known = expected.policies == "any" or named <= set(expected.policies)
    listed = ", ".join(sorted(named))
    steps.check("token.policy", known, f"was appraised under {listed}", found=listed)
    # 15. No exception but those accepted by name.
    flags = ", ".join(node.flags) or "no exceptions"
    steps.check("token.unsafe", set(node.flags) <= set(expected.unsafe), f"claims {flags}", found=flags)
    # 16. Affirming in every part, but for what the accepted exceptions explain.
    bad = _not_affirmed(claims, set(node.flags) & set(expected.unsafe))
    statuses = ", ".join(f"{label} {part.ear_status}" for label, part in sorted(claims.submods.items()))
    steps.check("token.status", not bad, "; ".join(bad), found=statuses)


def _not_affirmed(claims: AttestationResult, accepted: set[str]) -> list[str]:
    """What speaks against the parts, in words: claims that warn or worse, or nothing that is affirmed at all."""
    bad = []
    for label, part in sorted(claims.submods.items()):
        vector = part.ear_trustworthiness_vector
        excused = explained(claims.cloister.platform if label == CPU else GPU, accepted)
        tiers = {name: tier for name, tier in vector.tiers().items() if (name, getattr(vector, name)) not in excused}
        bad += [f"{label}: {name} is {tier}" for name, tier in tiers.items() if tier not in ("affirming", "none")]
        if "affirming" not in tiers.values():
            bad.append(f"{label}: nothing is affirmed")
    return bad
