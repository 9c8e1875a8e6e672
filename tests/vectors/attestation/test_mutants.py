"""No change of recorded evidence is accepted, whoever's it is; and a judge that accepted one would be found."""

from __future__ import annotations

import random

import pytest
from tests.fuzz.evidence import Seed, fuzz, seeds
from tests.vectors.attestation import Case, WrongFact, folder

from cloister.errors import MalformedInput, Refused

EVIDENCE = b"a report that some machine might have made, of some length"


def test_no_mutant_of_any_accepted_case_is_accepted():
    known = seeds()
    if not known:
        pytest.skip(f"no recorded evidence under {folder()}: CLOISTER_VECTORS says where it is")
    refused, finds = fuzz(known, 1000, random.Random(1))
    assert finds == []
    assert refused.total() == 1000


@pytest.fixture
def seed(tmp_path):
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor/report").write_bytes(EVIDENCE)
    case = Case("one", "k", {}, tmp_path / "vendor", tmp_path)
    return lambda judge: Seed(case, judge, lambda _, data: data, {"report": EVIDENCE})


def test_a_judge_that_passes_over_a_byte_is_found(seed):
    careless = seed(lambda case: [] if case.read("report")[1:] == EVIDENCE[1:] else ["x.signature"])
    refused, finds = fuzz([careless], 500, random.Random(1))
    assert set(refused) == {"x.signature"}
    assert finds
    assert all(find.startswith("vendor/one is accepted with report of ") for find in finds)


def test_refusals_of_every_kind_have_a_name(seed):
    for error, name in (
        (Refused("x.chain", "why"), "x.chain"),
        (MalformedInput("why"), "malformed"),
        (WrongFact("why"), "facts"),
    ):

        def refuse(case, error=error):
            raise error

        assert fuzz([seed(refuse)], 3, random.Random(1)) == ({name: 3}, [])


def test_an_error_of_any_other_kind_is_a_find(seed):
    with pytest.raises(IndexError):
        fuzz([seed(lambda case: [case.read("report")[100:][0]])], 3, random.Random(1))
