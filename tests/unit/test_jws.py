"""Compact JWS and JWK Sets: published vectors, another library's opinion, and what is refused by name."""

import json

import cryptography_vectors
import pytest
from joserfc import jws as other_jws
from joserfc import jwt as other_jwt
from joserfc.jwk import ECKey, KeySet

from cloister.crypto.es384 import Es384Key, check_es384
from cloister.crypto.jws import check_jws, sign_jws
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.attestation_result import TOKEN_TYPE, parse_attestation_result
from cloister.formats.jwk import encode_key_set, parse_key_set, thumbprint
from cloister.formats.jws import decode_base64url, encode_base64url, parse_jws
from cloister.formats.strict_json import parse_strict_json
from cloister.secret import SecretBytes
from cloister.testing.made_tokens import MadeVerifier, attestation_result
from cloister.testing.world import Node

HEADER = {"alg": "ES384", "typ": "eat+jwt", "kid": "k"}


def nist_cases():
    """The P-384 and SHA-384 cases of NIST's SigVer, FIPS 186-3."""
    with cryptography_vectors.open_vector_file("asymmetric/ECDSA/FIPS_186-3/SigVer.rsp", "r") as file:
        section = file.read().split("[P-384,SHA-384]")[1].split("[P-384,SHA-512]")[0]
    for block in section.strip().split("\n\n"):
        yield dict(line.split(" = ") for line in block.splitlines())


def token(header, payload=b"{}", signature=bytes(96)):
    return b".".join(encode_base64url(part) for part in (header, payload, signature))


def test_nists_cases_are_judged_as_nist_says():
    judged = []
    for case in nist_cases():
        public = bytes.fromhex(case["Qx"].zfill(96) + case["Qy"].zfill(96))
        signature = bytes.fromhex(case["R"].zfill(96) + case["S"].zfill(96))
        try:
            check_es384(public, signature, bytes.fromhex(case["Msg"]))
        except BadSignature:
            judged.append((case["Result"][0], "F"))
        else:
            judged.append((case["Result"][0], "P"))
    assert {said for said, _ in judged} == {"P", "F"}
    assert all(said == found for said, found in judged)


@pytest.mark.parametrize("part", [0, 2**384 - 1], ids=["zero", "over the order"])
def test_a_signature_with_an_impossible_part_does_not_hold(part):
    key = Es384Key.generate()
    good = key.sign(b"message")
    with pytest.raises(BadSignature):
        check_es384(key.public, part.to_bytes(48, "big") + good[48:], b"message")
    with pytest.raises(BadSignature):
        check_es384(key.public, good[:48] + part.to_bytes(48, "big"), b"message")


def test_a_signature_or_key_of_another_size_does_not_hold():
    key = Es384Key.generate()
    good = key.sign(b"message")
    for signature in (good[:48] + b"\0" + good[48:], good[:-1], b""):
        with pytest.raises(BadSignature, match="96"):
            check_es384(key.public, signature, b"message")
    with pytest.raises(BadSignature, match="96"):
        check_es384(key.public[:-1], good, b"message")


def test_a_point_that_is_not_on_the_curve_is_no_key():
    with pytest.raises(BadSignature):
        check_es384(bytes(96), bytes(96), b"message")


def test_a_key_survives_its_file_format_and_no_other_curve_does():
    key = Es384Key.generate()
    assert Es384Key.from_der(key.to_der()).public == key.public
    other = SecretBytes(ECKey.generate_key("P-256", auto_kid=False).as_der(private=True))
    with pytest.raises(MalformedInput, match="P-384"):
        Es384Key.from_der(other)
    with pytest.raises(MalformedInput, match="PKCS"):
        Es384Key.from_der(SecretBytes(b"no key"))


def test_another_library_takes_our_tokens_by_our_key_set():
    verifier = MadeVerifier()
    result = attestation_result(Node().sign)
    keys = KeySet.import_key_set(json.loads(verifier.key_set))
    read = other_jwt.decode(verifier.token(result).decode(), keys, algorithms=["ES384"])
    assert read.header["typ"] == TOKEN_TYPE
    assert read.claims["cnf"]["jwk"]["crv"] == "Ed25519"
    assert read.claims["submods"]["gpu0"]["ear_status"] == "affirming"
    assert keys.keys[0].thumbprint() == thumbprint(verifier.key.public)


def test_we_take_another_librarys_tokens():
    key = ECKey.generate_key("P-384", parameters={"alg": "ES384", "use": "sig"}, auto_kid=True)
    payload = MadeVerifier().token(attestation_result(Node().sign)).split(b".")[1]
    header = {"alg": "ES384", "typ": TOKEN_TYPE, "kid": key.kid}
    theirs = other_jws.serialize_compact(header, decode_base64url(payload), key, algorithms=["ES384"])
    taken = parse_jws(theirs.encode())
    check_jws(taken, parse_key_set(json.dumps(KeySet([key]).as_dict(private=False)).encode()))
    parse_attestation_result(taken.payload)


def test_a_token_comes_back_as_it_was_signed():
    key = Es384Key.generate()
    read = parse_jws(sign_jws(key, b"payload", typ="t"))
    assert (read.payload, read.header.typ, read.header.kid) == (b"payload", "t", thumbprint(key.public))
    check_jws(read, parse_key_set(encode_key_set([key.public])))


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (b'{"alg":"ES384","typ":"t","kid":"k","crit":["exp"]}', "crit"),
        (b'{"alg":"ES384","typ":"t","kid":"k","b64":false}', "b64"),
        (b'{"alg":"ES384","typ":"t","kid":"k","x5c":[]}', "x5c"),
        (b'{"alg":"ES384","alg":"none","typ":"t","kid":"k"}', "twice"),
        (b'{"alg":"ES384","typ":"t"}', "kid"),
        (b'{"alg":"ES384","typ":1,"kid":"k"}', "typ"),
        (b'["alg"]', "alg"),
        (b"{", "JSON"),
        (b'{"alg":"ES384","typ":"t","kid":"k"}\xff', "JSON"),
    ],
    ids=["crit", "b64", "x5c", "a member twice", "no kid", "typ no text", "a list", "cut off", "not UTF-8"],
)
def test_a_header_of_anything_else_is_refused(header, says):
    with pytest.raises(MalformedInput, match=says):
        parse_jws(token(header))


@pytest.mark.parametrize(
    "text",
    [b"", b"a.b", b"a.b.c.d", b"e30=.e30.", b"e3\n0.e30.", b"e31.e30.", b"e.e30.", b"+/.e30."],
    ids=["nothing", "two parts", "four parts", "padding", "a newline", "bits left over", "no length", "other alphabet"],
)
def test_another_spelling_is_refused(text):
    with pytest.raises(MalformedInput):
        parse_jws(text)


def test_caps_come_before_work():
    with pytest.raises(TooLarge):
        parse_jws(bytes(65_537))
    with pytest.raises(TooLarge):
        parse_jws(token(b'{"alg":"' + b"x" * 1024 + b'"}'))
    with pytest.raises(TooLarge):
        parse_key_set(bytes(65_537))


@pytest.mark.parametrize("text", [b"1.0", b"1e2", b"NaN", b"-Infinity", b"[" * 100_000, b"1" * 5000, b'"\xed\xa0\x80"'])
def test_json_that_readers_differ_over_is_refused(text):
    with pytest.raises(MalformedInput):
        parse_strict_json(text, limit=200_000)


def key_member(**changes):
    return json.loads(encode_key_set([Es384Key.generate().public]))["keys"][0] | changes


def key_set(*members):
    return json.dumps({"keys": members}).encode()


def test_keys_of_other_kinds_are_passed_over():
    ours = key_member()
    others = [key_member(kty="OKP"), key_member(crv="P-256"), key_member(alg="ES256"), key_member(use="enc")]
    assert list(parse_key_set(key_set(*others, ours))) == [ours["kid"]]


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([key_member(d="x")], "private"),
        ([key_member(kty="oct", k="x")], "private"),
        ([key_member(kid="a"), key_member(kid="a")], "one kid"),
        ([key_member(x="short")], "P-384"),
        ([key_member(x="!" * 64)], "P-384"),
        (["text"], "object"),
    ],
    ids=["a private key", "a secret", "one name twice", "short", "not base64url", "no object"],
)
def test_a_key_set_that_cannot_be_meant_is_refused(members, says):
    with pytest.raises(MalformedInput, match=says):
        parse_key_set(key_set(*members))


@pytest.mark.parametrize("text", [b"[]", b"{}", b'{"keys":{}}'])
def test_what_is_no_key_set_is_refused(text):
    with pytest.raises(MalformedInput, match="JWK Set"):
        parse_key_set(text)
