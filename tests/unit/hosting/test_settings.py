from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from cloister.hosting.settings import BadSettings, load


class Endpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    path: str


@dataclass(frozen=True)
class KmsSettings:
    port: int
    state: Path
    challenge_seconds: int = 60
    witness_names: tuple[str, ...] = ()
    endpoints: tuple[Endpoint, ...] = field(default=())


def settings(tmp_path, text='port = 1\nstate = "/s"', environ=None, flags=None):
    config = tmp_path / "kms.toml"
    config.write_text(text)
    return load(KmsSettings, service="kms", config=config, environ=environ or {}, flags=flags or {})


def test_flags_win_over_the_environment_and_the_environment_over_the_file(tmp_path):
    environ = {"CLOISTER_KMS__PORT": "2", "CLOISTER_KMS__CHALLENGE_SECONDS": "7"}
    read = settings(tmp_path, environ=environ, flags={"port": 3, "state": None})
    assert read == KmsSettings(port=3, state=Path("/s"), challenge_seconds=7)


def test_lists_and_tables_in_the_environment_are_written_as_in_toml(tmp_path):
    environ = {"CLOISTER_KMS__WITNESS_NAMES": '["a", "b"]', "CLOISTER_KMS__ENDPOINTS": '[{path = "/v1"}]'}
    read = settings(tmp_path, environ=environ)
    assert read.witness_names == ("a", "b")
    assert read.endpoints == (Endpoint(path="/v1"),)


def test_variables_of_others_are_not_ours(tmp_path):
    settings(tmp_path, environ={"CLOISTER_RELAY__PORT": "x", "PATH": "/bin", "CLOISTER_KMSX__PORT": "3"})


@pytest.mark.parametrize(
    ("sentence", "given"),
    [
        ("unknown setting chalenge_seconds in .*kms.toml; .* challenge_seconds", {"text": "chalenge_seconds = 1"}),
        ("unknown setting CLOISTER_KMS__PROT .*CLOISTER_KMS__PORT", {"environ": {"CLOISTER_KMS__PROT": "1"}}),
        ("unknown setting CLOISTER_KMS__port", {"environ": {"CLOISTER_KMS__port": "1"}}),
        ("unknown setting prt in the flags of kms", {"flags": {"prt": 1}}),
        ("missing settings: port, state; .*CLOISTER_KMS__PORT", {"text": ""}),
        ("port in .*kms.toml: Expected `int`", {"text": 'port = "1"'}),
        ("CLOISTER_KMS__PORT: Expected `int`", {"environ": {"CLOISTER_KMS__PORT": "one"}}),
        ("not one TOML value", {"environ": {"CLOISTER_KMS__WITNESS_NAMES": "[]\nport = 9"}}),
        ("not a TOML value", {"environ": {"CLOISTER_KMS__WITNESS_NAMES": "a, b"}}),
        ("unknown field `root`", {"text": 'endpoints = [{root = "/"}]'}),
        ("cannot be read", {"text": "port ="}),
        ("state in .*: expected Path, got int", {"text": "state = 3"}),
    ],
)
def test_whatever_is_unknown_missing_or_of_another_type_stops_the_start_up(tmp_path, sentence, given):
    with pytest.raises(BadSettings, match=sentence):
        settings(tmp_path, **given)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadSettings, match=r"absent\.toml cannot be read"):
        load(KmsSettings, service="kms", config=tmp_path / "absent.toml", environ={}, flags={})
