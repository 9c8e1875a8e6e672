"""Nothing that was changed in an accepted Nitro document is accepted."""

import random

import pytest
from tests.vectors.attestation import cases, folder
from tests.vectors.attestation.aws_nitro import document_of, judge_document

from cloister.errors import MalformedInput, TooLarge

ACCEPTED = [case for case in cases() if case.kind == "nitro" and case.reason is None]
pytestmark = pytest.mark.skipif(not ACCEPTED, reason=f"no recorded evidence under {folder()}")


def mutants(data, chance):
    for _ in range(200):
        at = chance.randrange(len(data))
        yield data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
    for at in chance.sample(range(len(data)), 50):
        yield data[:at]
        yield data[:at] + data[at + 1 :]
        yield data[:at] + chance.randbytes(1) + data[at:]
    yield data + b"\0"
    yield b"\0" + data


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.id)
def test_no_changed_document_is_accepted(case):
    data = document_of(case)
    assert judge_document(data, case) == []
    for mutant in mutants(data, random.Random(4)):
        try:
            assert mutant == data or judge_document(mutant, case), mutant.hex()
        except (MalformedInput, TooLarge):
            continue
