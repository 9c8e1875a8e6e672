"""A verifier's policy: an appraisal policy with its roles, as a file and by its id."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.test_appraisal_policy_file import POLICY

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.appraisal_policy_file import (
    format_appraisal_policy,
    no_comment,
    parse_appraisal_policy,
    parse_verifier_policy,
)
from cloister.testing.made_tokens import verifier_policy
from cloister.testing.world import reference

VERIFIERS = verifier_policy(POLICY, "gateway", "kms")
TEXT = format_appraisal_policy(VERIFIERS, comment=no_comment)


def test_it_is_written_and_read_again():
    assert parse_verifier_policy(TEXT.encode()) == VERIFIERS


def test_it_is_an_appraisal_policys_file_with_roles_behind_it():
    appraisal, _, roles = TEXT.partition("[[roles]]")
    assert parse_appraisal_policy(appraisal.encode()) == POLICY
    assert f'role = "gateway"\nworkloads = [\n    "{reference("gateway").workloads[0].hex()}",\n]\n' in roles
    assert TEXT.endswith(f'settings = ["{reference("kms").settings[0].hex()}"]\n')


def test_its_id_is_its_digest_and_changes_with_any_of_it():
    fewer = msgspec.structs.replace(VERIFIERS, roles=VERIFIERS.roles[:1])
    other = msgspec.structs.replace(VERIFIERS, platforms=())
    assert VERIFIERS.id.startswith("ni:///sha-256;")
    assert len({VERIFIERS.id, fewer.id, other.id}) == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TEXT.partition("[[roles]]")[0], "missing: roles"),
        (TEXT.replace('role = "kms"', 'role = "gateway"'), "one set of reference values"),
        (TEXT.replace('role = "kms"', 'role = "clerk"'), r"roles\[1\]\.role: 'clerk' is none of"),
        (TEXT.replace("UnsafeAllowOtherRoots", "UnsafeAllowSoftwareTee"), "need UnsafeAllowOtherRoots"),
    ],
    ids=["no roles", "a role twice", "an unknown role", "roots that are not named"],
)
def test_what_is_wrong_is_named(text, says):
    with pytest.raises(MalformedInput, match=f"not a verifier's policy: .*{says}"):
        parse_verifier_policy(text.encode())


@given(st.integers(0, len(TEXT) - 1), st.binary(min_size=1, max_size=3))
def test_a_file_with_other_bytes_in_it_is_a_policy_or_malformed(at, put):
    data = TEXT.encode()
    try:
        parse_verifier_policy(data[:at] + put + data[at + len(put) :])
    except (MalformedInput, TooLarge):
        return
