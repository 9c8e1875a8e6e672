"""What a person is told when a local system was started: that it is ready, or what it waits for; never both."""

import pytest

from cloister.cli.local.supervisor import Role
from cloister.cli.state_folder import StateFolder
from cloister.cli.up import tell_ready, waits

REVOKED = "a key: the assets of its parties: asset.deposit: the key of llama was revoked or retired (of model owner)"


def role(tmp_path, name, missing):
    return Role(name, (), 0, tmp_path / "log", tmp_path / "ready", None, ready=not missing, missing=missing)


@pytest.fixture
def told(tmp_path, capsys):
    def tell(roles, **how):
        tell_ready(
            StateFolder(tmp_path), "http://127.0.0.1:1/v1", 3.2, engine="transformers", waiting=waits(roles), **how
        )
        return capsys.readouterr().out

    return tell


@pytest.mark.parametrize("detached", [False, True])
def test_a_system_whose_models_key_was_revoked_is_not_said_to_be_ready(tmp_path, told, detached):
    roles = [role(tmp_path, "kms", ""), role(tmp_path, "gateway", REVOKED), role(tmp_path, "relay", "a gateway")]
    said = told(roles, detached=detached)
    assert f"started in 3.2 s, and serves nothing yet: gateway waits for {REVOKED}" in said
    assert "cloister secret put" in said
    assert "ready in" not in said


@pytest.mark.parametrize(
    "unusable",
    [
        "the assets of its parties: artifact.key: this key is another artifact's, or the artifact says so",
        "the assets of its parties: the engine did not become ready: its model fails case 2 of selftest.json",
    ],
)
def test_what_cannot_be_used_is_not_said_to_wait_for_anybody(tmp_path, told, unusable):
    said = told([role(tmp_path, "gateway", unusable)])
    assert "What was given cannot be used" in said
    assert "as soon as" not in said


def test_a_system_that_serves_is(tmp_path, told):
    said = told([role(tmp_path, "kms", ""), role(tmp_path, "gateway", "")])
    assert "ready in 3.2 s: http://127.0.0.1:1/v1" in said
    assert "serves nothing" not in said
