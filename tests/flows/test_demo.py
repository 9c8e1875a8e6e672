"""`cloister demo` from its start to its end, as root or whoever runs the tests, and as an ordinary user."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest
from tests.doubles.command_line import Ran
from tests.doubles.installation import Installation, LocalSystem

from cloister.hosting.processes import name_of

SENTENCE = "The train to the city leaves at seven in the morning"
ORDINARY_USER = 54321
DEBIAN_PYTHON = "/usr/bin/python3"


def check_what_it_shows(ran):
    assert ran.code == 0, ran.err
    assert f"“{SENTENCE.lower()}”" in ran.out
    steps = re.findall(r"^ *(\d+) ✓ (\S+) ", ran.out, re.MULTILINE)
    assert [int(number) for number, _ in steps] == [*range(1, len(steps) + 1)]
    ids = [check for _, check in steps]
    for check in ("checkpoint.witnesses", "evidence.workload", "release.challenge", "receipt.response"):
        assert check in ids
    assert "✗" not in ran.out
    assert "software TEE: protects nothing from this machine's owner" in ran.out


async def test_the_demo_prints_the_transcript_and_every_step_and_leaves_nothing(tmp_path):
    installation = Installation(tmp_path)
    process = await installation.start("demo", out=asyncio.subprocess.PIPE)
    watched = LocalSystem(installation, tmp_path, process, tmp_path)
    seen = set()
    async with asyncio.timeout(120):
        reading = asyncio.create_task(process.communicate())
        while not reading.done():
            seen |= {(name.pid, name.started) for name in watched.processes()}
            await asyncio.sleep(0.1)
    out, _ = reading.result()
    check_what_it_shows(Ran(process.returncode, out.decode(), ""))
    assert len(seen) > 7
    assert not [pid for pid, started in seen if running(pid, started)]


async def test_the_demo_runs_as_an_ordinary_user():
    reason = cannot_run_as_another()
    if reason:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="cloister-user-") as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101 - as tempfile, it knows no paths
        installation = Installation(Path(folder), interpreter=DEBIAN_PYTHON, user=ORDINARY_USER)
        check_what_it_shows(await installation.run("demo"))


async def test_a_demo_that_is_told_to_end_ends_at_once_and_leaves_nothing(tmp_path):
    process = await Installation(tmp_path).start("demo", out=asyncio.subprocess.PIPE)
    watched = LocalSystem(None, tmp_path, process, tmp_path)
    await asyncio.sleep(5)
    before = watched.processes()
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(6):
        await process.communicate()
    assert process.returncode == 130
    assert not [name for name in before if running(name.pid, name.started)]


def running(pid, started):
    name = name_of(pid)
    return name is not None and name.started == started


def cannot_run_as_another():
    """Why another user cannot run what this one has; empty where it can."""
    if os.geteuid() != 0:
        return "only root can become another user; the other test ran as an ordinary one"
    if subprocess.run([DEBIAN_PYTHON, "-c", "import ensurepip"], capture_output=True, check=False).returncode:
        return f"{DEBIAN_PYTHON} with venv is not installed"
    version = subprocess.run(
        [DEBIAN_PYTHON, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=True
    )
    if version.stdout.split() != [str(number) for number in sys.version_info[:2]]:
        return f"the libraries installed here are not for {DEBIAN_PYTHON}"
    library = Path(sysconfig.get_path("purelib"))
    if not all(folder.stat().st_mode & 0o001 for folder in (library, *library.parents)):
        return f"another user cannot reach {library}"
    return ""
