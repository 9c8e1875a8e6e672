import cbor2
from hypothesis import given
from hypothesis import strategies as st

from cloister.crypto.cose import sign1
from cloister.crypto.signing import SigningKey
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


KEY = SigningKey.generate()


@given(st.data())
def test_the_form_that_logs_hold_is_read_as_any_other_is(data):
    """It is read by its lengths; one byte changed, put in or taken out makes it no other message."""
    whole = bytearray(sign1(KEY, b"payload", content_type=data.draw(st.text(max_size=40)), detached=True))
    at = data.draw(st.integers(0, len(whole) - 1))
    with_byte = bytes([data.draw(st.integers(0, 255))])
    whole[at : at + data.draw(st.integers(0, 1))] = data.draw(st.sampled_from([b"", with_byte]))

    def read(parse):
        try:
            return parse(bytes(whole))
        except MalformedInput as error:
            return str(error)

    assert read(CoseSign1.parse) == read(CoseSign1._parse)
