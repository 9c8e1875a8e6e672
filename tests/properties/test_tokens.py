"""Any bytes to the parsers of tokens either parse or raise MalformedInput or TooLarge."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.attest.claims import token_claims
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.attestation_result import encode_attestation_result, parse_attestation_result
from cloister.formats.azure_token import read_azure_token
from cloister.formats.confidential_space_token import read_confidential_space_token
from cloister.formats.jwk import parse_key_set
from cloister.formats.jws import decode_base64url, encode_base64url, parse_jws
from cloister.formats.jwt import parse_jwt, parse_jwt_members
from cloister.formats.named_token import parse_named_token
from cloister.formats.strict_json import parse_strict_json
from cloister.formats.trustworthiness import tier, worst
from cloister.testing.made_tokens import attestation_result
from cloister.testing.made_verifiers import confidential_space_claims, snp_guest_claims, trust_domain_claims
from cloister.testing.world import Node

CLAIMS = json.loads(encode_attestation_result(attestation_result(Node().sign)))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def azure_token(data):
    return read_azure_token(parse_jwt_members(data))


def confidential_space_token(data):
    return read_confidential_space_token(parse_jwt_members(data))


def claims_of_a_token(data):
    return token_claims(parse_jwt_members(data))


PARSERS = [parse_attestation_result, parse_jws, parse_key_set, parse_jwt, parse_named_token]
PARSERS += [azure_token, confidential_space_token, claims_of_a_token]


@pytest.mark.parametrize("parse", PARSERS, ids=lambda one: one.__name__)
@given(data=st.binary(max_size=200) | values.map(json.dumps).map(str.encode))
def test_any_bytes_either_parse_or_are_malformed(parse, data):
    try:
        parse(data)
    except (MalformedInput, TooLarge):
        return


@given(name=st.sampled_from(sorted(CLAIMS)), value=values)
def test_any_value_of_a_claim_either_parses_or_is_malformed(name, value):
    try:
        result = parse_attestation_result(json.dumps(CLAIMS | {name: value}).encode())
    except MalformedInput:
        return
    assert parse_attestation_result(encode_attestation_result(result)) == result


MADE = {
    azure_token: [snp_guest_claims(bytes(64)), trust_domain_claims(bytes(64))],
    confidential_space_token: [confidential_space_claims("00" * 32)],
}


@pytest.mark.parametrize("parse", MADE, ids=lambda one: one.__name__)
@given(data=st.data())
def test_any_value_of_another_makers_claim_either_parses_or_is_malformed(parse, data):
    claims = data.draw(st.sampled_from(MADE[parse]))
    name, value = data.draw(st.sampled_from(sorted(claims))), data.draw(values)
    for changed in (claims | {name: value}, {key: one for key, one in claims.items() if key != name}):
        try:
            parse(json.dumps(changed).encode())
            claims_of_a_token(json.dumps(changed).encode())
        except MalformedInput:
            continue


@pytest.mark.parametrize("header", [{}, {"alg": 1}, {"alg": "RS256", "x5c": "AA=="}, {"alg": "RS256", "x5c": ["AB=="]}])
def test_a_header_of_another_form_is_malformed(header):
    token = b".".join(encode_base64url(one) for one in (json.dumps(header).encode(), b"{}", b"s"))
    with pytest.raises(MalformedInput):
        parse_jwt(token)


def test_claims_nested_too_deep_are_malformed():
    with pytest.raises(MalformedInput, match="deeper than 8"):
        claims_of_a_token(b'{"a":' * 300 + b"1" + b"}" * 300)


@given(name=st.text(min_size=1, max_size=12).filter(lambda name: name not in CLAIMS), value=values)
def test_no_claim_is_added(name, value):
    with pytest.raises(MalformedInput):
        parse_attestation_result(json.dumps(CLAIMS | {name: value}).encode())


@given(st.sampled_from(sorted(CLAIMS)))
def test_no_claim_is_left_out(name):
    with pytest.raises(MalformedInput, match=name):
        parse_attestation_result(json.dumps({key: value for key, value in CLAIMS.items() if key != name}).encode())


@given(st.binary(max_size=60))
def test_base64url_has_one_spelling(data):
    text = encode_base64url(data)
    assert decode_base64url(text) == data
    for tail in range(256):
        other = text[:-1] + bytes([tail])
        if other == text:
            continue
        try:
            assert decode_base64url(other) != data
        except MalformedInput:
            continue


@given(st.text(max_size=6), values, values)
def test_a_member_that_comes_twice_is_refused_wherever_it_is(name, first, second):
    text = f"[{{{json.dumps(name)}: {json.dumps(first)}, {json.dumps(name)}: {json.dumps(second)}}}]"
    with pytest.raises(MalformedInput):
        parse_strict_json(text.encode(), limit=10_000)


def test_the_tiers_are_those_of_the_draft():
    ranges = {
        "none": [range(-1, 2)],
        "affirming": [range(2, 32), range(-32, -1)],
        "warning": [range(32, 96), range(-96, -32)],
        "contraindicated": [range(96, 128), range(-128, -96)],
    }
    found = {value: tier(value) for value in range(-128, 128)}
    assert found == {value: name for name, parts in ranges.items() for part in parts for value in part}


@given(st.lists(st.sampled_from(["none", "affirming", "warning", "contraindicated"]), max_size=5))
def test_the_worst_tier_is_the_last_in_the_drafts_order(tiers):
    order = ["none", "affirming", "warning", "contraindicated"]
    assert worst(tiers) == max(tiers, key=order.index, default="none")
