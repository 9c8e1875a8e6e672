"""Whatever a client asks of an upstream: JSON that any server reads, or the dialect's error."""

import contextlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloister.engines.upstream_dialects import DIALECTS
from cloister.engines.upstream_errors import UpstreamError
from cloister.engines.upstream_request import Salts, read_object, rewritten

SALTS = Salts()
ROUTES = [(dialect, route) for dialect in DIALECTS.values() for route in dialect.routes if route.body == "json"]
NAMES = ["role", "user", "content", "type", "text", "name", "parameters", "inputs", "shape", "url", "$ref"]

texts = st.text(st.sampled_from('a{"\\\x00ü\ud800\udfff\N{WAVING HAND SIGN}'), max_size=3)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.sampled_from(NAMES)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(texts, st.sampled_from(NAMES)), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(("dialect", "route"), ROUTES)
@given(data=st.data())
def test_a_request_can_be_read_by_any_server_or_is_refused(dialect, route, data):
    fields = data.draw(st.dictionaries(st.sampled_from(sorted(route.fields)), values, min_size=1, max_size=4))
    with contextlib.suppress(UpstreamError):
        body = rewritten(route, dialect, read_object(json.dumps(fields).encode()), SALTS)
        json.dumps(json.loads(body, parse_constant=pytest.fail), ensure_ascii=False).encode()


@example({"\ud800": 1})
@example({"a": ["\udfff"]})
@given(st.dictionaries(texts, values, max_size=3))
def test_an_object_is_read_as_it_was_written_or_refused(fields):
    body = json.dumps(fields)
    with contextlib.suppress(UpstreamError):
        found = read_object(body.encode())
        assert found == json.loads(body)
        json.dumps(found, ensure_ascii=False).encode()
