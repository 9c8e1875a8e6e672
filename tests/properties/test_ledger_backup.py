"""A backup: what is written is read, and any other bytes are no backup."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.ledger_backup import MAGIC, BackupHead, BackupWriter, Kind, Record, read_backup

bodies = st.lists(st.binary(max_size=100), max_size=5)


def written(entries, notes, blobs):
    file = io.BytesIO()
    writer = BackupWriter(file.write, BackupHead(origin="log.test", key=bytes(32)))
    for kind, several in ((Kind.ENTRY, entries), (Kind.CHECKPOINT, notes), (Kind.BLOB, blobs)):
        for body in several:
            writer.add(kind, body)
    writer.end()
    return file.getvalue()


def read(data):
    return list(read_backup(io.BytesIO(data).read))


@given(bodies, bodies, bodies)
def test_what_is_written_is_read(entries, notes, blobs):
    expected = [Record(Kind.ENTRY, body) for body in entries]
    expected += [Record(Kind.CHECKPOINT, body) for body in notes] + [Record(Kind.BLOB, body) for body in blobs]
    assert read(written(entries, notes, blobs))[1:] == expected


@given(bodies, st.data())
def test_one_changed_byte_is_told(entries, data):
    content = bytearray(written(entries, [], []))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((MalformedInput, TooLarge)):
        read(bytes(content))


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_refused_in_our_words(data, magic):
    with pytest.raises((MalformedInput, TooLarge)):
        read(MAGIC + data if magic else data)
