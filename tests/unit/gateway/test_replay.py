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
    assert len(replays) == 0


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
    replays.admit(b"d", NOON + 301, now=NOON + 301)
    assert len(replays) == 1


def test_a_clock_set_forward_and_back_again_lets_no_forgotten_request_in():
    replays = table()
    replays.admit(b"a", NOON, now=NOON)
    replays.admit(b"b", NOON + 9999, now=NOON + 9999)
    with pytest.raises(DateNotAcceptable):
        replays.admit(b"a", NOON, now=NOON)
    with pytest.raises(RequestReplayed):
        replays.admit(b"b", NOON + 9999, now=NOON + 9999)


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
