import os
import socket
import tomllib
from pathlib import Path

import pytest
from tests.unit.cli.test_local_terms import FIRST, FOUND, KEYS

from cloister.cli.local.keys import NAMES, open_keys, seed_path
from cloister.cli.local.roles import (
    RELAY_ADMIN,
    ROLES,
    ServedLine,
    choose_ports,
    config_path,
    keep_ports,
    last_ports,
    settings,
    write_settings,
)
from cloister.cli.local.settings import LocalSettings, read_settings
from cloister.cli.local.system import _ports
from cloister.cli.local.terms import line_of
from cloister.cli.local.toml import toml
from cloister.cli.state_folder import StateFolder
from cloister.errors import Unavailable, UsageError
from cloister.hosting.settings import BadSettings, load
from cloister.services.places import SERVICES, found


@pytest.fixture
def state(tmp_path):
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    return folder


def test_every_services_settings_are_what_the_service_reads(state):
    ports = choose_ports({}, proxy=None)
    write_settings(state, settings(state, KEYS, ServedLine(line_of(FIRST), state.contracts), FOUND, ports))
    read = {
        role: load(found(SERVICES[role].settings), service=role, config=config_path(state, role), environ={}, flags={})
        for role in ROLES
    }
    assert {role: settings.port for role, settings in read.items()} == {role: ports[role] for role in ROLES}
    assert read["relay"].admin_port == ports[RELAY_ADMIN]


def test_what_a_person_could_write_comes_back_from_toml():
    table = {"text": 'quoted "so"\\ \n', "list": ["a", "b"], "number": 3, "yes": True, "path": Path("/x y")}
    nested = table | {"rows": [{"a": 1, "b": "c"}], "inner": {"seconds": 5}}
    assert tomllib.loads(toml(nested)) == nested | {"path": "/x y"}


def test_ports_are_the_same_again_unless_someone_has_taken_one(state):
    first = choose_ports({}, proxy=None)
    assert first.keys() == {*ROLES, RELAY_ADMIN}
    assert len(set(first.values())) == len(first)
    keep_ports(state, first)
    assert choose_ports(last_ports(state), proxy=None) == first
    with socket.create_server(("127.0.0.1", first["relay"])):
        second = choose_ports(first, proxy=None)
    assert second["relay"] != first["relay"]
    assert second["proxy"] == first["proxy"]


def test_a_port_that_was_asked_for_is_the_proxys_whoever_had_it_last_time():
    before = choose_ports({}, proxy=None)
    for role in (*ROLES, RELAY_ADMIN):
        ports = choose_ports(before, proxy=before[role])
        assert ports["proxy"] == before[role]
        assert len(set(ports.values())) == len(ports)


def test_a_port_that_was_asked_for_and_is_taken_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"port {port} of 127.0.0.1 is taken by another program: .*--port"):
            choose_ports({}, proxy=port)


def test_the_proxys_port_of_last_time_is_never_changed_unsaid():
    before = choose_ports({}, proxy=None)
    with socket.create_server(("127.0.0.1", before["proxy"])), pytest.raises(Unavailable, match="--port"):
        choose_ports(before, proxy=None)


def test_a_proxy_that_moves_gets_a_new_token_and_says_so(state):
    said: list[str] = []
    first = _ports(state, LocalSettings(), said.append)
    token = state.token.read_bytes()
    assert _ports(state, LocalSettings(), said.append)["proxy"] == first["proxy"]
    assert (state.token.read_bytes(), said) == (token, [])
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    moved = _ports(state, LocalSettings(port=port), said.append)
    assert moved["proxy"] == port
    assert state.token.read_bytes() != token
    assert f"the proxy moved from port {first['proxy']} to {port} and has a new token" in said[0]


def test_keys_are_made_once_and_are_their_owners_alone(state):
    keys = open_keys(state)
    assert open_keys(state).operator.public == keys.operator.public
    assert {seed_path(state, name).stat().st_mode & 0o777 for name in NAMES} == {0o600}


def test_a_missing_key_is_not_made_again_once_something_was_signed_with_it(state):
    open_keys(state)
    state.constitutions.write_bytes(b"signed")
    seed_path(state, "operator").unlink()
    with pytest.raises(UsageError, match=r"operator\.seed is missing"):
        open_keys(state)


def test_a_state_folder_that_others_can_read_is_refused(tmp_path):
    folder = StateFolder(tmp_path)
    tmp_path.chmod(0o755)
    with pytest.raises(UsageError, match="must be yours alone"):
        folder.prepare()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_state_folder_that_cannot_be_made_is_refused():
    with pytest.raises(UsageError, match="cannot be used"):
        StateFolder(Path("/proc/nowhere")).prepare()


def test_a_persons_settings_are_read_and_misspelt_ones_named(state):
    state.settings.write_text('engine = "echo"\n[kms]\nhead_seconds = 7\n')
    read = read_settings(state, {"CLOISTER_UP__PORT": "8484"}, engine=None, port=None)
    assert (read.engine, read.kms.head_seconds, read.port) == ("echo", 7, 8484)
    assert read_settings(state, {}, engine="speech", port=None).engine == "speech"
    state.settings.write_text("[kms]\nhed_seconds = 7\n")
    with pytest.raises(BadSettings, match="hed_seconds"):
        read_settings(state, {}, engine=None, port=None)
