"""Nothing that was changed in an accepted quote, or in its collateral, is accepted."""

import random

import msgspec
import pytest
from tests.vectors.attestation import cases, folder
from tests.vectors.attestation.intel_tdx import collateral_of, judge_tdx_quote, quote_of

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.intel_collateral import parse_collateral

ACCEPTED = [case for case in cases() if case.kind == "tdx" and case.reason is None]
pytestmark = pytest.mark.skipif(not ACCEPTED, reason=f"no recorded evidence under {folder()}")


def mutants(data, chance, count):
    for _ in range(count):
        at = chance.randrange(len(data))
        yield data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
    for at in chance.sample(range(len(data)), count // 3):
        yield data[:at]
        yield data[:at] + data[at + 1 :]
        yield data[:at] + chance.randbytes(1) + data[at:]
    yield data + b"\0"
    yield b"\0" + data


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.id)
def test_no_changed_quote_is_accepted(case):
    quote, collateral = quote_of(case), collateral_of(case)
    assert judge_tdx_quote(quote, collateral, case) == []
    for mutant in mutants(quote, random.Random(5), 100):
        assert judge_tdx_quote(mutant, collateral, case), mutant.hex()


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.id)
def test_no_changed_collateral_is_accepted(case):
    """But for a change that leaves every member as it was, such as a space between two."""
    quote, collateral = quote_of(case), collateral_of(case)
    for mutant in mutants(msgspec.json.encode(collateral), random.Random(6), 100):
        try:
            changed = parse_collateral(mutant)
        except (MalformedInput, TooLarge):
            continue
        assert changed == collateral or judge_tdx_quote(quote, changed, case), mutant
