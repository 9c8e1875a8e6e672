"""Entries are opened one by one or many together, with the same outcome."""

from collections import Counter

import pytest

from cloister.crypto.signing import BadSignature, SigningKey
from cloister.errors import CloisterError, MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.release import Revocation
from cloister.formats.statement import parse_statement
from cloister.ledger.statements import open_statement, open_statements, sign_statement

KEYS = [SigningKey.generate() for _ in range(3)]


def statement(number, keys=KEYS[:1]):
    return sign_statement(
        "revocation", Revocation(contract=bytes(32), target=number.to_bytes(32, "big"), reason="a test"), keys
    )


def with_signatures(entry, change):
    parsed = parse_statement(entry)
    changed = tuple(change(list(parsed.signatures)))
    return canonical.encode(type(parsed)(kind=parsed.kind, payload=parsed.payload, signatures=changed))


GOOD = [statement(0), statement(1, KEYS)]
BAD = {
    b"": MalformedInput,
    b"no entry": MalformedInput,
    bytes(65_536): TooLarge,
    with_signatures(statement(2), lambda one: one * 2): MalformedInput,
    with_signatures(statement(3), lambda one: [*one, b"none"]): MalformedInput,
    with_signatures(statement(4, KEYS), lambda one: [*one[:2], one[2][:-1] + bytes([one[2][-1] ^ 1])]): BadSignature,
    with_signatures(statement(5), lambda _: parse_statement(statement(6)).signatures): BadSignature,
}


@pytest.mark.parametrize(("entry", "error"), BAD.items(), ids=range(len(BAD)))
def test_an_entry_that_is_not_signed_as_it_says_is_refused_by_name(entry, error):
    with pytest.raises(error):
        open_statement(entry)


def test_opened_together_each_is_what_it_is_by_itself():
    entries = [GOOD[0], *BAD, GOOD[1]]
    opened = open_statements(entries)
    assert (opened[0], opened[-1]) == (open_statement(GOOD[0]), open_statement(GOOD[1]))
    assert open_statement(GOOD[1]).signers == {key.public for key in KEYS}
    assert Counter(map(type, opened[1:-1])) == Counter(BAD.values())
    assert all(isinstance(error, CloisterError) for error in opened[1:-1])
