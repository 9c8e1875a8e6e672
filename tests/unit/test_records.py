"""The records of an answer: what they look like, what a reader takes, and what it refuses by name."""

from itertools import pairwise

import pytest

from cloister.errors import UsageError
from cloister.ohttp.records import (
    RECORD_SIZE,
    ROOM,
    TICK_SECONDS,
    TOTALS,
    BrokenOff,
    Kind,
    RecordReader,
    RecordRefused,
    write_record,
)

EMPTY = bytes(RECORD_SIZE)


def record(data=b"", kind=Kind.MORE):
    """One, as a gateway lays it out."""
    place = bytearray(RECORD_SIZE)
    write_record(memoryview(place), kind, data)
    return bytes(place)


def read(*records):
    """The content of a whole answer, and how often something came."""
    reader = RecordReader()
    pieces = [reader.feed(one) for one in records]
    reader.end()
    return [piece for piece in pieces if piece]


def whole(*records):
    """The records of an answer, with empty ones up to the first number that is allowed."""
    return [*records, *[EMPTY] * (TOTALS[0] - len(records))]


def test_a_record_is_its_kind_the_length_the_data_and_zeros():
    assert record(b"words") == b"\x00\x00\x05words" + bytes(RECORD_SIZE - 8)
    assert record(b"words", Kind.LAST)[:8] == b"\x01\x00\x05words"
    assert record(bytes(ROOM), Kind.BROKEN)[:3] == b"\x02\x0f\xfd"
    assert RECORD_SIZE == 4096


def test_an_empty_record_is_zeros_alone():
    assert record() == EMPTY


def test_more_than_a_record_holds_is_not_laid_out():
    with pytest.raises(UsageError, match="at most 4093 bytes"):
        record(bytes(ROOM + 1))


def test_the_content_comes_out_as_it_came_in():
    assert read(*whole(EMPTY, record(b"one"), EMPTY, record(b"two"), record(b"three", Kind.LAST))) == [
        b"one",
        b"two",
        b"three",
    ]


def test_how_the_bytes_are_split_says_nothing():
    data = b"".join(whole(record(b"one"), record(b"two", Kind.LAST)))
    reader = RecordReader()
    pieces = [reader.feed(data[at : at + 1000]) for at in range(0, len(data), 1000)]
    reader.end()
    assert b"".join(pieces) == b"onetwo"


@pytest.mark.parametrize("total", TOTALS[:3])
def test_an_answer_may_have_each_of_the_numbers_of_records(total):
    assert read(record(b"x", Kind.LAST), *[EMPTY] * (total - 1)) == [b"x"]


def test_each_number_is_four_times_the_one_before_until_the_time_that_a_relay_gives():
    assert [after // before for before, after in pairwise(TOTALS)] == [4, 4, 4, 3]
    assert TOTALS[-1] * TICK_SECONDS == pytest.approx(614.4)  # of the 700 s that a relay waits


@pytest.mark.parametrize(
    ("what", "records"),
    [
        ("another form", whole(b"\x03" + EMPTY[1:], record(b"x", Kind.LAST))),
        ("another form", whole(b"\x00\x0f\xfe" + EMPTY[3:], record(b"x", Kind.LAST))),
        ("another form", whole(EMPTY[:-1] + b"\x01", record(b"x", Kind.LAST))),
        ("another form", whole(b"\x00\x00\x05words!" + EMPTY[9:], record(b"x", Kind.LAST))),
        ("behind the end", whole(record(b"x", Kind.LAST), record(b"y"))),
        ("behind the end", whole(record(b"x", Kind.LAST), record(b"", Kind.LAST))),
        ("behind the end", whole(record(b"x", Kind.BROKEN), record(b"", Kind.LAST))),
        ("before the answer in them does", whole(record(b"x"))),
        ("no 63 records", whole(record(b"x", Kind.LAST))[:-1]),
        ("no 65 records", [*whole(record(b"x", Kind.LAST)), EMPTY]),
        ("no 0 records", []),
        ("within a record", [*whole(record(b"x", Kind.LAST)), b"\x00"]),
    ],
)
def test_what_is_not_so_is_refused_by_name(what, records):
    with pytest.raises(RecordRefused, match=what):
        read(*records)


def test_an_answer_that_broke_off_says_so_at_its_end():
    reader = RecordReader()
    for one in whole(record(b"half of it"), record(b"", Kind.BROKEN)):
        reader.feed(one)
    with pytest.raises(BrokenOff, match="broke off at its engine"):
        reader.end()
    assert BrokenOff.retry
