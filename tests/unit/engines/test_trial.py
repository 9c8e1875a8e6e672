"""A model is tried in a process of its own: what becomes of that process is one sentence here, and nothing more."""

import faulthandler
import os
import signal

import pytest

from cloister.cli.local.orphans import children
from cloister.engines import ended, trial
from cloister.errors import MalformedInput


def test_what_passes_leaves_nothing_behind():
    found, before = [1], children()
    trial.hold(lambda: found.pop() == 1)
    assert found == [1]
    assert children() == before


def damaged():
    raise MalformedInput("its own words")


def broken():
    raise ZeroDivisionError


def crashes():
    faulthandler.disable()  # the tests' own
    os.kill(os.getpid(), signal.SIGSEGV)


@pytest.mark.parametrize(
    ("passes", "sentence"),
    [
        (lambda: False, "does not answer as its self-test says"),
        (damaged, "does not load it"),
        (broken, "which failed"),
        (lambda: os._exit(7), "which failed"),
        (crashes, "which SIGSEGV ended"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "which SIGKILL ended"),
    ],
)
def test_each_other_end_is_a_sentence(passes, sentence):
    with pytest.raises(MalformedInput, match=sentence):
        trial.hold(passes)


def test_a_failed_test_tells_the_exit_status_that_names_its_case():
    with pytest.raises(trial.FailsItsTest) as raised:
        trial.hold(lambda: False, lambda: ended.CASES + 2)
    assert raised.value.exit_status == ended.CASES + 2
