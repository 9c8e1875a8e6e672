import os
import signal
import subprocess
import sys

import msgspec
import pytest

from cloister.cli.down import stop
from cloister.hosting.processes import lives, name_of, send, wait_for_end

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def named(pid):
    """The name of a process that runs."""
    name = name_of(pid)
    assert name is not None
    return name


@pytest.fixture
def sleeper():
    with subprocess.Popen(SLEEPER) as process:
        yield process
        process.kill()


def test_a_process_is_known_by_its_number_start_and_boot(sleeper):
    name = named(sleeper.pid)
    assert lives(name)
    assert name != named(os.getpid())


def test_a_process_that_ended_is_gone_even_while_nobody_collects_it(sleeper):
    name = named(sleeper.pid)
    assert send(name, signal.SIGKILL)
    assert wait_for_end([name], seconds=5) == []
    assert sleeper.returncode is None


def test_another_process_under_the_same_number_is_left_alone(sleeper):
    name = named(sleeper.pid)
    before = msgspec.structs.replace(name, started=name.started - 1)
    assert not send(before, signal.SIGKILL)
    assert not send(msgspec.structs.replace(name, boot="another"), signal.SIGKILL)
    assert lives(name)


def test_down_ends_what_is_named_and_nothing_else(sleeper):
    with subprocess.Popen(SLEEPER) as other:
        supervisor = named(sleeper.pid)
        stale = msgspec.structs.replace(named(other.pid), started=1)
        assert stop([supervisor, stale])
        assert sleeper.wait(5) == -signal.SIGTERM
        assert lives(named(other.pid))
        assert not stop([supervisor, stale])
        other.kill()
