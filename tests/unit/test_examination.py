import pytest

from cloister.errors import MalformedInput, Refused
from cloister.examination import Outcome, Steps


class Rejected(Refused):
    """Of these tests."""


def steps():
    return Steps(("a.first", "a.second"), Rejected)


def test_all_steps_passed_yields_the_value():
    examined = steps()
    examined.check("a.first", True, "")
    examined.check("a.second", True, "")
    assert examined.examined(lambda: 7).require() == 7


def test_the_refusal_names_the_first_failed_step_and_its_shortfall():
    examined = steps()
    examined.check("a.second", False, "one short")
    examined.check("a.first", False, "two short")
    examination = examined.examined(lambda: 7)
    assert examination.failed == ["a.first", "a.second"]
    with pytest.raises(Rejected, match=r"a\.first: two short"):
        examination.require()


def test_a_step_that_was_forgotten_yields_nothing():
    examined = steps()
    examined.check("a.first", True, "")
    examination = examined.examined(lambda: 7)
    assert [step.outcome for step in examination.steps] == [Outcome.PASSED, Outcome.NOT_REACHED]
    with pytest.raises(Rejected, match=r"a\.second: not reached"):
        examination.require()


def test_a_failed_step_stays_failed():
    examined = steps()
    examined.check("a.first", False, "short")
    examined.check("a.first", True, "")
    assert examined.stopped().failed == ["a.first"]


def test_an_unknown_step_is_a_fault_of_the_program():
    with pytest.raises(ValueError, match=r"a\.third"):
        steps().check("a.third", True, "")


def test_an_attempt_keeps_the_sentence_of_the_error():
    def fail():
        raise MalformedInput("three bytes short")

    examined = steps()
    assert examined.attempt("a.first", fail, MalformedInput) is None
    assert examined.stopped().steps[0].detail == "three bytes short"


def test_the_steps_of_a_part_are_taken_over():
    part = Steps(("a.first",), Rejected)
    part.check("a.first", True, "")
    whole = steps()
    assert whole.include(part.examined(lambda: 7)) == 7
    assert whole.clean
    assert whole.stopped().passed == ["a.first"]
