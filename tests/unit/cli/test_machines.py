"""The folders of roles on machines of their own: what is in each, and that a service takes its settings."""

import tomllib
from pathlib import Path

import pytest

from cloister.cli.local import roles
from cloister.cli.local.keys import make_token, open_keys
from cloister.cli.local.machines import CALLERS, Deployment, read_machines
from cloister.cli.local.terms import Found, first_terms, line_of, sign_genesis, trust_policy
from cloister.cli.machines import read_measurement
from cloister.cli.service import settings_record
from cloister.cli.state_folder import StateFolder
from cloister.errors import UsageError
from cloister.formats.ledger_messages import encode_list
from cloister.formats.trust_policy import format_trust_policy
from cloister.hosting.settings import load
from cloister.services.gateway.security import GatewaySecurity, Runs
from cloister.services.kms.security import KmsSecurity
from cloister.testing.world import NOON

PLACES = "".join(
    f'{role} = {{ url = "https://{role}.example:71{number:02}", address = "192.0.2.{number}" }}\n'
    for number, role in enumerate(roles.ROLES)
)


TWO_INSTANCES = PLACES.replace(
    'kms = { url = "https://kms.example:7102", address = "192.0.2.2" }',
    'kms = [{ url = "https://a.example:1", address = "192.0.2.8" }, { url = "https://b.example:2" }]',
)


@pytest.fixture
def deployed(tmp_path):
    """A folder with a folder for each role, and the state folder that signed."""
    return deploy(tmp_path, PLACES)


def deploy(tmp_path, places):
    state = StateFolder(tmp_path / "signing")
    state.prepare()
    keys = open_keys(state)
    make_token(state, anew=True)
    runs = Runs(bytes(32), bytes(32), bytes(32), "files")
    found = Found(bytes(48), bytes(48), "speech", runs, KmsSecurity(), GatewaySecurity())
    terms = first_terms(keys, found, sign_genesis(keys, found), at=NOON)
    state.constitutions.write_bytes(encode_list(terms.constitutions))
    state.contracts.write_bytes(encode_list(terms.contracts))
    state.trust_policy.write_text(format_trust_policy(trust_policy(terms), comment="test"))
    served = roles.ServedLine(line_of(terms), state.contracts)
    tables = roles.settings(state, keys, served, found, dict.fromkeys((*roles.ROLES, roles.RELAY_ADMIN), 1))
    (tmp_path / "machines.toml").write_text(places)
    Deployment(read_machines(tmp_path / "machines.toml"), state, tables, state.contracts).write(tmp_path / "deploy")
    return tmp_path / "deploy", state


def settings(deployed, role, *, folder=None):
    config = deployed / (folder or role) / f"{role}.toml"
    return load(settings_record(role), service=role, config=config, environ={}, flags={})


def test_each_folder_has_what_its_role_reads_and_no_key_of_another(deployed):
    folder, state = deployed
    has = {role: {path.name for path in (folder / role).iterdir()} - {f"{role}.toml"} for role in roles.ROLES}
    assert has == {
        "witness": {"witness.seed", "witness-ml-dsa.seed"},
        "ledger": {"log.seed"},
        "kms": {"platform.seed", "constitution.entries", "contract.entries"},
        "gateway": {"platform.seed", "contract.entries"},
        "relay": set(),
        "proxy": {"trust-policy.toml"},
    }
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for party in ("model-owner", "operator"):
        assert (state.keys / f"{party}.seed").read_bytes() not in everything
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*"))


@pytest.mark.parametrize("role", roles.ROLES)
def test_a_service_takes_its_settings_and_finds_its_files_in_its_own_folder(deployed, role):
    folder, _ = deployed
    found = settings(folder, role)
    assert found.address == f"192.0.2.{roles.ROLES.index(role)}"
    named = tomllib.loads((folder / role / f"{role}.toml").read_text())
    paths = [value for value in named.values() if isinstance(value, str) and value.startswith("/")]
    assert all(path.startswith((f"/etc/cloister/{role}/", f"/var/lib/cloister-{role}", "/run/")) for path in paths)


@pytest.mark.parametrize("role", roles.ROLES)
def test_services_ask_callers_who_they_are_and_relay_and_proxy_ask_nobody(deployed, role):
    folder, _ = deployed
    assert settings(folder, role).tls.clients == CALLERS.get(role, ())


def test_only_the_kms_writes_to_the_ledger(deployed):
    folder, _ = deployed
    assert settings(folder, "ledger").writers == ("kms",)


def test_every_role_calls_the_others_where_they_are_and_shows_its_certificate(deployed):
    folder, _ = deployed
    assert settings(folder, "ledger").witnesses[0].url == "https://witness.example:7100"
    assert settings(folder, "kms").ledger_urls == ("https://ledger.example:7101",)
    assert settings(folder, "gateway").kms_urls == ("https://kms.example:7102",)
    assert settings(folder, "relay").gateway_urls == ("https://gateway.example:7103/gateway",)
    assert settings(folder, "relay").admin_port is None  # that of this machine says nothing about another
    assert settings(folder, "relay").bundle_urls[0].startswith("https://kms.example:7102/bundles/")
    assert settings(folder, "proxy").relay_url == "https://relay.example:7104"
    for role in ("ledger", "kms", "gateway", "relay"):
        assert settings(folder, role).peers.certificate == Path(f"/etc/cloister/{role}/tls.crt")


def test_each_instance_of_the_kms_has_a_folder_and_knows_the_others_and_everyone_knows_all(tmp_path):
    folder, _ = deploy(tmp_path, TWO_INSTANCES)
    first, second = settings(folder, "kms"), settings(folder, "kms", folder="kms2")
    assert (first.port, first.replicas) == (1, ("https://b.example:2",))
    assert (second.port, second.replicas) == (2, ("https://a.example:1",))
    assert second.tls.certificate == Path("/etc/cloister/kms2/tls.crt")
    assert "kms" in second.tls.clients
    assert settings(folder, "gateway").kms_urls == ("https://a.example:1", "https://b.example:2")
    bundles = settings(folder, "relay").bundle_urls
    assert [url.partition("/bundles/")[0] for url in bundles] == ["https://a.example:1", "https://b.example:2"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("https://kms", "http://kms"), "is not on this machine: write https://"),
        (("https://kms.example:7102", "http://127.0.0.1:7102"), "roles speak TLS only"),
        (("https://kms.example:7102", "https://kms.example/x"), "not of the form https://host:port"),
        (("https://kms.example:7102", "https://kms.example:x"), "is not a URL"),
        (("kms =", "kns ="), "does not say where each role is"),
        (("kms =", 'etc = "relative"\nkms ='), "does not say where each role is"),
        (("kms", "\x00"), "does not say where each role is"),
    ],
)
def test_places_that_make_no_sense_are_refused(tmp_path, change, sentence):
    (tmp_path / "machines.toml").write_text(PLACES.replace(change[0], change[1], 1))
    with pytest.raises(UsageError, match=sentence):
        read_machines(tmp_path / "machines.toml")


def test_a_measurement_that_is_none_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_measurement(tmp_path / "none.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(UsageError, match="is not what cloister workload measure --json says"):
        read_measurement(tmp_path / "other.json")
