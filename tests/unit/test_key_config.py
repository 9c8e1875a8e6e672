"""Key configurations against RFC 9458's example, and what a list does with algorithms that are not ours."""

import json
from pathlib import Path

import pytest

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import key_config
from cloister.formats.hpke_suite import X25519_HKDF_SHA256, X_WING, SymmetricSuite
from cloister.formats.key_config import KeyConfig

EXAMPLE = json.loads((Path(__file__).parents[1] / "vectors" / "rfc9458.json").read_text())
ENCODED = bytes.fromhex(EXAMPLE["key_config"])
HYBRID = KeyConfig(7, X_WING, bytes(1216))


def listed(*configs):
    return b"".join(len(config).to_bytes(2, "big") + config for config in configs)


def test_the_rfcs_configuration_is_read_and_written():
    config = key_config.decode(ENCODED)
    assert (config.key_id, config.kem, config.public) == (1, X25519_HKDF_SHA256, ENCODED[3:35])
    assert config.suites == (SymmetricSuite(1, 1), SymmetricSuite(1, 3))
    assert key_config.encode(config) == ENCODED


def test_a_hybrid_configuration_has_1225_bytes_and_comes_back():
    encoded = key_config.encode(HYBRID)
    assert len(encoded) == 1225
    assert key_config.decode(encoded) == HYBRID


def test_a_list_comes_back_in_its_order():
    configs = (HYBRID, key_config.decode(ENCODED))
    assert key_config.decode_list(key_config.encode_list(configs)) == configs
    assert key_config.decode_list(b"") == ()


def test_a_list_skips_kems_that_are_not_ours_by_their_length():
    unknown = b"\x01\x00\x10" + bytes(75)
    assert key_config.decode_list(listed(unknown, ENCODED, unknown)) == (key_config.decode(ENCODED),)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x01", ENCODED[:-1], ENCODED + b"\0", ENCODED[:35], ENCODED[:36], b"\x01\x00\x10" + bytes(75)],
    ids=["nothing", "a key id", "cut short", "too long", "no suites' length", "half of it", "another KEM"],
)
def test_what_is_not_one_whole_configuration_is_refused(data):
    with pytest.raises(MalformedInput):
        key_config.decode(data)


@pytest.mark.parametrize("suites", [b"", b"\0\1", b"\0\1\0\1\0\1"], ids=["none", "half of one", "one and a half"])
def test_suites_that_are_not_whole_are_refused(suites):
    with pytest.raises(MalformedInput):
        key_config.decode(ENCODED[:35] + len(suites).to_bytes(2, "big") + suites)


@pytest.mark.parametrize(
    "data",
    [b"\0", listed(b""), listed(b"\1\0"), listed(ENCODED)[:-1], listed(ENCODED + b"\0"), listed(ENCODED) + b"\0"],
)
def test_a_list_that_is_cut_short_or_holds_a_malformed_configuration_of_our_kems_is_refused(data):
    with pytest.raises(MalformedInput):
        key_config.decode_list(data)


def test_a_list_over_its_cap_is_refused_before_it_is_parsed():
    with pytest.raises(TooLarge, match="65536"):
        key_config.decode_list(bytes(key_config.MAXIMUM_LIST + 1))


@pytest.mark.parametrize(
    "change",
    [
        {"key_id": -1},
        {"key_id": 256},
        {"kem": 0x0010},
        {"public": bytes(31)},
        {"suites": ()},
        {"suites": (SymmetricSuite(1, 65_536),)},
        {"suites": (SymmetricSuite(-1, 1),)},
        {"suites": (SymmetricSuite(1, 1),) * 16_384},
    ],
)
def test_a_configuration_that_has_no_encoding_cannot_be_made(change):
    with pytest.raises(MalformedInput):
        KeyConfig(**{"key_id": 1, "kem": X25519_HKDF_SHA256, "public": bytes(32), **change})
