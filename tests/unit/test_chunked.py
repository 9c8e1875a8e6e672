"""Chunked encapsulation against the draft's example, and every way in which a message is not whole."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cloister.crypto.hpke import KemPrivateKey, OpenFailed, SenderContext
from cloister.crypto.kem import encapsulate_with
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats import key_config, varint
from cloister.formats.hpke_suite import KEMS, X25519_HKDF_SHA256, X_WING, SymmetricSuite
from cloister.formats.key_config import KeyConfig
from cloister.ohttp.chunked import (
    MAXIMUM_CHUNK,
    ChunkRefused,
    RequestSealer,
    ResponseOpener,
    ResponseSealer,
    Truncated,
    encapsulate,
    head_size,
    open_request,
)
from cloister.ohttp.encapsulation import (
    KeyProblem,
    RequestHeader,
    RequestRefused,
    UnknownKey,
    UnsupportedSuite,
    decapsulate_request,
    encapsulate_request,
    parse_header,
)
from cloister.secret import SecretBytes

EXAMPLE = json.loads((Path(__file__).parents[1] / "vectors" / "chunked_ohttp.json").read_text())
NONCE = bytes(range(16))


def example(name):
    value = EXAMPLE[name]
    return [bytes.fromhex(one) for one in value] if isinstance(value, list) else bytes.fromhex(value)


def gateway(kem=X25519_HKDF_SHA256, key_id=3):
    key = KemPrivateKey.generate(kem)
    return key, KeyConfig(key_id, kem, key.public)


def exchange(kem=X25519_HKDF_SHA256):
    """Both ends of one request and of its answer."""
    key, config = gateway(kem)
    sealer, answer_opener = encapsulate(config)
    opener, answer_sealer = open_request(key, 3, sealer.head, nonce=NONCE)
    return (sealer, opener), (answer_sealer, answer_opener)


class InRoom:
    """An opener of a request that opens every chunk in the same place, as a gateway's does."""

    def __init__(self, opener):
        self.opener, self.room = opener, memoryview(bytearray(MAXIMUM_CHUNK))

    @property
    def finished(self):
        return self.opener.finished

    def feed(self, data):
        return b"".join(bytes(chunk) for chunk in self.opener.feed_into(data, self.room))

    def end(self):
        return bytes(self.opener.end_into(self.room))


def way(direction):
    """A sealer and its opener, of the request or of the answer; the answer's opener has its head."""
    asking, answering = exchange()
    if direction == "request":
        return asking
    if direction == "request, in a room":
        return asking[0], InRoom(asking[1])
    sealer, opener = answering
    assert opener.feed(sealer.head) == b""
    return sealer, opener


both_ways = pytest.mark.parametrize("direction", ["request", "request, in a room", "answer"])


def test_a_gateway_opens_the_drafts_request_and_gives_the_drafts_answer():
    key = KemPrivateKey.from_bytes(X25519_HKDF_SHA256, SecretBytes(example("secret_key")))
    head = example("info")[-7:] + example("enc")
    opener, sealer = open_request(key, 1, head, nonce=example("response_nonce"))
    first, second, last = example("request_chunks")
    opened = opener.feed(first), opener.feed(second), opener.feed(last), opener.end()
    assert opened == (example("request")[:12], example("request")[12:], b"", b"")
    answer = example("response")
    assert sealer.head == example("response_nonce")
    assert [sealer.seal(answer[:1]), sealer.seal(answer[1:]), sealer.finish()] == example("response_chunks")


def test_the_drafts_ephemeral_key_gives_the_drafts_request_and_response_secret():
    config = key_config.decode(example("key_config"))
    ephemeral = X25519PrivateKey.from_private_bytes(example("ephemeral_secret_key"))
    shared_secret, enc = encapsulate_with(ephemeral, config.kem, config.public)
    context = SenderContext(config.kem, shared_secret, example("info"))
    sealer = RequestSealer(RequestHeader(1, config.kem, SymmetricSuite(1, 1)).encode() + enc, context)
    request = example("request")
    assert sealer.head == example("info")[-7:] + example("enc")
    assert [sealer.seal(request[:12]), sealer.seal(request[12:]), sealer.finish()] == example("request_chunks")
    assert context.export(b"message/bhttp chunked response", 16) == example("response_secret")


def test_a_client_opens_the_drafts_answer():
    opener = ResponseOpener(example("enc"), SecretBytes(example("response_secret")))
    opened = opener.feed(example("response_nonce") + b"".join(example("response_chunks")))
    assert (opened, opener.end(), opener.finished) == (example("response"), b"", True)


def test_chunks_of_an_answer_are_sealed_with_the_base_nonce_xored_with_their_number():
    aead, base = AESGCM(example("response_key")), int.from_bytes(example("response_base_nonce"), "big")
    sealer = ResponseSealer(example("enc"), SecretBytes(example("response_secret")), nonce=example("response_nonce"))
    for number in range(300):
        sealed = aead.encrypt((base ^ number).to_bytes(12, "big"), b"chunk", b"")
        assert sealer.seal(b"chunk") == varint.encode(len(sealed)) + sealed
    assert sealer.finish(b"end") == b"\x00" + aead.encrypt((base ^ 300).to_bytes(12, "big"), b"end", b"final")


@pytest.mark.parametrize("kem", KEMS)
@pytest.mark.parametrize("size", [1, 63, 16_384, MAXIMUM_CHUNK])
def test_a_request_and_its_answer_pass_in_both_kems(kem, size):
    (sealer, opener), (answer_sealer, answer_opener) = exchange(kem)
    assert len(sealer.head) == head_size(parse_header(sealer.head)) == 7 + KEMS[kem].enc
    data = bytes(size)
    assert opener.feed(sealer.seal(data)) == data
    assert opener.feed(sealer.finish(data)) == b""
    assert not opener.finished
    assert (opener.end(), opener.finished) == (data, True)
    assert answer_opener.feed(answer_sealer.head + answer_sealer.seal(data)) == data
    answer_opener.feed(answer_sealer.finish())
    assert answer_opener.end() == b""


@both_ways
@pytest.mark.parametrize("size", [0, 1, 1000])
def test_a_message_without_its_final_chunk_is_truncated_however_whole_it_looks(direction, size):
    sealer, opener = way(direction)
    if size:
        opener.feed(sealer.seal(bytes(size)))
    with pytest.raises(Truncated) as caught:
        opener.end()
    assert (caught.value.retry, opener.finished) == (True, False)


@both_ways
def test_the_mark_of_the_final_chunk_alone_is_no_end(direction):
    sealer, opener = way(direction)
    opener.feed(sealer.seal(b"data") + b"\x00")
    with pytest.raises(Truncated):
        opener.end()


def test_an_answer_cut_in_its_nonce_is_truncated():
    _, (sealer, opener) = exchange()
    opener.feed(sealer.head[:15])
    with pytest.raises(Truncated):
        opener.end()


@both_ways
def test_a_chunk_is_not_the_final_one_because_someone_marks_it_so(direction):
    sealer, opener = way(direction)
    opener.feed(sealer.seal(b"first"))
    opener.feed(b"\x00" + sealer.seal(b"second")[1:])
    with pytest.raises(ChunkRefused):
        opener.end()


@both_ways
def test_the_final_chunk_is_not_taken_for_another(direction):
    sealer, opener = way(direction)
    first, last = sealer.seal(b"first"), sealer.finish(b"last")
    with pytest.raises(ChunkRefused):
        opener.feed(first + varint.encode(len(last) - 1) + last[1:])


@both_ways
def test_what_follows_the_final_chunk_makes_it_another(direction):
    sealer, opener = way(direction)
    opener.feed(sealer.seal(b"first") + sealer.finish(b"last") + b"\x00")
    with pytest.raises(ChunkRefused):
        opener.end()


@both_ways
def test_after_its_end_a_message_takes_nothing(direction):
    sealer, opener = way(direction)
    opener.feed(sealer.seal(b"first") + sealer.finish())
    opener.end()
    for again in (lambda: opener.feed(b"\x00"), opener.end):
        with pytest.raises(UsageError):
            again()


@both_ways
@pytest.mark.parametrize("order", [(1,), (0, 0), (0, 2), (1, 0)])
def test_dropped_repeated_and_moved_chunks_do_not_open(direction, order):
    sealer, opener = way(direction)
    chunks = [sealer.seal(bytes([number])) for number in range(3)]
    with pytest.raises((ChunkRefused, RequestRefused)):
        opener.feed(b"".join(chunks[number] for number in order))


@both_ways
@pytest.mark.parametrize("size", [1, 15, 16])
def test_an_empty_chunk_that_is_not_the_final_one_is_refused(direction, size):
    sealer, opener = way(direction)
    context = sealer._context
    empty = context.seal(b"", b"")[:size]
    with pytest.raises(OpenFailed, match="empty"):
        opener.feed(varint.encode(size) + empty)


@both_ways
def test_a_chunk_over_the_cap_is_refused_by_its_length_before_it_came(direction):
    _, opener = way(direction)
    with pytest.raises(TooLarge, match="65536"):
        opener.feed(varint.encode(MAXIMUM_CHUNK + 17))


@both_ways
def test_a_final_chunk_over_the_cap_is_not_gathered(direction):
    sealer, opener = way(direction)
    opener.feed(sealer.seal(b"data") + b"\x00" + bytes(MAXIMUM_CHUNK + 16))
    with pytest.raises(TooLarge):
        opener.feed(b"\x00")


@both_ways
def test_a_sealer_makes_no_chunk_that_an_opener_refuses(direction):
    sealer, _ = way(direction)
    for wrong in (lambda: sealer.seal(b""), lambda: sealer.seal(bytes(MAXIMUM_CHUNK + 1))):
        with pytest.raises(UsageError):
            wrong()
    with pytest.raises(UsageError):
        sealer.finish(bytes(MAXIMUM_CHUNK + 1))
    sealer.finish()
    for late in (lambda: sealer.seal(b"late"), sealer.finish):
        with pytest.raises(UsageError):
            late()


@both_ways
@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_length_may_be_longer_than_needed_and_the_final_mark_too(direction, width):
    sealer, opener = way(direction)

    def length(value):
        return (value | {1: 0, 2: 1, 4: 2, 8: 3}[width] << (8 * width - 2)).to_bytes(width, "big")

    chunk, last = sealer.seal(b"data"), sealer.finish(b"end")
    message = length(20) + chunk[1:] + length(0) + last[1:]
    assert b"".join(opener.feed(message[at : at + 1]) for at in range(len(message))) == b"data"
    assert opener.end() == b"end"


def test_the_first_chunk_that_does_not_open_is_a_key_problem_and_a_later_one_is_not():
    (sealer, opener), _ = exchange()
    _, config = gateway()
    stranger, _ = encapsulate(config)
    with pytest.raises(RequestRefused) as caught:
        opener.feed(stranger.seal(b"data"))
    assert isinstance(caught.value, KeyProblem)
    assert opener.feed(sealer.seal(b"data")) == b"data"
    with pytest.raises(ChunkRefused) as later:
        opener.feed(stranger.seal(b"data"))
    assert not isinstance(later.value, KeyProblem)


@pytest.mark.parametrize(
    ("refusal", "at"), [(UnknownKey, 0), (UnsupportedSuite, 1), (UnsupportedSuite, 4), (UnsupportedSuite, 6)]
)
def test_a_head_for_another_key_or_suite_is_a_key_problem(refusal, at):
    key, config = gateway(X_WING)
    head = bytearray(encapsulate(config)[0].head)
    head[at] ^= 1
    with pytest.raises(refusal):
        open_request(key, 3, bytes(head), nonce=NONCE)


def test_a_low_order_point_is_a_key_problem():
    key, config = gateway()
    head = encapsulate(config)[0].head
    with pytest.raises(RequestRefused):
        open_request(key, 3, head[:7] + bytes(32), nonce=NONCE)


@pytest.mark.parametrize("change", [lambda head: head[:-1], lambda head: head + b"\x00", lambda head: head[:6]])
def test_a_head_of_another_length_is_malformed(change):
    key, config = gateway()
    with pytest.raises(MalformedInput):
        open_request(key, 3, change(encapsulate(config)[0].head), nonce=NONCE)


def test_a_kem_that_is_not_ours_has_no_size():
    with pytest.raises(UnsupportedSuite):
        head_size(RequestHeader(1, 0x0010, SymmetricSuite(1, 1)))


@pytest.mark.parametrize("size", [12, 15, 17])
def test_a_response_nonce_of_another_length_is_refused(size):
    key, config = gateway()
    with pytest.raises(UsageError, match="16 bytes"):
        open_request(key, 3, encapsulate(config)[0].head, nonce=bytes(size))


def test_a_plain_request_does_not_open_as_a_chunked_one_nor_the_other_way():
    key, config = gateway()
    plain, _ = encapsulate_request(config, b"request")
    opener, _ = open_request(key, 3, plain[:39], nonce=NONCE)
    with pytest.raises(RequestRefused):
        opener.feed(varint.encode(len(plain) - 39) + plain[39:])
    sealer, _ = encapsulate(config)
    with pytest.raises(RequestRefused):
        decapsulate_request(key, 3, sealer.head + sealer.seal(b"request")[1:])


def test_an_answer_to_another_request_does_not_open():
    (_, _), (sealer, _) = exchange()
    (_, _), (_, opener) = exchange()
    with pytest.raises(ChunkRefused):
        opener.feed(sealer.head + sealer.seal(b"answer"))
