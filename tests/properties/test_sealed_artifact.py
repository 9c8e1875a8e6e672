"""Any bytes are a manifest, a header or a stream's head, or are refused; any file is where its segments say."""

import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.doubles.plain_models import KEY

from cloister.crypto.sealed_stream import (
    HEADER_SIZE,
    MAXIMUM_SIZE,
    SealedStream,
    StreamHead,
    first_segment_from,
    sealed_size,
    segment_at,
)
from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.model_manifest import (
    MAXIMUM_FILE,
    ModelFile,
    ModelManifest,
    ModelPath,
    encode_manifest,
    parse_manifest,
    shard_count,
)
from cloister.formats.sealed_artifact import parse_header, parse_unfinished
from cloister.sealing.artifact_key import sealed_header

HEAD = StreamHead(bytes(32), bytes(7))
MANIFEST = ModelManifest(name="a", files=(ModelFile(path="b/c.bin", size=9, shards=bytes(32)),))
HEADER = canonical.encode(sealed_header(KEY, bytes(16), MANIFEST))
CLIMBING = [
    "/etc/passwd",
    "../x",
    "a/../b",
    "a/./b",
    "a//b",
    "a/",
    "",
    ".",
    "..",
    ".hidden",
    "a/.b",
    "-rf",
    "a\0b",
    "a\\b",
    "a\n",
]


@given(st.binary(max_size=300))
@pytest.mark.parametrize("parse", [parse_manifest, parse_header, parse_unfinished, StreamHead.parse])
def test_any_bytes_are_parsed_or_refused(parse, data):
    try:
        parse(data)
    except (MalformedInput, TooLarge):
        return


@given(st.data())
def test_a_header_with_one_byte_changed_is_parsed_or_refused(data):
    at, value = data.draw(st.integers(0, len(HEADER) - 1)), data.draw(st.integers(0, 255))
    try:
        parse_header(HEADER[:at] + bytes([value]) + HEADER[at + 1 :])
    except (MalformedInput, TooLarge):
        return


@pytest.mark.parametrize("path", CLIMBING)
def test_a_path_that_climbs_hides_or_reads_as_an_option_is_no_files(path):
    plain = {"version": 1, "name": "a", "files": [{"path": path, "size": 0, "shards": b""}]}
    with pytest.raises(MalformedInput):
        parse_manifest(cbor2.dumps(plain, canonical=True))


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (["a", "a"], "stands twice"),
        (["b", "a"], "out of order"),
        (["a", "a/b"], "folder of the same name"),
        (["a", "a.b", "a/b/c"], "folder of the same name"),
    ],
)
def test_names_that_repeat_or_overlap_are_refused(paths, says):
    plain = {"version": 1, "name": "a", "files": [{"path": path, "size": 0, "shards": b""} for path in paths]}
    with pytest.raises(MalformedInput, match=says):
        parse_manifest(cbor2.dumps(plain, canonical=True))


@given(size=st.integers(0, MAXIMUM_FILE), digests=st.integers(0, 3))
def test_a_size_has_as_many_digests_as_shards(size, digests):
    try:
        ModelFile(path="a", size=size, shards=bytes(32 * digests))
    except MalformedInput:
        assert digests != shard_count(size)
    else:
        assert digests == shard_count(size)


@given(st.from_regex(r"[A-Za-z0-9_.+=@,()\[\] /-]{1,40}", fullmatch=True))
def test_a_path_that_is_taken_stays_in_its_folder(path):
    try:
        taken = msgspec.convert(path, ModelPath)
    except msgspec.ValidationError:
        return
    assert all(part and not part.startswith((".", "-")) for part in taken.split("/"))


def test_a_manifest_is_read_as_it_was_written():
    assert parse_manifest(encode_manifest(MANIFEST)) == MANIFEST
    assert parse_header(HEADER)[1] == MANIFEST


@given(size=st.integers(0, MAXIMUM_SIZE), share=st.floats(0, 1))
def test_every_byte_is_in_the_one_segment_that_is_said_to_hold_it(size, share):
    stream = SealedStream(KEY, HEAD, associated=b"", size=size)
    offset = min(int(size * share), max(size - 1, 0))
    number = segment_at(offset)
    begin, end = stream.span(number)
    assert begin <= offset <= end
    assert number <= stream.last
    following = first_segment_from(offset)
    assert following == (number if begin == offset else number + 1)


@given(st.integers(0, MAXIMUM_SIZE))
def test_segments_fill_a_stream_from_its_header_to_its_end(size):
    stream = SealedStream(KEY, HEAD, associated=b"", size=size)
    assert stream.place(0)[0] == HEADER_SIZE
    assert sum(stream.place(stream.last)) == sealed_size(size)
    assert stream.span(stream.last)[1] == size
    if stream.last:
        assert sum(stream.place(0)) == stream.place(1)[0]
        assert stream.span(0)[1] == stream.span(1)[0]
