"""Any bytes are records or a named refusal, and every content comes back however it is cut."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import MalformedInput
from cloister.ohttp.records import RECORD_SIZE, ROOM, TOTALS, Kind, RecordReader, write_record

EMPTY = bytes(RECORD_SIZE)
HEADS = st.tuples(st.integers(0, 3), st.integers(0, ROOM + 2), st.binary(max_size=40))


@st.composite
def almost_records(draw):
    """Records of which most are well formed."""
    parts = []
    for kind, other, data in draw(st.lists(HEADS, max_size=8)):
        size = draw(st.sampled_from([len(data), other]))
        parts.append((bytes([kind]) + size.to_bytes(2, "big") + data).ljust(RECORD_SIZE, b"\0"))
    return b"".join(parts) + draw(st.sampled_from([b"", EMPTY * 60, EMPTY * 64, b"\0"]))


@given(st.binary(max_size=9000) | almost_records(), st.integers(1, 5000))
def test_any_bytes_are_read_or_refused(data, size):
    reader = RecordReader()
    with contextlib.suppress(MalformedInput):
        for at in range(0, len(data), size):
            reader.feed(data[at : at + size])
        reader.end()


@given(st.lists(st.binary(max_size=ROOM), max_size=TOTALS[0] - 1), st.integers(1, 100_000))
def test_content_comes_back_however_the_records_are_split(contents, size):
    places = [bytearray(RECORD_SIZE) for _ in range(TOTALS[0])]
    for place, content in zip(places, contents, strict=False):
        write_record(memoryview(place), Kind.MORE, content)
    write_record(memoryview(places[len(contents)]), Kind.LAST, b"the end")
    data, reader = b"".join(places), RecordReader()
    read = b"".join(reader.feed(data[at : at + size]) for at in range(0, len(data), size))
    reader.end()
    assert read == b"".join(contents) + b"the end"
