"""Encapsulation against RFC 9458's complete example, and every way in which a request or answer does not open."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from cloister.crypto.hpke import KemPrivateKey, OpenFailed, SenderContext
from cloister.crypto.kem import encapsulate_with
from cloister.errors import MalformedInput, UsageError
from cloister.formats import key_config
from cloister.formats.hpke_suite import KEMS, X25519_HKDF_SHA256, X_WING, SymmetricSuite
from cloister.formats.key_config import KeyConfig
from cloister.ohttp.encapsulation import (
    PROBLEM_TYPE,
    KeyProblem,
    RequestHeader,
    RequestRefused,
    ResponseOpener,
    ResponseSealer,
    UnknownKey,
    UnsupportedSuite,
    decapsulate_request,
    encapsulate_request,
    parse_header,
)
from cloister.secret import SecretBytes

EXAMPLE = {
    name: bytes.fromhex(value)
    for name, value in json.loads((Path(__file__).parents[1] / "vectors" / "rfc9458.json").read_text()).items()
    if name != "source"
}
NONCE = bytes(range(16))


def gateway(kem=X_WING, key_id=3):
    key = KemPrivateKey.generate(kem)
    return key, KeyConfig(key_id, kem, key.public)


def test_a_gateway_opens_the_rfcs_request_and_gives_the_rfcs_answer():
    key = KemPrivateKey.from_bytes(X25519_HKDF_SHA256, SecretBytes(EXAMPLE["secret_key"]))
    assert parse_header(EXAMPLE["encapsulated_request"]) == RequestHeader(1, 0x0020, SymmetricSuite(1, 1))
    request, enc, sealer = decapsulate_request(key, 1, EXAMPLE["encapsulated_request"])
    assert (request, enc) == (EXAMPLE["request"], EXAMPLE["enc"])
    answer = sealer.seal(EXAMPLE["response"], nonce=EXAMPLE["response_nonce"])
    assert answer == EXAMPLE["encapsulated_response"]


def test_the_rfcs_ephemeral_key_gives_the_rfcs_request_and_response_secret():
    config = key_config.decode(EXAMPLE["key_config"])
    ephemeral = X25519PrivateKey.from_private_bytes(EXAMPLE["ephemeral_secret_key"])
    shared_secret, enc = encapsulate_with(ephemeral, config.kem, config.public)
    context = SenderContext(config.kem, shared_secret, EXAMPLE["info"])
    header = RequestHeader(1, config.kem, SymmetricSuite(1, 1)).encode()
    assert header + enc + context.seal(b"", EXAMPLE["request"]) == EXAMPLE["encapsulated_request"]
    assert context.export(b"message/bhttp response", 16) == EXAMPLE["response_secret"]


def test_a_client_opens_the_rfcs_answer_and_a_gateway_seals_it():
    secret = SecretBytes(EXAMPLE["response_secret"])
    assert ResponseOpener(EXAMPLE["enc"], secret).open(EXAMPLE["encapsulated_response"]) == EXAMPLE["response"]
    sealed = ResponseSealer(EXAMPLE["enc"], secret).seal(EXAMPLE["response"], nonce=EXAMPLE["response_nonce"])
    assert sealed == EXAMPLE["encapsulated_response"]


@pytest.mark.parametrize("kem", KEMS)
@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_a_request_and_its_answer_pass_in_both_kems(kem, size):
    key, config = gateway(kem)
    sealed, opener = encapsulate_request(config, bytes(size))
    assert len(sealed) == 7 + KEMS[kem].enc + size + 16
    request, enc, sealer = decapsulate_request(key, 3, sealed)
    assert (request, enc) == (bytes(size), sealed[7 : -16 - size])
    answer = sealer.seal(b"answer", nonce=NONCE)
    assert (len(answer), opener.open(answer)) == (16 + 6 + 16, b"answer")


def test_two_requests_of_the_same_bytes_have_nothing_in_common():
    _, config = gateway()
    first, second = encapsulate_request(config, b"same")[0], encapsulate_request(config, b"same")[0]
    assert first[:7] == second[:7]
    assert first[7:1127] != second[7:1127]
    assert first[1127:] != second[1127:]


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("refusal", "at"),
    [
        (UnknownKey, 0),
        (UnsupportedSuite, 1),
        (UnsupportedSuite, 2),
        (UnsupportedSuite, 4),
        (UnsupportedSuite, 6),
        (RequestRefused, 7),
        (RequestRefused, 1100),
        (RequestRefused, 1127),
        (RequestRefused, -1),
    ],
)
def test_one_altered_bit_of_a_request_is_refused_as_a_key_problem(refusal, at):
    key, config = gateway()
    sealed, _ = encapsulate_request(config, b"request")
    at %= len(sealed)
    with pytest.raises(refusal) as caught:
        decapsulate_request(key, 3, flipped(sealed, at))
    assert isinstance(caught.value, KeyProblem)
    assert (caught.value.problem_type, caught.value.status) == (PROBLEM_TYPE, 400)


def test_a_request_to_another_key_of_the_same_id_is_refused():
    _, config = gateway()
    sealed, _ = encapsulate_request(config, b"request")
    with pytest.raises(RequestRefused):
        decapsulate_request(gateway()[0], 3, sealed)


def test_a_low_order_point_in_a_request_is_refused_as_a_key_problem():
    key, config = gateway(X25519_HKDF_SHA256)
    sealed, _ = encapsulate_request(config, b"request")
    with pytest.raises(RequestRefused):
        decapsulate_request(key, 3, sealed[:7] + bytes(32) + sealed[39:])


@pytest.mark.parametrize("size", [0, 6, 7, 1126, 1127, 1142])
def test_a_request_that_is_too_short_is_malformed(size):
    key, config = gateway()
    sealed, _ = encapsulate_request(config, b"")
    assert len(sealed) == 1143
    with pytest.raises(MalformedInput):
        decapsulate_request(key, 3, sealed[:size])


@pytest.mark.parametrize("at", [0, 15, 16, -1])
def test_an_altered_answer_is_refused(at):
    key, config = gateway()
    sealed, opener = encapsulate_request(config, b"request")
    answer = decapsulate_request(key, 3, sealed).sealer.seal(b"answer", nonce=NONCE)
    with pytest.raises(OpenFailed):
        opener.open(flipped(answer, at % len(answer)))


def test_an_answer_to_another_request_is_refused():
    key, config = gateway()
    _, opener = encapsulate_request(config, b"request")
    other, _ = encapsulate_request(config, b"request")
    with pytest.raises(OpenFailed):
        opener.open(decapsulate_request(key, 3, other).sealer.seal(b"answer", nonce=NONCE))


@pytest.mark.parametrize("size", [0, 16, 31])
def test_an_answer_that_is_too_short_is_malformed(size):
    _, opener = encapsulate_request(gateway()[1], b"request")
    with pytest.raises(MalformedInput):
        opener.open(bytes(size))


@pytest.mark.parametrize("nonce", [b"", bytes(12), bytes(17)])
def test_a_response_nonce_of_another_length_is_refused(nonce):
    key, config = gateway()
    sealer = decapsulate_request(key, 3, encapsulate_request(config, b"")[0]).sealer
    with pytest.raises(UsageError, match="16 bytes"):
        sealer.seal(b"answer", nonce=nonce)


def test_a_configuration_without_our_suite_is_not_encapsulated_to():
    _, config = gateway()
    with pytest.raises(UnsupportedSuite):
        encapsulate_request(replace(config, suites=(SymmetricSuite(1, 3),)), b"request")
