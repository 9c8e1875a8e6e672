"""What an upstream shows of its prompt cache when it starts: silence and refusals are no consent."""

import pytest
from tests.doubles import model_server
from tests.doubles.upstreams import definition

from cloister.engines.upstream_adapter import Adapter
from cloister.engines.upstream_answers import cached
from cloister.engines.upstream_check import remembers
from cloister.engines.upstream_errors import of_status
from cloister.engines.upstream_link import Place
from cloister.engines.upstream_request import Salts

CHAT, MESSAGES, INFER = "/v1/chat/completions", "/v1/messages", "/v2/models/{id}/infer"


def telling(**usage):
    return lambda _path, _fields: {"usage": usage}


def refusing(status):
    def ask(_path, _fields):
        raise of_status(status, b"{}")

    return ask


@pytest.mark.parametrize(
    ("usage", "known"),
    [
        ({"input_tokens": 70}, None),
        ({"cache_read_input_tokens": None}, None),
        ({"cache_read_input_tokens": 0}, 0),
        ({"prompt_tokens_details": {"cached_tokens": 8}}, 8),
        ({"prompt_tokens_details": None}, None),
    ],
)
def test_no_count_is_another_thing_than_a_count_of_nothing(usage, known):
    assert cached({"usage": usage}) == known


def test_a_server_that_says_that_it_knew_nothing_may_be_asked():
    assert remembers(frozenset({MESSAGES}), telling(cache_read_input_tokens=0)) is None


def test_a_server_that_never_says_what_it_knew_may_not():
    assert f"at {MESSAGES} nothing shows" in str(remembers(frozenset({MESSAGES}), telling(input_tokens=70)))


def test_it_may_where_a_salt_or_the_definition_keeps_requests_apart():
    assert remembers(frozenset({MESSAGES}), telling(input_tokens=70), apart=frozenset({MESSAGES})) is None


def test_nobodys_word_outweighs_what_the_server_says():
    shared = str(remembers(frozenset({MESSAGES}), telling(cache_read_input_tokens=9), apart=frozenset({MESSAGES})))
    assert "its prompt cache is shared" in shared


@pytest.mark.parametrize("status", [400, 401, 403, 413, 422, 429, 500, 503])
def test_a_refused_question_shows_nothing(status):
    wrong = str(remembers(frozenset({CHAT}), refusing(status), apart=frozenset({CHAT})))
    assert f"a plain question to {CHAT} is not answered" in wrong


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_path_that_the_server_lacks_serves_nobody(status):
    assert remembers(frozenset({CHAT}), refusing(status)) is None


def test_a_path_that_cannot_be_asked_needs_the_definitions_word():
    assert f"at {INFER} nothing shows" in str(remembers(frozenset({INFER}), refusing(404)))
    assert remembers(frozenset({INFER}), refusing(404), apart=frozenset({INFER})) is None


@pytest.mark.parametrize(("said", "ready"), [("asked", False), ("none", True)])
def test_a_definitions_word_is_what_its_server_is_served_by(tmp_path, said, ready):
    place = str(tmp_path / "s")
    server = model_server.in_thread(place)
    try:
        known = definition(dialect="kserve", prompt_cache=said)
        assert (Adapter(known, Place(place, 0.5, 1024), Salts()).shortfall() is None) == ready
    finally:
        server.shutdown()
        server.server_close()
