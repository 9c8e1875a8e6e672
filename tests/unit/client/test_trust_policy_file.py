import pytest

from cloister.client.trust_policy_file import NoTrustPolicy, read_trust_policy
from cloister.errors import UsageError
from cloister.formats.trust_policy import format_trust_policy
from cloister.testing.world import World

POLICY = World().policy()
TEXT = format_trust_policy(POLICY, comment="tests")


def test_what_was_written_is_read_back(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text(TEXT)
    assert read_trust_policy(path) == POLICY


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version =", "Invalid value"),
        (TEXT.replace("X-Wing", "X-Ring"), "kems"),
        (TEXT + "more = 1\n", "unknown field `more`"),
        ("#" * 70_000, "the cap is 65536"),
    ],
    ids=["not TOML", "an unknown KEM", "an unknown key", "too large"],
)
def test_a_damaged_one_is_refused_by_the_name_of_its_file_and_key(tmp_path, text, says):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=rf"policy\.toml is .*{says}.*docs/formats/trust-policy\.md"):
        read_trust_policy(path)


def test_one_that_is_not_there_or_cannot_be_read_is_named(tmp_path):
    with pytest.raises(NoTrustPolicy, match=r"there is no trust policy .*missing\.toml"):
        read_trust_policy(tmp_path / "missing.toml")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_trust_policy(tmp_path)
