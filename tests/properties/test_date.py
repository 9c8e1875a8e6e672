import contextlib

from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import CloisterError, MalformedInput
from cloister.services.gateway.replay import ReplayTable, date_header, parse_date

DATES = st.integers(1_000_000, 1_000_900)


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", fullmatch=True))
def test_any_text_is_a_date_or_malformed(text):
    with contextlib.suppress(MalformedInput):
        assert date_header(parse_date(text)) == text


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), DATES, DATES), max_size=30))
def test_no_request_is_admitted_twice_whatever_the_clock_does(attempts):
    """The same encapsulated key comes with the same date: the date is sealed with it."""
    table = ReplayTable(window_seconds=100, capacity=2, started=1_000_000)
    admitted = set()
    for name, date, now in attempts:
        try:
            table.admit(name + b"%d" % date, date, now=now)
        except CloisterError:
            continue
        assert (name, date) not in admitted
        admitted.add((name, date))
