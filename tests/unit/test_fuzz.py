"""The fuzzer starts from messages that are valid, and finds what it looks for."""

import json
import random

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree
from tests.fuzz.parsers import fuzz, mutate, targets
from tests.fuzz.structures import der_values, restructured

from cloister.testing.certificates import Authority, Life


@pytest.mark.parametrize(("name", "target"), targets().items())
def test_every_parser_takes_its_seeds_and_no_mutant_escapes(name, target):
    parse, seeds = target
    inputs, parsed = fuzz(name, parse, seeds, seconds=0.05, chance=random.Random(1))
    assert inputs > parsed


def test_a_parser_that_raises_anything_else_is_a_find(capsys):
    def careless(data):
        return data if data == b"seed" else data[100]

    with pytest.raises(IndexError):
        fuzz("careless", careless, [b"seed"], seconds=1, chance=random.Random(1))
    assert "careless: found with" in capsys.readouterr().err


def test_mutants_of_nothing_are_made_too():
    assert {mutate(b"", random.Random(seed)) for seed in range(20)} != {b""}


PEM = b"".join(b"-----BEGIN X-----\n%d\n-----END X-----\n" % number for number in range(3))
MADE = Authority.root("made", Life(0, 1)).certificate.public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("data", "is_well_formed"),
    [
        pytest.param(PEM, lambda mutant: mutant.count(b"BEGIN") == mutant.count(b"END"), id="pem"),
        pytest.param(b"head" + PEM + b"tail", lambda mutant: mutant[:4] + mutant[-4:] == b"headtail", id="pem-inside"),
        pytest.param(b'{"a": [1, 2, 3], "b": {"c": 4}}', json.loads, id="json"),
        pytest.param(b"<a><b/><c><d/></c></a>", lambda mutant: etree.fromstring(mutant) is not None, id="xml"),
        pytest.param(MADE, lambda mutant: len(der_values(mutant)) == 1, id="der"),
    ],
)
def test_structural_mutants_keep_their_form_and_lose_their_parts(data, is_well_formed):
    mutants = {restructured(data, PEM, random.Random(seed)) for seed in range(60)} - {data}
    assert len(mutants) > 3
    assert all(is_well_formed(mutant) for mutant in mutants)
    sizes = {len(mutant) for mutant in mutants}
    assert min(sizes) < len(data) < max(sizes) or data.startswith(b"{")


def test_what_has_no_parts_is_left_as_it_is():
    assert restructured(b"\x02\x01\x00", PEM, random.Random(1)) == b"\x02\x01\x00"
