"""Any bytes are one of the ledger's messages or are refused by name."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.ledger_batch import RefusedEntry, encode_batch, parse_appended_batch, parse_batch
from cloister.formats.ledger_messages import (
    encode_digest,
    encode_list,
    parse_appended,
    parse_digest,
    parse_entries,
    parse_path,
)

values = st.recursive(
    st.none() | st.integers() | st.binary(max_size=40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
answers = st.fixed_dictionaries(
    {"index": st.integers(-1, 2**54), "checkpoint": st.binary(max_size=8), "path": st.lists(st.binary(max_size=33))}
)
refused = st.fixed_dictionaries(
    {
        "position": st.integers(-1, 3),
        "reason": st.sampled_from(["malformed", "signature", "another"]),
        "detail": st.text(max_size=4),
    }
)
batch_answers = st.fixed_dictionaries(
    {
        "checkpoint": st.binary(max_size=8),
        "indices": st.lists(st.integers(-1, 9), max_size=3),
        "paths": st.lists(st.just([bytes(32)]), max_size=3),
        "refused": st.lists(refused, max_size=2),
    }
)
inputs = st.binary(max_size=80) | (values | answers | batch_answers).map(
    lambda value: cbor2.dumps(value, canonical=True)
)


@pytest.mark.parametrize(
    ("parse", "encode"),
    [
        (parse_appended, canonical.encode),
        (parse_appended_batch, canonical.encode),
        (parse_batch, encode_batch),
        (parse_entries, encode_list),
        (parse_path, encode_list),
        (parse_digest, encode_digest),
    ],
)
@given(inputs)
def test_any_bytes_either_parse_or_are_refused_by_name(parse, encode, data):
    try:
        value = parse(data)
    except (MalformedInput, TooLarge):
        return
    assert encode(value) == data


@given(batch_answers, st.integers(0, 5))
def test_the_answers_to_a_batch_are_one_for_each_entry_or_none_at_all(value, number):
    try:
        answer = parse_appended_batch(cbor2.dumps(value, canonical=True))
        answers = answer.answers(number)
    except MalformedInput:
        return
    assert len(answers) == number == len(answer.indices) + len(answer.refused)
    assert all(answers[one.position] is one for one in answer.refused)
    assert [one.index for one in answers if not isinstance(one, RefusedEntry)] == list(answer.indices)
