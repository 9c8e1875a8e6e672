"""What the part of a policy for verifiers whose word counts says."""

from __future__ import annotations

from cloister.cli.explained.policy_words import Words
from cloister.formats.appraisal_policy import VerifierPlatform
from cloister.formats.contract_verifier import AzureVerifier, ConfidentialSpaceVerifier, EarVerifier, Verifier


def explain_verifiers(platform: VerifierPlatform, words: Words) -> None:
    """Every field of every verifier, as `verifiers.…`."""
    words.take("always", "The token carries the node's binding, whole, so that no older one is shown again.")
    words.named("verifiers", platform.verifiers, "verifier", "believed")
    for one in platform.verifiers:
        _one(one, words)


def _one(verifier: Verifier, words: Words) -> None:
    key = f"verifiers.{verifier.name}"
    match verifier:
        case EarVerifier():
            who = f"the verifier {verifier.issuer}"
            words.named(f"{key}.keys", verifier.keys, "key", "its own")
            words.take(f"{key}.audience", f"Its tokens are for {verifier.audience}.")
            words.named(f"{key}.policies", verifier.policies, "policy of its own", "enough")
        case AzureVerifier():
            who = f"Microsoft Azure Attestation at {verifier.issuer}"
            words.named(f"{key}.keys", verifier.keys, "key", "its own")
            words.named(f"{key}.images", verifier.images, "launch measurement", "tied to the workload that it boots")
            words.named(f"{key}.domains", verifier.domains, "trust domain", "taken, by all that was measured of it")
        case ConfidentialSpaceVerifier():
            who = "Google, for Confidential Space on TDX"
            words.named(f"{key}.keys", verifier.keys, "key", "its own")
            words.named(f"{key}.roots", verifier.roots, "root", "its own")
            words.take(f"{key}.audience", f"Its tokens are for {verifier.audience}.")
            words.named(f"{key}.images", verifier.images, "container image", "tied to the workload in it")
            words.take(f"{key}.minimum_version", f"The system's image is {verifier.minimum_version} or newer.")
    words.relax(key, f"What {who} says counts: nobody here sees the evidence that it saw.")
    words.take(f"{key}.maximum_age_seconds", f"A token is {verifier.maximum_age_seconds} s old at most.")
    words.asked(f"{key}.expressions", verifier.expressions)
