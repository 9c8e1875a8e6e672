"""A process that holds keys or plaintext leaves no core dump."""

import resource
import subprocess
import time
from pathlib import Path

import pytest
from tests.doubles.installation import Installation, local_system

from cloister.tee.launch import measured_python

FORBIDDEN = ["1", "1"]  # bytes: with 0, the kernel would still pipe a dump to a program


@pytest.fixture(autouse=True)
def dumps_are_allowed_here():
    """What is started would inherit our limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard == 0:
        pytest.skip("core dumps are forbidden to this process, too")
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    return Installation(tmp_path_factory.mktemp("installation"))


def core_limit(pid):
    """The soft and the hard limit of a process, as the kernel says them."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line.split()[4:6] for line in lines if line.startswith("Max core file size"))


def test_a_service_by_itself_forbids_its_core_dumps(installation, tmp_path):
    ready, config = tmp_path / "port", tmp_path / "relay.toml"
    nowhere = "http://127.0.0.1:9"
    config.write_text(f'port = 0\nbundle_urls = ["{nowhere}/b"]\ngateway_urls = ["{nowhere}/"]\nready = "{ready}"\n')
    command = [
        *measured_python(str(installation.python)),
        "-m",
        "cloister",
        "service",
        "relay",
        "--config",
        str(config),
    ]
    with subprocess.Popen(command) as process:
        try:
            while not ready.exists():
                assert process.poll() is None
                time.sleep(0.02)
            assert core_limit(process.pid) == FORBIDDEN
        finally:
            process.terminate()


async def test_a_local_systems_supervisor_and_services_forbid_theirs(installation, tmp_path):
    async with local_system(installation, tmp_path / "state", "--engine", "echo") as system:
        pids = [system.record.supervisor.pid, *(role.process.pid for role in system.record.roles)]
        assert len(pids) > 6
        assert [core_limit(pid) for pid in pids] == [FORBIDDEN] * len(pids)
