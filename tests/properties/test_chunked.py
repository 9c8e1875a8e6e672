"""Chunked messages, cut at any bytes and changed in any chunk: the same message, or a named refusal."""

from hypothesis import given
from hypothesis import strategies as st

from cloister.crypto.hpke import KemPrivateKey, OpenFailed
from cloister.errors import MalformedInput, TooLarge
from cloister.formats import varint
from cloister.formats.hpke_suite import X25519_HKDF_SHA256
from cloister.formats.key_config import KeyConfig
from cloister.ohttp.chunked import MAXIMUM_CHUNK, encapsulate, open_request
from cloister.ohttp.encapsulation import KeyProblem

KEY = KemPrivateKey.generate(X25519_HKDF_SHA256)
CONFIG = KeyConfig(1, X25519_HKDF_SHA256, KEY.public)
NONCE = bytes(16)

contents = st.lists(st.binary(min_size=1, max_size=80), max_size=6)
cuts = st.lists(st.integers(min_value=0, max_value=700), max_size=20)


def pieces(message, cuts):
    ends = [*sorted({cut for cut in cuts if cut < len(message)}), len(message)]
    return [message[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def sealed(chunks, last):
    sealer, _ = encapsulate(CONFIG)
    opener, _ = open_request(KEY, 1, sealer.head, nonce=NONCE)
    return [*map(sealer.seal, chunks), sealer.finish(last)], opener


@given(contents, st.binary(max_size=80), cuts)
def test_a_request_comes_back_however_it_is_split(chunks, last, cuts):
    frames, opener = sealed(chunks, last)
    opened = [opener.feed(piece) for piece in pieces(b"".join(frames), cuts)]
    assert b"".join([*opened, opener.end()]) == b"".join([*chunks, last])


@given(contents, st.binary(max_size=80), cuts)
def test_a_request_comes_back_chunk_by_chunk_in_the_room_that_it_is_given(chunks, last, cuts):
    frames, opener = sealed(chunks, last)
    room, opened = memoryview(bytearray(MAXIMUM_CHUNK)), []
    for piece in pieces(b"".join(frames), cuts):
        opened += [bytes(chunk) for chunk in opener.feed_into(piece, room)]
    assert opened == chunks
    end = opener.end_into(room)
    assert (bytes(end), end.obj is room.obj) == (last, True)


@given(contents, st.binary(max_size=80), cuts)
def test_an_answer_comes_back_however_it_is_split(chunks, last, cuts):
    sealer, opener = encapsulate(CONFIG)
    _, answer = open_request(KEY, 1, sealer.head, nonce=NONCE)
    message = b"".join([answer.head, *map(answer.seal, chunks), answer.finish(last)])
    opened = [opener.feed(piece) for piece in pieces(message, cuts)]
    assert b"".join([*opened, opener.end()]) == b"".join([*chunks, last])


def changes(count):
    """Which chunks arrive, in which order: not all of them in theirs."""
    honest = list(range(count))
    return st.lists(st.integers(0, count - 1), max_size=count + 1).filter(lambda order: order != honest)


@given(st.data(), st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=5), st.binary(max_size=20))
def test_chunks_dropped_repeated_or_moved_are_no_whole_message(data, chunks, last):
    frames, opener = sealed(chunks, last)
    order = data.draw(changes(len(frames)))
    opened = b""
    try:
        for number in order:
            opened += opener.feed(frames[number])
        opener.end()
    except (OpenFailed, MalformedInput, KeyProblem, TooLarge):
        assert b"".join(chunks).startswith(opened)
        return
    raise AssertionError("a message that nobody sent passed for a whole one")


@given(st.data(), contents, st.binary(max_size=80))
def test_a_message_cut_or_altered_anywhere_is_no_whole_message(data, chunks, last):
    frames, opener = sealed(chunks, last)
    message = b"".join(frames)
    at = data.draw(st.integers(0, len(message) - 1))
    flip = data.draw(st.integers(0, 255))
    changed = message[:at] + (bytes([message[at] ^ flip]) + message[at + 1 :] if flip else b"")
    try:
        opened = opener.feed(changed) + opener.end()
    except (OpenFailed, MalformedInput, KeyProblem, TooLarge):
        return
    # The lengths are not authenticated: one may be spelt in another way, and what is inside is still the same.
    assert flip
    assert opened == b"".join([*chunks, last])


@given(st.one_of(st.binary(max_size=200), st.binary(min_size=17, max_size=90).map(lambda b: varint.encode(len(b)) + b)))
def test_any_bytes_are_refused_by_a_gateway_and_by_a_client(data):
    sealer, client = encapsulate(CONFIG)
    opener, _ = open_request(KEY, 1, sealer.head, nonce=NONCE)
    for receiver in (opener, client):
        try:
            receiver.feed(data)
            receiver.end()
        except (MalformedInput, OpenFailed, KeyProblem, TooLarge):
            continue
        raise AssertionError("bytes that nobody sealed were opened")
