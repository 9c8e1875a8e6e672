"""What a client's install must do without: the services' libraries."""

import json
import subprocess
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from tests.doubles.command_line import SOURCE, environment

RUN = "import sys; sys.argv[0] = 'cloister'; from cloister.cli.main import run; sys.exit(run())"


@pytest.fixture(scope="module")
def client_site(tmp_path_factory):
    """A folder with what `pip install cloister` would install, and nothing else."""
    site = tmp_path_factory.mktemp("site-packages")
    wanted, seen = [Requirement("cloister")], set()
    while wanted:
        distribution = metadata.distribution(wanted.pop().name)
        if distribution.name not in seen:
            seen.add(distribution.name)
            needed = [Requirement(text) for text in distribution.requires or ()]
            wanted += [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
            for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
                if not (site / top).exists() and not top.endswith(".pth"):
                    (site / top).symlink_to(str(distribution.locate_file(top)))
    return site


@pytest.fixture
def client_install(client_site, tmp_path):
    """Runs `cloister` in a client's install."""

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-S", "-c", RUN, *arguments],
            env=environment(tmp_path, PYTHONPATH=f"{SOURCE}:{client_site}"),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.parametrize("command", ["verify", "transcribe", "receipt", "env", "doctor", "status", "down", "service"])
def test_a_clients_commands_need_no_library_of_the_services(command, client_install):
    ran = client_install(command, "--help")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"Usage: cloister {command}")


@pytest.mark.parametrize(
    "command", ["secret put", "secret grant", "key list", "key rotate", "key recover", "release list"]
)
def test_owners_and_custodians_need_no_library_of_the_services(command, client_install):
    ran = client_install(*command.split(), "--help")
    assert ran.returncode == 0, ran.stderr


def test_the_proxy_runs_in_a_clients_install(client_install):
    ran = client_install("service", "proxy")
    assert ran.returncode == 2
    assert "missing settings: port (a whole number from 0 to 65535), relay_url (a string)" in ran.stderr


def test_a_service_that_needs_more_says_which_install_has_it(client_install):
    ran = client_install("service", "kms")
    assert ran.returncode == 2
    assert "pip install 'cloister[node]'" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_doctor_says_that_this_is_a_clients_install(client_install):
    ran = client_install("doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(ran.stdout)}
    assert findings["services"]["advice"] == "on Linux: pip install 'cloister[node]'"
    assert findings["python"]["verdict"] == "good"


def test_help_loads_next_to_nothing(tmp_path):
    program = (
        "import sys; sys.argv=['cloister','--help']; from cloister.cli.main import run; run(); print(*sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = set(ran.stdout.splitlines()[-1].split())
    assert not loaded & {"aiohttp", "asyncio", "cryptography", "msgspec", "rich"}
