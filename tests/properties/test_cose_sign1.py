import cbor2
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import MalformedInput
from cloister.formats.cose_sign1 import CoseSign1

parts = st.none() | st.binary(max_size=80) | st.integers() | st.dictionaries(st.integers(), st.binary(max_size=40))


@given(st.binary(max_size=200) | st.lists(parts, max_size=5).map(lambda value: cbor2.dumps(cbor2.CBORTag(18, value))))
def test_any_bytes_either_parse_or_are_malformed(data):
    try:
        message = CoseSign1.parse(data)
    except MalformedInput:
        return
    assert message.encode() == data
