"""What an expression is worth here, it is worth in CEL: an implementation of all of it is the judge."""

import cel
from hypothesis import given, settings
from hypothesis import strategies as st

from cloister.errors import MalformedInput
from cloister.formats.policy_expression import NotHeld, compile_expression

CLAIMS = {"a": {"number": 24, "true": 1, "flag": True}, "text": "Milan", "flags": [True], "texts": ["a", "Milan"]}
NAMES = st.sampled_from(["a.number", "a.flag", "text", "texts", "flags", "absent", "a.absent"])
LITERALS = st.sampled_from(["24", "-1", "0x18", "true", "false", "'Milan'", '"a"', "[24, 1]", "['a', 'Milan']", "[]"])
VALUES = (
    NAMES | LITERALS | st.sampled_from(["size(text)", "size(texts)", "text.startsWith('Mi')", "text.contains('x')"])
)
RELATIONS = (
    st.builds("{} {} {}".format, VALUES, st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in"]), VALUES) | VALUES
)


def joined(inner):
    both = st.builds("{} {} {}".format, inner, st.sampled_from(["&&", "||"]), inner)
    return both | inner.map("!({})".format) | inner.map("({})".format)


EXPRESSIONS = st.recursive(RELATIONS, joined, max_leaves=6)


@settings(max_examples=400)
@given(EXPRESSIONS)
def test_what_has_a_value_has_the_same_in_cel(expression):
    try:
        value = compile_expression(expression)(CLAIMS)
    except (MalformedInput, NotHeld):
        return
    assert cel.evaluate(expression, CLAIMS) == value
    assert type(cel.evaluate(expression, CLAIMS)) is type(value)


@given(st.text(max_size=100))
def test_any_text_is_an_expression_or_malformed(text):
    try:
        compiled = compile_expression(text)
    except MalformedInput:
        return
    try:
        compiled(CLAIMS)
    except NotHeld:
        return
