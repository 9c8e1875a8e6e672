"""RS256: NIST's vectors, another library's opinion, and the keys that are not taken."""

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws as other_jws
from joserfc.jwk import RSAKey

from cloister.crypto.rs256 import check_rs256
from cloister.crypto.signing import BadSignature
from cloister.formats.jwt import parse_jwt
from cloister.testing.rsa_keys import made_rsa_key

KEY = made_rsa_key("rs256")


def der(key):
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def nist_cases():
    """The SHA-256 cases of NIST's SigVer15, FIPS 186-3, of keys that are taken: modulus, exponent, and the case."""
    with cryptography_vectors.open_vector_file("asymmetric/RSA/FIPS_186-2/SigVer15_186-3.rsp", "r") as file:
        lines = [line.strip() for line in file if " = " in line]
    case: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(" = ")
        case[name] = value
        if name == "Result" and case["SHAAlg"] == "SHA256" and len(case["n"]) >= 512 and int(case["e"], 16) == 65537:
            yield dict(case)


def test_nists_cases_are_judged_as_nist_says():
    judged = []
    for case in nist_cases():
        numbers = rsa.RSAPublicNumbers(int(case["e"], 16), int(case["n"], 16))
        public = numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        try:
            check_rs256(public, bytes.fromhex(case["S"]), bytes.fromhex(case["Msg"]))
        except BadSignature:
            judged.append((case["Result"][0], "F"))
        else:
            judged.append((case["Result"][0], "P"))
    assert {said for said, _ in judged} == {"P", "F"}
    assert all(said == found for said, found in judged)


def test_another_librarys_token_is_taken():
    token = other_jws.serialize_compact({"alg": "RS256"}, b"{}", RSAKey.import_key(KEY), algorithms=["RS256"])
    jwt = parse_jwt(token.encode())
    check_rs256(der(KEY), jwt.signature, jwt.signed)
    with pytest.raises(BadSignature, match="does not hold"):
        check_rs256(der(KEY), jwt.signature, jwt.signed + b"x")


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(lambda: der(rsa.generate_private_key(65537, 1024)), id="too short"),
        pytest.param(lambda: der(rsa.generate_private_key(3, 2048)), id="another exponent"),
        pytest.param(lambda: der(ec.generate_private_key(ec.SECP384R1())), id="another kind"),
        pytest.param(lambda: b"key", id="no key"),
        pytest.param(lambda: der(KEY) + b"x", id="more behind it"),
    ],
)
def test_a_key_that_is_not_rsas_of_a_good_size_is_not_taken(key):
    signature = KEY.sign(b"message", PKCS1v15(), hashes.SHA256())
    with pytest.raises(BadSignature):
        check_rs256(key(), signature, b"message")
