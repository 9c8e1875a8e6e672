from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cloister.hosting.settings import BadSettings, load, read
from cloister.hosting.toml_lines import line_of

UNHURRIED = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines may be busy


class Endpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    path: str


class Security(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    head_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 300


Hardware = Literal["tdx", "auto"]
Platform = Literal["software"] | Hardware


@dataclass(frozen=True)
class Vendors:
    url: str = "https://vendor.test"


@dataclass(frozen=True)
class Endorsements:
    folder: Path
    fetch: bool = True
    vendors: Vendors = field(default_factory=Vendors)


class Span(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    first: int = 0
    last: int = 9

    def __post_init__(self):
        if self.last < self.first:
            raise ValueError("last is before first")


@dataclass(frozen=True)
class KmsSettings:
    port: int
    state: Path
    challenge_seconds: int = 60
    engine: Literal["speech", "echo"] = "speech"
    witness_names: tuple[str, ...] = ()
    endpoints: tuple[Endpoint, ...] = field(default=())
    security: Security = field(default_factory=Security)
    endorsements: Endorsements | None = None
    platform: Platform = "software"
    policies: dict[Annotated[str, msgspec.Meta(pattern="^[a-z]+$")], Path] = field(default_factory=dict)
    windows: Span = field(default_factory=Span)


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


GIVE_EACH = "give each in the file, as a flag, or as CLOISTER_KMS__PORT"
FETSH = "unknown setting endorsements.fetsh; the nearest that exists is endorsements.fetch"
INNER = "endorsements.vendors"
GOOD = 'port = 1\nstate = "/s"\n'


@pytest.mark.parametrize(
    ("sentence", "given"),
    [
        (
            "kms.toml, line 3: unknown setting chalenge_seconds; the nearest that exists is challenge_seconds",
            {"text": GOOD + "chalenge_seconds = 1"},
        ),
        (
            "the environment: unknown setting CLOISTER_KMS__PROT; the nearest that exists is CLOISTER_KMS__PORT",
            {"environ": {"CLOISTER_KMS__PROT": "1"}},
        ),
        (
            "the environment: unknown setting CLOISTER_KMS__port; the nearest that exists is CLOISTER_KMS__PORT",
            {"environ": {"CLOISTER_KMS__port": "1"}},
        ),
        ("--prt: unknown setting prt; the nearest that exists is port", {"flags": {"prt": 1}}),
        (
            f"missing settings: port (a whole number), state (a path); {GIVE_EACH}",
            {"text": ""},
        ),
        ("kms.toml, line 2: port must be a whole number, not a string", {"text": 'state = "/s"\nport = "1"'}),
        ("CLOISTER_KMS__PORT: port must be a whole number, not a string", {"environ": {"CLOISTER_KMS__PORT": "one"}}),
        (
            "CLOISTER_KMS__WITNESS_NAMES: it is not one TOML value",
            {"environ": {"CLOISTER_KMS__WITNESS_NAMES": "[]\np=9"}},
        ),
        (
            "kms.toml, line 4: security.head_seconds must be a whole number from 1 to 86400, not 0",
            {"text": GOOD + "[security]\nhead_seconds = 0"},
        ),
        (
            "kms.toml, line 3: unknown setting security.head; the nearest that exists is security.head_seconds",
            {"text": GOOD + "security.head = 0"},
        ),
        ('kms.toml, line 3: engine must be one of echo, speech, not "whisper"', {"text": GOOD + 'engine = "whisper"'}),
        (
            "kms.toml, line 3: unknown setting endpoints.1.root; the nearest that exists is endpoints.1.path",
            {"text": GOOD + 'endpoints = [{path = "/", root = "/"}]'},
        ),
        ("kms.toml, line 3: endpoints.1 lacks path, a string", {"text": GOOD + "endpoints = [{}]"}),
        ("kms.toml, line 3: witness_names.2 must be a string, not 3", {"text": GOOD + 'witness_names = ["a", 3]'}),
        ("kms.toml, line 1: state must be a path, not 3", {"text": "state = 3\nport = 1"}),
        (
            f"kms.toml, line 5: {FETSH}",
            {"text": GOOD + '[endorsements]\nfolder = "e"\nfetsh = false'},
        ),
        (
            f"kms.toml, line 3: {FETSH}",
            {"text": GOOD + 'endorsements = {folder = "e", fetsh = false}'},
        ),
        (
            f"CLOISTER_KMS__ENDORSEMENTS: {FETSH}",
            {"environ": {"CLOISTER_KMS__ENDORSEMENTS": '{folder = "e", fetsh = false}'}},
        ),
        (
            f"kms.toml, line 6: unknown setting {INNER}.uri; the nearest that exists is {INNER}.url",
            {"text": GOOD + '[endorsements]\nfolder = "e"\n[endorsements.vendors]\nuri = ""'},
        ),
        ("kms.toml, line 3: endorsements lacks folder, a path", {"text": GOOD + "[endorsements]\nfetch = true"}),
        (
            "kms.toml, line 3: endorsements must be a table of folder, fetch, vendors, not true",
            {"text": GOOD + "endorsements = true"},
        ),
        (
            "kms.toml, line 5: endorsements.fetch must be true or false, not a string",
            {"text": GOOD + '[endorsements]\nfolder = "e"\nfetch = "no"'},
        ),
        (
            "kms.toml, line 5: endorsements.vendors must be a table of url, not 3",
            {"text": GOOD + '[endorsements]\nfolder = "e"\nvendors = 3'},
        ),
        (
            'kms.toml, line 3: platform must be one of software, auto, tdx, not "sgx"',
            {"text": GOOD + 'platform = "sgx"'},
        ),
        (
            "kms.toml, line 4: policies.gateways must be a path, not 3",
            {"text": GOOD + "[policies]\ngateways = 3"},
        ),
        (
            "kms.toml, line 4: policies.GATE has a name that must be a string that matches ^[a-z]+$",
            {"text": GOOD + '[policies]\nGATE = "p"'},
        ),
        (
            "kms.toml, line 3: policies must be a table of names, each a path, not 3",
            {"text": GOOD + "policies = 3"},
        ),
        ("kms.toml, line 3: windows: last is before first", {"text": GOOD + "[windows]\nlast = -1"}),
        (
            "kms.toml, line 6: unknown setting endpoints.2.root; the nearest that exists is endpoints.2.path",
            {"text": GOOD + '[[endpoints]]\npath = "/"\n[[endpoints]]\nroot = "/"\npath = "/"'},
        ),
    ],
)
def test_whatever_is_unknown_missing_or_of_another_type_stops_the_start_up(tmp_path, sentence, given):
    with pytest.raises(BadSettings) as raised:
        settings(tmp_path, **given)
    assert str(raised.value).replace(f"{tmp_path}/", "") == sentence


def test_a_text_in_a_wrong_place_is_not_repeated_for_it_may_be_a_secret(tmp_path):
    with pytest.raises(BadSettings) as raised:
        settings(tmp_path, 'port = "hunter2"\nstate = "/s"')
    assert "hunter2" not in str(raised.value)


def test_all_faults_are_told_at_once_and_none_twice(tmp_path):
    with pytest.raises(BadSettings) as raised:
        settings(tmp_path, 'port = "one"\nprot = 1\n[security]\nhead_seconds = 0\nheads = 1\n')
    assert str(raised.value).replace(f"{tmp_path}/", "").splitlines() == [
        "5 things are wrong in the settings:",
        "  kms.toml, line 1: port must be a whole number, not a string",
        "  kms.toml, line 2: unknown setting prot; the nearest that exists is port",
        "  kms.toml, line 4: security.head_seconds must be a whole number from 1 to 86400, not 0",
        "  kms.toml, line 5: unknown setting security.heads; the nearest that exists is security.head_seconds",
        "  missing settings: state (a path); give each in the file, as a flag, or as CLOISTER_KMS__STATE",
    ]


@pytest.mark.parametrize(("text", "says"), [("port =", "is not TOML: Invalid value"), ("\ud800", "is not TOML")])
def test_a_file_that_is_not_toml_is_named(tmp_path, text, says):
    config = tmp_path / "kms.toml"
    config.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(BadSettings, match=f"kms.toml {says}"):
        load(KmsSettings, service="kms", config=config, environ={}, flags={})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadSettings, match=r"absent\.toml cannot be read: No such file"):
        load(KmsSettings, service="kms", config=tmp_path / "absent.toml", environ={}, flags={})


def test_each_setting_says_where_it_was_given(tmp_path):
    config = tmp_path / "kms.toml"
    config.write_text(GOOD)
    reading = read(
        KmsSettings, service="kms", config=config, environ={"CLOISTER_KMS__PORT": "2"}, flags={"engine": "echo"}
    )
    assert {name: given.place for name, given in reading.given.items()} == {
        "port": "CLOISTER_KMS__PORT",
        "state": f"{config}, line 2",
        "engine": "--engine",
    }


KEYS = st.text("abc_", min_size=1, max_size=4)


@UNHURRIED
@given(st.dictionaries(KEYS, st.one_of(st.integers(), st.dictionaries(KEYS, st.integers(), min_size=1)), min_size=1))
def test_the_line_of_every_plain_key_is_found(table):
    plain = [name for name, value in table.items() if isinstance(value, int)]
    lines = [f"{name} = 1" for name in plain]
    wanted: dict[tuple[str, ...], int] = {(name,): number for number, name in enumerate(plain, 1)}
    for name, inner in ((name, value) for name, value in table.items() if not isinstance(value, int)):
        lines.append(f"[{name}]  # a table")
        wanted[name,] = len(lines)
        for key in inner:
            lines.append(f"{key} = 1")
            wanted[name, key] = len(lines)
    assert {path: line_of("\n".join(lines), path) for path in wanted} == wanted


@UNHURRIED
@given(st.text(), st.lists(KEYS, max_size=3))
def test_any_text_has_a_line_for_a_key_or_none(text, path):
    line = line_of(text, path)
    assert line is None or 1 <= line <= len(text.splitlines())
