"""Hundreds of changes of each recorded case that is accepted: none of them is, and only named refusals come back."""

import random
from dataclasses import replace

import pytest
from tests.vectors.attestation import WrongFact, cases, folder
from tests.vectors.attestation.nvidia import KINDS

from cloister.attest.certificates import parse_certificates
from cloister.errors import MalformedInput, TooLarge

ABSENT = pytest.mark.skip(f"no recorded evidence under {folder()}: CLOISTER_VECTORS says where it is")
ACCEPTED = [
    pytest.param(case, name, id=f"{case.id}-{name}")
    for case in cases()
    if case.kind in KINDS and case.kind != "nvidia-envelope" and case.reason is None
    for name in case.data["files"]
]
CHANGES = 16


def mutants(data, chance):
    for _ in range(CHANGES):
        at = chance.randrange(len(data))
        yield data[:at] + bytes([data[at] ^ chance.randrange(1, 256)]) + data[at + 1 :]
    for _ in range(CHANGES // 2):
        yield data[: chance.randrange(len(data) - 2)]
        at = chance.randrange(len(data) - 2)
        yield data[:at] + chance.randbytes(chance.randint(1, 9)) + data[at:]
        yield data + chance.randbytes(chance.randint(2, 9))


def same_meaning(name, data, mutant):
    """PEM has many spellings: text around certificates, ends of lines. What counts is the certificates in it."""
    if name != "chain":
        return False
    try:
        return parse_certificates(mutant) == parse_certificates(data)
    except (MalformedInput, TooLarge):
        return False


@pytest.mark.parametrize(("case", "name"), ACCEPTED or [pytest.param(None, None, marks=ABSENT)])
def test_no_change_of_an_accepted_case_is_accepted(case, name, tmp_path):
    data, chance = case.read(case.data["files"][name]), random.Random(case.id)
    file = case.folder / case.data["files"][name]
    assert file.exists()
    for mutant in mutants(data, chance):
        changed = tmp_path / "changed"
        changed.write_bytes(mutant)
        files = case.data["files"] | {name: str(changed)}
        try:
            failed = KINDS[case.kind](replace(case, data=case.data | {"files": files}))
        except (MalformedInput, TooLarge, WrongFact):
            continue
        assert failed or same_meaning(name, data, mutant), mutant.hex()
