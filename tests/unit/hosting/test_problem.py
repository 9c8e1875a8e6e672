import json

import pytest

from cloister.errors import MalformedInput, Refused, TooLarge, Unavailable
from cloister.hosting.problem import MAXIMUM_BYTES, encode, parse, problem_of


class UnknownKey(MalformedInput):
    problem_type = "https://iana.org/assignments/http-problem-types#ohttp-key"


def test_a_refusal_names_its_check():
    assert json.loads(encode(problem_of(Refused("evidence.tcb", "6 is below 7")))) == {
        "title": "Forbidden",
        "status": 403,
        "detail": "evidence.tcb: 6 is below 7",
        "retry": False,
        "check": "evidence.tcb",
    }


def test_what_may_pass_later_says_retry():
    assert problem_of(Unavailable("the engine restarts")).retry


def test_an_error_may_have_a_problem_type_of_its_own():
    assert problem_of(UnknownKey("no such key")).type.endswith("#ohttp-key")


def test_a_problem_reads_back_as_it_was_written():
    value = problem_of(Refused("evidence.tcb", "6 is below 7"))
    assert parse(encode(value)) == value


def test_a_long_problem_is_not_parsed():
    with pytest.raises(TooLarge):
        parse(b" " * (MAXIMUM_BYTES + 1))
