"""The fuzzer starts from messages that are valid, and finds what it looks for."""

import random

import pytest
from tests.fuzz.parsers import fuzz, mutate, targets


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
