"""Attestation results of a verifier in memory: for the tests of whoever relies on one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from cloister.attest.trustworthiness import passed_vector
from cloister.crypto.es384 import Es384Key
from cloister.crypto.jws import sign_jws
from cloister.crypto.signing import SigningKey
from cloister.formats.appraisal_policy import AppraisalPolicy
from cloister.formats.attestation_result import (
    CPU,
    PROFILE,
    TOKEN_TYPE,
    UNSAFE_FLAGS,
    AttestationResult,
    NodeClaims,
    Submodule,
    VerifierId,
    confirmation,
    encode_attestation_result,
)
from cloister.formats.evidence import Role, Unsafe
from cloister.formats.jwk import encode_key_set, thumbprint
from cloister.formats.jws import encode_base64url
from cloister.formats.trustworthiness import TrustworthinessVector
from cloister.formats.verifier_policy import VerifierPolicy
from cloister.testing.world import NOON, PLATFORM, WORKLOAD, reference

ISSUER = "https://verifier.test"
AUDIENCE = "https://relying-party.test"
NONCE = hashlib.sha256(b"nonce of these tests").digest()
SUBJECT = hashlib.sha256(b"contract of these tests").digest()
POLICY = f"ni:///sha-256;{encode_base64url(hashlib.sha256(b'policy of these tests').digest()).decode()}"

AFFIRMING = passed_vector("snp", ())


@dataclass(frozen=True)
class MadeVerifier:
    """A verifier's key, and tokens signed with it."""

    key: Es384Key = field(default_factory=Es384Key.generate)

    @property
    def keys(self) -> Mapping[str, bytes]:
        """Its key by `kid`, as a relying party holds it."""
        return {thumbprint(self.key.public): self.key.public}

    @property
    def key_set(self) -> bytes:
        """The same as a JWK Set."""
        return encode_key_set([self.key.public])

    def token(self, result: AttestationResult, *, typ: str = TOKEN_TYPE) -> bytes:
        """`result`, signed."""
        return sign_jws(self.key, encode_attestation_result(result), typ=typ)


def verifier_policy(appraisal: AppraisalPolicy, *roles: Role) -> VerifierPolicy:
    """`appraisal` with the reference values of these tests for `roles`."""
    return VerifierPolicy(**msgspec.structs.asdict(appraisal), roles=tuple(map(reference, roles)))


def part(vector: TrustworthinessVector = AFFIRMING, policy: str = POLICY) -> Submodule:
    """A submodule whose status is that of its vector."""
    return Submodule(ear_status=vector.status(), ear_trustworthiness_vector=vector, ear_appraisal_policy_ids=(policy,))


def flags(*claimed: str) -> dict[Unsafe, bool]:
    """Every flag there is, said by itself: those `claimed` are true."""
    return {name: name in claimed for name in sorted(UNSAFE_FLAGS)}


def node_claims(**changes: object) -> NodeClaims:
    """What is said of a gateway on hardware."""
    claims = NodeClaims(
        platform="snp",
        platform_measurement=PLATFORM.hex(),
        workload=WORKLOAD.hex(),
        role="gateway",
        subject=SUBJECT.hex(),
        settings=hashlib.sha256(b"settings").hexdigest(),
        keys=hashlib.sha256(b"keys").hexdigest(),
        wrap=hashlib.sha256(b"wrap").hexdigest(),
        unsafe=flags(),
    )
    return msgspec.structs.replace(claims, **changes)


def attestation_result(node: SigningKey, *, at: int = NOON, **changes: object) -> AttestationResult:
    """An affirming result on the node whose key is `node`, made at `at`."""
    result = AttestationResult(
        eat_profile=PROFILE,
        iss=ISSUER,
        aud=AUDIENCE,
        iat=at,
        exp=at + 300,
        eat_nonce=encode_base64url(NONCE).decode(),
        cnf=confirmation(node.public),
        ear_status="affirming",
        ear_verifier_id=VerifierId(developer="The Cloister maintainers", build="cloister tests"),
        submods={CPU: part(), "gpu0": part()},
        cloister=node_claims(),
    )
    return msgspec.structs.replace(result, **changes)
