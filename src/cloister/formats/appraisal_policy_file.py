"""Appraisal policies as a person writes them: TOML (docs/formats/appraisal-policy.md).

A verifier's policy is one with reference values for roles beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from cloister.formats.appraisal_policy import AppraisalPolicy
from cloister.formats.record_file import format_record_file, no_comment, parse_record_file
from cloister.formats.verifier_policy import VerifierPolicy

__all__ = ["MAXIMUM_POLICY", "format_appraisal_policy", "no_comment", "parse_appraisal_policy", "parse_verifier_policy"]

MAXIMUM_POLICY: Final = 256 * 1024  # bytes


def parse_appraisal_policy(data: bytes) -> AppraisalPolicy:
    """Parse a policy file, at most 256 KiB of TOML.

    Raises:
        TooLarge: over the cap; nothing was parsed.
        MalformedInput: no appraisal policy; the sentence names the key, and the line where it or its table begins.
    """
    return parse_record_file(data, AppraisalPolicy, "an appraisal policy", limit=MAXIMUM_POLICY)


def parse_verifier_policy(data: bytes) -> VerifierPolicy:
    """Parse a verifier's policy file; raises as `parse_appraisal_policy`."""
    return parse_record_file(data, VerifierPolicy, "a verifier's policy", limit=MAXIMUM_POLICY)


def format_appraisal_policy(policy: AppraisalPolicy, *, comment: Callable[[Sequence[str]], str]) -> str:
    """The TOML of `policy`; `comment` gives the words above a key by its path, tables' numbers left out, or none."""
    return format_record_file(policy, comment=comment)
