import contextlib
import os
import signal

import pytest

from cloister.errors import MalformedInput
from cloister.services.gateway.replay import (
    DateNotAcceptable,
    ReplayTable,
    RequestReplayed,
    TableFull,
    date_header,
    parse_date,
)

NOON = 1_800_000_000


def table(**changes):
    return ReplayTable(**({"window_seconds": 300, "capacity": 3, "started": NOON - 1000} | changes))


def test_the_same_request_is_refused_as_long_as_its_date_is_accepted():
    replays = table()
    replays.admit(b"a", NOON, now=NOON)
    for now in (NOON, NOON + 300, NOON - 300):
        with pytest.raises(RequestReplayed):
            replays.admit(b"a", NOON, now=now)
    with pytest.raises(DateNotAcceptable):
        replays.admit(b"a", NOON, now=NOON + 301)


@pytest.mark.parametrize("skew", [-301, 301])
def test_a_date_outside_the_window_is_refused_and_not_remembered(skew):
    replays = table()
    with pytest.raises(DateNotAcceptable):
        replays.admit(b"a", NOON + skew, now=NOON)
    replays.admit(b"a", NOON, now=NOON)


@pytest.mark.parametrize("skew", [-300, 300])
def test_a_date_at_the_edge_of_the_window_is_accepted(skew):
    table().admit(b"a", NOON + skew, now=NOON)


def test_what_was_sent_before_the_start_is_refused_for_another_process_may_have_answered_it():
    replays = table(started=NOON)
    for date in (NOON - 1, NOON):
        with pytest.raises(DateNotAcceptable):
            replays.admit(b"a", date, now=NOON + 1)
    replays.admit(b"a", NOON + 1, now=NOON + 1)


def test_requests_are_forgotten_when_their_date_is_no_longer_accepted():
    replays = table()
    for name in (b"a", b"b", b"c"):
        replays.admit(name, NOON, now=NOON)
    with pytest.raises(TableFull):
        replays.admit(b"d", NOON + 300, now=NOON + 300)
    for name in (b"d", b"e", b"f"):
        replays.admit(name, NOON + 301, now=NOON + 301)


def test_a_clock_set_forward_and_back_again_lets_no_forgotten_request_in():
    replays = table()
    replays.admit(b"a", NOON, now=NOON)
    replays.admit(b"b", NOON + 9999, now=NOON + 9999)
    with pytest.raises((DateNotAcceptable, RequestReplayed)):
        replays.admit(b"a", NOON, now=NOON)
    with pytest.raises(RequestReplayed):
        replays.admit(b"b", NOON + 9999, now=NOON + 9999)


def test_what_was_forgotten_does_not_come_in_again_when_the_clock_is_set_back():
    replays = table(capacity=1)
    replays.admit(b"a", NOON, now=NOON)
    replays.admit(b"b", NOON + 9999, now=NOON + 9999)
    with pytest.raises(DateNotAcceptable):
        replays.admit(b"a", NOON, now=NOON)


def test_a_large_table_holds_about_as_many_as_it_says():
    replays = table(capacity=2000)
    for number in range(1500):
        replays.admit(b"%d" % number, NOON, now=NOON)
    for number in range(0, 1500, 100):
        with pytest.raises(RequestReplayed):
            replays.admit(b"%d" % number, NOON, now=NOON)


def inherited(replays, **changes):
    return ReplayTable.inherited(os.dup(replays.descriptor), **({"window_seconds": 300, "capacity": 3} | changes))


def test_workers_share_one_table():
    ours = table()
    theirs = inherited(ours)
    theirs.admit(b"a", NOON, now=NOON)
    with pytest.raises(RequestReplayed):
        ours.admit(b"a", NOON, now=NOON)
    with pytest.raises(DateNotAcceptable):
        theirs.admit(b"b", NOON - 1000, now=NOON - 1000)


def test_many_processes_at_once_admit_each_request_once():
    replays = table(capacity=4000)
    children = []
    for _ in range(4):
        reader, writer = os.pipe()
        if (pid := os.fork()) == 0:
            count = 0
            for number in range(500):
                with contextlib.suppress(RequestReplayed):
                    replays.admit(b"%d" % number, NOON, now=NOON)
                    count += 1
            os.write(writer, b"%d" % count)
            os._exit(0)
        os.close(writer)
        children.append((pid, reader))
    counts = []
    for pid, reader in children:
        os.waitpid(pid, 0)
        counts.append(int(os.read(reader, 100)))
        os.close(reader)
    assert sum(counts) == 500


@pytest.mark.parametrize("step", range(5))
def test_a_worker_that_dies_while_it_writes_an_entry_neither_locks_the_table_nor_opens_it(step):
    replays = table(capacity=1)
    replays.admit(b"old", NOON - 600, now=NOON - 600)
    if (pid := os.fork()) == 0:
        died_after(replays, step)
    os.waitpid(pid, 0)
    with pytest.raises((RequestReplayed, DateNotAcceptable)):
        replays.admit(b"old", NOON - 600, now=NOON - 600)
    with contextlib.suppress(RequestReplayed):  # if it was remembered, it counts as answered
        replays.admit(b"new", NOON, now=NOON)
    with pytest.raises(RequestReplayed):
        replays.admit(b"new", NOON, now=NOON)


class Dying:
    """A view of the table's memory; the process is killed after so many stores."""

    def __init__(self, view, left):
        self.view, self.left = view, left

    def __getitem__(self, key):
        return self.view[key]

    def __setitem__(self, key, value):
        if self.left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left[0] -= 1
        self.view[key] = value


def died_after(replays, step):
    left = [step]
    for name in ("_numbers", "_bytes"):
        setattr(replays, name, Dying(getattr(replays, name), left))
    replays.admit(b"new", NOON, now=NOON)
    os._exit(0)


def test_a_date_reads_back_as_it_was_written():
    assert date_header(0) == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert parse_date(date_header(NOON)) == NOON


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Fri, 15 Jan 2027 08:00:00",
        "Thu, 15 Jan 2027 08:00:00 GMT",
        "Friday, 15-Jan-27 08:00:00 GMT",
        "Fri Jan 15 08:00:00 2027",
        "fri, 15 jan 2027 08:00:00 gmt",
        "Fri, 15 Jan 2027 8:00:00 GMT",
        "Fri, 30 Feb 2027 08:00:00 GMT",
        "Fri, 15 Jan 0000 08:00:00 GMT",
        "1800000000",
    ],
)
def test_a_date_of_another_form_is_malformed(value):
    with pytest.raises(MalformedInput):
        parse_date(value)
