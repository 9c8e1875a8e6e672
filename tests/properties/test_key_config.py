"""Any bytes are key configurations or a named refusal; any configuration comes back."""

from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import key_config
from cloister.formats.hpke_suite import X25519_HKDF_SHA256, X_WING, SymmetricSuite
from cloister.formats.key_config import KeyConfig

numbers = st.integers(0, 65_535)
suites = st.lists(st.builds(SymmetricSuite, numbers, numbers), min_size=1, max_size=4).map(tuple)
ids = st.integers(0, 255)
configs = st.one_of(
    st.builds(KeyConfig, ids, st.just(X25519_HKDF_SHA256), st.binary(min_size=32, max_size=32), suites),
    st.builds(KeyConfig, ids, st.just(X_WING), st.binary(min_size=8, max_size=8).map(lambda part: part * 152), suites),
)


@given(st.lists(configs, max_size=4).map(tuple))
def test_every_list_of_configurations_comes_back(several):
    assert key_config.decode_list(key_config.encode_list(several)) == several
    assert tuple(key_config.decode(key_config.encode(one)) for one in several) == several


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(lambda tail: b"\x01\x00\x20" + tail)))
def test_any_bytes_are_a_configuration_or_malformed(data):
    try:
        config = key_config.decode(data)
    except MalformedInput:
        return
    assert key_config.encode(config) == data


@given(st.binary(max_size=200))
def test_any_bytes_are_a_list_of_configurations_or_a_named_refusal(data):
    try:
        several = key_config.decode_list(data)
    except (MalformedInput, TooLarge):
        return
    assert key_config.decode_list(key_config.encode_list(several)) == several
