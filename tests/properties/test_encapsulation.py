"""Any bytes sent to a gateway or to a client are opened or refused by name."""

from hypothesis import given
from hypothesis import strategies as st

from cloister.crypto.hpke import KemPrivateKey, OpenFailed
from cloister.errors import MalformedInput
from cloister.formats.hpke_suite import X25519_HKDF_SHA256
from cloister.formats.key_config import KeyConfig
from cloister.ohttp.encapsulation import KeyProblem, decapsulate_request, encapsulate_request, parse_header

KEY = KemPrivateKey.generate(X25519_HKDF_SHA256)
CONFIG = KeyConfig(1, X25519_HKDF_SHA256, KEY.public)
HEADER = bytes.fromhex("01002000010001")


@given(st.one_of(st.binary(max_size=100), st.binary(max_size=100).map(HEADER.__add__)))
def test_any_bytes_are_refused_by_a_gateway(data):
    try:
        parse_header(data)
        decapsulate_request(KEY, 1, data)
    except (MalformedInput, KeyProblem):
        return
    raise AssertionError("bytes that nobody sealed were opened")


@given(st.binary(max_size=100))
def test_any_bytes_are_refused_by_a_client(data):
    _, opener = encapsulate_request(CONFIG, b"request")
    try:
        opener.open(data)
    except (MalformedInput, OpenFailed):
        return
    raise AssertionError("bytes that nobody sealed were opened")


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(min_size=16, max_size=16))
def test_every_request_and_answer_comes_back(request, response, nonce):
    sealed, opener = encapsulate_request(CONFIG, request)
    opened = decapsulate_request(KEY, 1, sealed)
    assert opened.request == request
    assert opener.open(opened.sealer.seal(response, nonce=nonce)) == response
