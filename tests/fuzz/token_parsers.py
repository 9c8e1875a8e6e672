"""What verifiers sign, and what they are asked."""

from __future__ import annotations

import msgspec
from tests.fuzz.target import Targets

from cloister.attest.claims import token_claims
from cloister.attest.request import sign_attestation_request
from cloister.crypto.signing import SigningKey
from cloister.formats import canonical
from cloister.formats.appraisal_policy_file import (
    format_appraisal_policy,
    no_comment,
    parse_verifier_policy,
)
from cloister.formats.attestation_request import parse_attestation_demand, parse_attestation_request
from cloister.formats.attestation_result import encode_attestation_result, parse_attestation_result
from cloister.formats.azure_token import read_azure_token
from cloister.formats.confidential_space_token import read_confidential_space_token
from cloister.formats.cose_sign1 import CoseSign1
from cloister.formats.evidence import parse_evidence
from cloister.formats.jwk import parse_key_set
from cloister.formats.jws import parse_jws
from cloister.formats.jwt import parse_jwt, parse_jwt_members
from cloister.formats.named_token import NamedToken, parse_named_token
from cloister.formats.refusal import FailedCheck, Refusal, parse_refusal
from cloister.testing.made_tokens import MadeVerifier, attestation_result, verifier_policy
from cloister.testing.made_verifiers import (
    MadeAzure,
    MadeGoogle,
    confidential_space_claims,
    snp_guest_claims,
    trust_domain_claims,
)
from cloister.testing.world import NOON, World, appraisal


def token_targets() -> Targets:
    """What a verifier signs, and its keys."""
    verifier, result, world = MadeVerifier(), attestation_result(SigningKey.generate()), World()
    shown = parse_evidence(world.bundle().evidence)
    policy = format_appraisal_policy(verifier_policy(appraisal(SigningKey.generate()), "kms"), comment=no_comment)
    request = sign_attestation_request(world.kms.sign, shown, policy="p", audience="a", nonce=bytes(32))
    failed = (FailedCheck(check="release.role", shortfall="the contract names no clerk"),)
    refused = Refusal(
        subject=bytes(32),
        number=1,
        role="gateway",
        wanted="assets",
        failed=failed,
        evidence=bytes(32),
        node=bytes(32),
        at=NOON,
        omitted=7,
    )
    microsoft, google = MadeAzure(), MadeGoogle()
    told = [snp_guest_claims(bytes(64)), trust_domain_claims(bytes(64)), confidential_space_claims("00" * 32)]
    claims = [msgspec.json.encode(one) for one in told]
    tokens = [microsoft.token(told[0]), google.token(told[2], x5c=google.chain())]
    return {
        "attestation_result": (parse_attestation_result, [encode_attestation_result(result)]),
        "attestation_request": (parse_attestation_request, [canonical.encode(request)]),
        "attestation_demand": (parse_attestation_demand, [CoseSign1.parse(request.demand).payload or b""]),
        "jws": (parse_jws, [verifier.token(result)]),
        "jwk_set": (parse_key_set, [verifier.key_set]),
        "jwt": (parse_jwt, tokens),
        "azure_token": (lambda data: read_azure_token(parse_jwt_members(data)), claims[:2]),
        "confidential_space_token": (lambda data: read_confidential_space_token(parse_jwt_members(data)), claims[2:]),
        "token_claims": (lambda data: token_claims(parse_jwt_members(data)), claims),
        "refusal": (parse_refusal, [canonical.encode(refused)]),
        "named_token": (parse_named_token, [canonical.encode(NamedToken(verifier="azure", token=tokens[0]))]),
        "verifier_policy": (parse_verifier_policy, [policy.encode()]),
    }
