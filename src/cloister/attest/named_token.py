"""Evidence by a verifier's word: the token that stands where a report would, of a verifier that the policy names.

A KMS judges raw evidence itself; here it believes somebody who did, since the contract says so and pins whose.
The specification is docs/formats/attestation-result.md, "In place of evidence".
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from cloister.attest.azure_token import examine_azure_token
from cloister.attest.claims import token_claims
from cloister.attest.confidential_space import examine_confidential_space_token
from cloister.attest.foreign_token import NamedTokenRefused, TokenTerms, check_age, check_expressions
from cloister.attest.hardware import Proven
from cloister.attest.result import TOKEN_STEPS, ExpectedResult, examine_attestation_result
from cloister.attest.seen import SEEN_NOTHING
from cloister.errors import MalformedInput, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.appraisal_policy import VerifierPlatform
from cloister.formats.attestation_result import NodeClaims
from cloister.formats.contract_verifier import AzureVerifier, ConfidentialSpaceVerifier, EarVerifier
from cloister.formats.jwk import thumbprint
from cloister.formats.named_token import NamedToken, parse_named_token

NAMED_TOKEN_STEPS: Final = ("token.verifier",)
EAR_TOKEN_STEPS: Final = ("token.verifier", *TOKEN_STEPS, "token.age", "token.node", "token.expressions")


def examine_named_token(report: bytes, platform: VerifierPlatform, terms: TokenTerms) -> Examination[Proven]:
    """Examine the `report` of evidence whose platform is `verifier`, in order; no I/O, no clock."""
    steps: Steps = Steps(NAMED_TOKEN_STEPS, NamedTokenRefused)
    # 1. Which verifier's it is said to be, and that the policy names that one.
    named = steps.attempt("token.verifier", lambda: parse_named_token(report), MalformedInput, TooLarge)
    if named is None:
        return steps.stopped()
    verifier = next((one for one in platform.verifiers if one.name == named.verifier), None)
    match verifier:
        case EarVerifier():
            return _examine_ear(named, verifier, terms)
        case AzureVerifier():
            return examine_azure_token(named.token, verifier, terms)
        case ConfidentialSpaceVerifier():
            return examine_confidential_space_token(named.token, verifier, terms)
    steps.check("token.verifier", False, f"{named.verifier} is no verifier that the policy names")
    return steps.stopped()


def _examine_ear(named: NamedToken, verifier: EarVerifier, terms: TokenTerms) -> Examination[Proven]:
    """A token of a verifier of Cloister's, as every relying party examines one; its nonce is the binding."""
    steps: Steps = Steps(EAR_TOKEN_STEPS, NamedTokenRefused)
    steps.check("token.verifier", True, "", found=f"{verifier.name} (ear)")
    # 2. to 17. The token by itself.
    wanted = terms.binding.report_data()
    expected = ExpectedResult(
        issuer=verifier.issuer,
        audience=verifier.audience,
        nonce=wanted,
        presenter=terms.keys.sign,
        subject=terms.binding.subject,
        policies=verifier.policies,
        unsafe=terms.unsafe,
    )
    keys = {thumbprint(key): key for key in verifier.keys}
    result = steps.include(examine_attestation_result(named.token, keys, expected, at=terms.at))
    if result is None:
        return steps.stopped()
    # 18. No older than the contract allows.
    check_age(steps, result.claims.iat, verifier, at=terms.at)
    # 19. The node chose the nonce: what it says there of itself is what the verifier found.
    node = result.claims.cloister
    shortfall = _differing(node, terms)
    steps.check("token.node", not shortfall, shortfall, found="role, settings and keys as the verifier found them")
    # 20. Whatever else the policy asks.
    claims = token_claims(msgspec.to_builtins(result.claims))
    check_expressions(steps, verifier, claims)
    tree = {"verifier": verifier.name, "token": claims}
    measurements = bytes.fromhex(node.platform_measurement), bytes.fromhex(node.workload)
    return steps.examined(lambda: Proven(*measurements, wanted, SEEN_NOTHING, tree))


def _differing(node: NodeClaims, terms: TokenTerms) -> str:
    """What the verifier found otherwise than the evidence says, in words; empty where nothing is."""
    binding = terms.binding
    wrong = {
        f"role {node.role}": node.role != binding.role,
        "other settings": node.settings != binding.settings.hex(),
        "other keys": node.keys != binding.keys.hex(),
        "another key to encrypt to": node.wrap != hashlib.sha256(terms.keys.wrap).hexdigest(),
    }
    differing = ", ".join(name for name, is_so in wrong.items() if is_so)
    return f"the verifier found {differing}" if differing else ""
