"""`cloister node identity -- PROGRAM`: it has the files' names, hears of each renewal, and ends all with it."""

import asyncio
import os
import signal
import sys

import pytest

from cloister.cli.node_command import run_beside
from cloister.errors import Unavailable, UsageError

# Says a line for each certificate until standard input ends, as the measured half does.
KEEPER = """
import pathlib, sys, time
for _ in range({renewals}):
    print("a certificate", flush=True)
    while {renewals} > 1 and not pathlib.Path({ready!r}).exists():
        time.sleep(0.01)
sys.stdin.read()
open({ended!r}, "w").close()
"""
PROGRAM = """
import os, signal, sys, time
heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
open({ready!r} + ".new", "w").write(os.environ["CLOISTER_IDENTITY_KEY"])
os.rename({ready!r} + ".new", {ready!r})
while len(heard) < {signals}:
    time.sleep(0.01)
sys.exit(7)
"""


def beside(tmp_path, keeper, program):
    command = [sys.executable, "-c", keeper]
    return run_beside(command, dict(os.environ), program, tmp_path / "identity", signal.SIGUSR1)


def python(text):
    return [sys.executable, "-c", text]


async def test_a_program_hears_of_each_renewal_and_its_exit_code_is_the_commands(tmp_path):
    ready, ended = tmp_path / "ready", tmp_path / "ended"
    program = python(PROGRAM.format(ready=str(ready), signals=1))
    keeper = KEEPER.format(renewals=2, ready=str(ready), ended=str(ended))
    async with asyncio.timeout(30):
        assert await beside(tmp_path, keeper, program) == 7
    assert ready.read_text() == str(tmp_path / "identity" / "key.pem")
    assert ended.exists()


async def test_where_no_certificate_comes_the_program_is_not_started(tmp_path):
    started = tmp_path / "started"
    with pytest.raises(Unavailable, match="no certificate"):
        await beside(tmp_path, "raise SystemExit(4)", python(f"open({str(started)!r}, 'w')"))
    assert not started.exists()


async def test_a_program_that_cannot_be_run_is_named_and_nothing_stays_behind(tmp_path):
    ended = tmp_path / "ended"
    with pytest.raises(UsageError, match="no-such-program cannot be run"):
        await beside(tmp_path, KEEPER.format(renewals=1, ready="", ended=str(ended)), ["no-such-program"])
    assert ended.exists()


async def test_a_program_ends_with_what_keeps_its_certificate(tmp_path):
    keeper = "print('a certificate', flush=True)"
    async with asyncio.timeout(30):
        code = await beside(tmp_path, keeper, python("import time; time.sleep(60)"))
    assert code == 128 + signal.SIGTERM
