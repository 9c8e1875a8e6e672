"""HKDF-SHA256 against RFC 5869 appendix A, as published in the package cryptography_vectors."""

import cryptography_vectors
import pytest

from cloister.crypto import hkdf
from cloister.errors import UsageError


def cases():
    with cryptography_vectors.open_vector_file("KDF/rfc-5869-HKDF-SHA256.txt", "r") as file:
        lines = [line.partition(" = ") for line in file if " =" in line]
    case: dict[str, str] = {}
    for name, _, value in lines:
        case[name.strip(" =\n")] = value.strip()
        if name.startswith("OKM"):
            yield pytest.param(dict(case), id=f"A.{case['COUNT']}")
            case.clear()


@pytest.mark.parametrize("case", list(cases()))
def test_extract_and_expand_give_the_published_bytes(case):
    prk = hkdf.extract(bytes.fromhex(case.get("salt", "")), bytes.fromhex(case["IKM"]))
    assert prk.hex() == case["PRK"]
    assert hkdf.expand(prk, bytes.fromhex(case.get("info", "")), int(case["L"])).hex() == case["OKM"]


def test_blocks_are_the_beginnings_of_what_expand_gives():
    prk, infos = hkdf.extract(b"salt", b"keying material"), (b"", b"one", b"another" * 20)
    assert hkdf.blocks(prk, infos) == [hkdf.expand(prk, info, 32) for info in infos]


def test_every_published_case_was_read():
    assert len(list(cases())) == 3


@pytest.mark.parametrize("length", [-1, hkdf.LIMIT + 1])
def test_a_length_that_one_key_does_not_expand_to_is_refused(length):
    with pytest.raises(UsageError, match="0 to 8160"):
        hkdf.expand(bytes(32), b"", length)
