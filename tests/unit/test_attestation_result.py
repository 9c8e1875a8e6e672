"""What an attestation result cannot say, however well it is signed."""

import json

import pytest

from cloister.crypto.signing import SigningKey
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.attestation_result import encode_attestation_result, parse_attestation_result
from cloister.formats.jws import encode_base64url
from cloister.testing.made_tokens import attestation_result

GOOD = json.loads(encode_attestation_result(attestation_result(SigningKey.generate())))


def changed(path, value):
    claims = json.loads(json.dumps(GOOD))
    *way, last = path.split("/")
    inner = claims
    for name in way:
        inner = inner[name]
    inner[last] = value
    return json.dumps(claims).encode()


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("eat_nonce", "c2hvcnQ", "8 to 64 bytes"),
        ("eat_nonce", "A" * 88, "8 to 64 bytes"),
        ("eat_nonce", "AAAAAAAAAAB", "bits left over"),
        ("cnf/jwk/x", "AAAA", "32 bytes"),
        ("cnf/jwk/crv", "P-256", "crv"),
        ("cnf/jwk/d", "AAAA", "d"),
        ("submods", {}, "submods"),
        ("submods", {"gpu0": GOOD["submods"]["gpu0"]}, "no submodule cpu"),
        ("submods/cpu/ear_trustworthiness_vector/hardware", 128, "hardware"),
        ("submods/cpu/ear_appraisal_policy_ids", [], "ear_appraisal_policy_ids"),
        ("submods/cpu/ear_appraisal_policy_ids", ["gateways"], "ear_appraisal_policy_ids"),
        ("ear_status", "warning", "worst submodule"),
        ("ear_status", "good", "ear_status"),
        ("iat", 1.5, "whole"),
        ("iat", True, "iat"),
        ("aud", "https://rp.test\n", "aud"),
        ("cloister/version", 2, "version"),
        ("cloister/role", "clerk", "role"),
        ("cloister/unsafe/UnsafeAllowAnything", True, "UnsafeAllowAnything"),
        ("cloister/workload", "00" * 32, "workload"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 and value.isprintable() else "",
)
def test_a_claim_of_another_form_is_named(path, value, says):
    with pytest.raises(MalformedInput, match=says):
        parse_attestation_result(changed(path, value))


@pytest.mark.parametrize("size", [8, 64])
def test_a_nonce_has_8_to_64_bytes(size):
    nonce = encode_base64url(bytes(range(size)))
    assert parse_attestation_result(changed("eat_nonce", nonce.decode())).nonce == bytes(range(size))


def test_the_good_one_parses():
    assert (
        encode_attestation_result(parse_attestation_result(json.dumps(GOOD).encode()))
        == json.dumps(GOOD, separators=(",", ":")).encode()
    )


def test_a_cap_comes_before_work():
    with pytest.raises(TooLarge):
        parse_attestation_result(b" " * 32_769)
