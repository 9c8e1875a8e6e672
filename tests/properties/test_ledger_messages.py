"""Any bytes are one of the ledger's messages or are refused by name."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
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
inputs = st.binary(max_size=80) | (values | answers).map(lambda value: cbor2.dumps(value, canonical=True))


@pytest.mark.parametrize(
    ("parse", "encode"),
    [
        (parse_appended, canonical.encode),
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
