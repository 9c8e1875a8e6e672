"""Records, names and certificates of identities: what is allowed comes back as it was, and no flipped bit is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doubles.identity_records import (
    IDENTITY_SAMPLES,
    NAME,
    read_any_authority,
    sample_authority,
    sample_identity,
)
from tests.doubles.records import records

from cloister.contract.identity_certificate import check_issued_by, read_identity
from cloister.crypto.p256 import P256Key, check_p256_signature
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.spiffe import SpiffeName

AUTHORITY, IDENTITY = sample_authority(), sample_identity()


def named(parse):
    return parse.__name__


@pytest.mark.parametrize("parse", IDENTITY_SAMPLES, ids=named)
@settings(max_examples=20)
@given(data=st.data())
def test_what_its_types_allow_comes_back_as_it_was(parse, data):
    record = data.draw(records(type(IDENTITY_SAMPLES[parse])))
    assert parse(canonical.encode(record)) == record


@pytest.mark.parametrize("parse", IDENTITY_SAMPLES, ids=named)
@settings(max_examples=40)
@given(data=st.data())
def test_a_flipped_bit_is_refused_or_read_as_something_else(parse, data):
    try:
        read = parse(flipped(canonical.encode(IDENTITY_SAMPLES[parse]), data))
    except (MalformedInput, TooLarge):
        return
    assert read != IDENTITY_SAMPLES[parse]


def flipped(whole, data):
    changed = bytearray(whole)
    bit = data.draw(st.integers(0, 8 * len(changed) - 1))
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@settings(max_examples=100)
@given(data=st.data())
def test_a_certificate_with_a_flipped_bit_is_nobodys(data):
    issuer = read_any_authority(AUTHORITY)
    with pytest.raises((MalformedInput, TooLarge, BadSignature)):
        check_issued_by(read_identity(flipped(IDENTITY, data)).certificate, issuer.certificate)


@settings(max_examples=100)
@given(data=st.data())
def test_an_authority_with_a_flipped_bit_is_none(data):
    with pytest.raises((MalformedInput, TooLarge)):
        read_any_authority(flipped(AUTHORITY, data))


@given(st.binary(max_size=2000))
def test_bytes_are_a_certificate_or_malformed(data):
    with pytest.raises((MalformedInput, TooLarge)):
        read_identity(data)


@given(
    line=st.binary(min_size=32, max_size=32),
    contract=st.integers(0, 10**15),
    role=st.sampled_from(["kms", "gateway", "service"]),
    node=st.binary(min_size=32, max_size=32),
)
def test_a_name_comes_back_as_it_was(line, contract, role, node):
    name = SpiffeName(line, contract, role, node)
    assert SpiffeName.parse(str(name)) == name
    assert name.host == f"{role}.{str(name).split('/')[2]}"


@given(st.text(max_size=200))
def test_any_other_text_is_no_name(text):
    with pytest.raises(MalformedInput):
        SpiffeName.parse(text)


@pytest.mark.parametrize(
    "change",
    [
        lambda name: name.replace("/0/", "/00/"),
        lambda name: name.replace("gateway", "admin"),
        lambda name: name.upper(),
        lambda name: name + "/",
        lambda name: name.replace("contract.internal", "contract.example"),
        lambda name: name.replace("spiffe://", "spiffe://user@"),
        lambda name: name + "?x",
        lambda name: name[:-1] + "\n",
    ],
    ids=["a zero before", "a role", "case", "a slash", "another suffix", "a user", "a query", "a line's end"],
)
def test_a_second_spelling_of_a_name_is_refused(change):
    with pytest.raises(MalformedInput):
        SpiffeName.parse(change(str(NAME)))


@given(seed=st.binary(min_size=40, max_size=40), message=st.binary(max_size=100))
@settings(max_examples=20)
def test_a_key_of_a_seed_signs_and_is_always_the_same(seed, message):
    key = P256Key.from_seed(seed)
    assert key.public == P256Key.from_seed(seed).public
    check_p256_signature(key.public, key.sign(message), message)
    with pytest.raises(BadSignature):
        check_p256_signature(key.public, key.sign(message + b"x"), message)


def test_the_number_of_a_key_is_never_zero_nor_the_order():
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    first = P256Key.from_seed(bytes(40)).private.private_numbers().private_value
    wraps = P256Key.from_seed((order - 1).to_bytes(40, "big")).private.private_numbers().private_value
    last = P256Key.from_seed((order - 2).to_bytes(40, "big")).private.private_numbers().private_value
    assert (first, wraps, last) == (1, 1, order - 1)
