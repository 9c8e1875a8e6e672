"""What a machine allows in a node's settings. Each test changes one thing of good ones."""

import tomllib

import pytest
from tests.doubles.node_manifests import sample_node

from cloister.errors import UsageError
from cloister.hosting.settings import BadSettings
from cloister.services.deployment.node_settings import PathDenied, health_url, rendered, require_allowed

URL = "http://127.0.0.1:1"


@pytest.fixture
def allowed(tmp_path):
    folder = tmp_path / "allowed"
    folder.mkdir()
    return folder


def witness(folder, more="", **changed):
    text = f'folder = "{folder}/w"\nname = "w"\nkey = "{folder}/w.seed"\nlogs = []\n{more}'
    return sample_node(settings=text, **changed)


def test_settings_whose_paths_are_in_an_allowed_folder_are_taken(allowed, tmp_path):
    require_allowed(witness(allowed), [tmp_path / "other", allowed], own=tmp_path / "state")


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ('ml_dsa_key = "/etc/shadow"', "ml_dsa_key: /etc/shadow"),
        ('ml_dsa_key = "relative"', "ml_dsa_key: relative"),
        ('ml_dsa_key = "{allowed}/../secret"', "ml_dsa_key: "),
        ('ml_dsa_key = "{allowed}/link/secret"', "ml_dsa_key: "),
        ('[tls]\ncertificate = "/x"\nkey = "{allowed}/k"', "tls.certificate: /x"),
        ('[database]\nurl = "postgresql://u@localhost/d?host=/run/elsewhere"', "database.url: /run/elsewhere"),
    ],
    ids=["elsewhere", "relative", "dots", "link", "nested", "socket"],
)
def test_a_path_elsewhere_is_refused_by_its_setting(allowed, tmp_path, more, named):
    (allowed / "link").symlink_to(tmp_path)
    node = witness(allowed, more.replace("{allowed}", str(allowed)))
    with pytest.raises(PathDenied, match=f"settings of watcher: {named}"):
        require_allowed(node, [allowed], own=tmp_path / "state")


def test_no_folder_allows_nothing_and_none_allows_the_apis_own(allowed, tmp_path):
    with pytest.raises(PathDenied, match="in no folder that this machine allows: none"):
        require_allowed(witness(allowed), [], own=tmp_path / "state")
    with pytest.raises(PathDenied):
        require_allowed(witness(allowed), [tmp_path], own=allowed)


def test_a_unix_socket_is_a_path_too(allowed, tmp_path):
    text = f'bundle_urls = ["{URL}/b"]\ngateway_urls = ["unix:/run/docker.sock"]\n'
    relay = sample_node(role="relay", health_ports=(1, 2), settings=text)
    with pytest.raises(PathDenied, match=r"gateway_urls.0: /run/docker.sock"):
        require_allowed(relay, [allowed], own=tmp_path / "state")


def test_what_a_role_does_not_take_is_told_with_node_and_line(allowed, tmp_path):
    with pytest.raises(BadSettings, match="settings of watcher, line 5: unknown setting hgsfd"):
        require_allowed(witness(allowed, "hgsfd = 1"), [allowed], own=tmp_path / "state")
    with pytest.raises(UsageError, match="settings of watcher"):
        require_allowed(witness(allowed, 'address = "0.0.0.0"'), [allowed], own=tmp_path / "state")


def test_a_processes_file_has_its_port_and_its_time_to_drain(allowed, tmp_path):
    text = f'bundle_urls = ["{URL}/b"]\ngateway_urls = ["{URL}"]\n'
    relay = sample_node(role="relay", health_ports=(8101, 8111), settings=text)
    table = tomllib.loads(rendered(relay, 7111, ready=tmp_path / "ready").decode())
    given = {"port": 7111, "admin_port": 8111, "grace_seconds": 5.0, "ready": str(tmp_path / "ready")}
    assert table == tomllib.loads(text) | given
    own = tomllib.loads(rendered(witness(allowed), 7111, ready=tmp_path / "ready").decode())
    assert own.keys() == {"port", "ready", "folder", "name", "key", "logs"}
    assert health_url(relay, 7111) == "http://127.0.0.1:8111"


def test_a_node_that_speaks_tls_is_asked_by_the_name_in_its_certificate(allowed):
    tls = f'address = "127.0.0.3"\n[tls]\ncertificate = "{allowed}/c"\nkey = "{allowed}/k"\n'
    tls += f'client_ca = "{allowed}/a"\nclients = ["deployment"]\n'
    assert health_url(witness(allowed, tls), 7101) == "https://127.0.0.3:7101"
    assert health_url(witness(allowed, tls, host="w.example"), 7101) == "https://w.example:7101"
    assert health_url(witness(allowed, 'address = "::1"\n'), 7101) == "http://[::1]:7101"
