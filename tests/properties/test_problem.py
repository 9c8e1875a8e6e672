import contextlib

from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import MalformedInput
from cloister.hosting.problem import parse


@given(st.binary() | st.from_regex(r'\{"title":.*\}').map(str.encode))
def test_any_bytes_are_a_problem_or_malformed(data):
    with contextlib.suppress(MalformedInput):
        parse(data)
