"""A breaker, by its times alone."""

import pytest

from cloister.hosting.breaker import FIRST_BREAK_SECONDS, LONGEST_BREAK_SECONDS, Breaker


def broken(patience=3):
    breaker = Breaker(patience)
    for _ in range(patience):
        breaker.failed(10.0)
    return breaker


def length(breaker, since):
    """Of the break, in hundredths of a second."""
    return next(hundredth for hundredth in range(10_000) if not breaker.is_open(since + hundredth / 100)) / 100


def test_it_is_closed_until_as_many_failures_in_a_row_as_it_has_patience_for():
    breaker = Breaker(3)
    breaker.failed(10.0)
    breaker.failed(10.0)
    assert not breaker.is_open(10.0)
    breaker.failed(10.0)
    assert breaker.is_open(10.0)


def test_what_passed_between_failures_begins_the_count_anew():
    breaker = Breaker(2)
    for _ in range(4):
        breaker.failed(10.0)
        breaker.passed()
    assert not breaker.is_open(10.0)


def test_after_the_break_one_tries_while_the_others_wait():
    breaker, later = broken(), 10.0 + FIRST_BREAK_SECONDS
    assert not breaker.is_open(later)
    breaker.trying(later, 4.0)
    assert breaker.is_open(later)
    assert not breaker.is_open(later + 4.0)


def test_each_try_that_fails_doubles_the_break_up_to_the_longest():
    breaker, now, lengths = broken(), 10.0, []
    for _ in range(6):
        lengths.append(length(breaker, now))
        now += lengths[-1]
        breaker.trying(now, 9.0)
        breaker.failed(now)
    assert lengths == pytest.approx([0.5, 1.0, 2.0, 4.0, 4.0, 4.0], abs=0.02)
    assert max(lengths) <= LONGEST_BREAK_SECONDS + 0.02


def test_what_fails_during_a_break_makes_it_no_longer():
    breaker = broken()
    for _ in range(50):
        breaker.failed(10.1)
    assert length(breaker, 10.0) == pytest.approx(FIRST_BREAK_SECONDS, abs=0.02)


def test_a_try_that_told_nothing_lets_the_next_one_through_whose_failure_is_one_more_in_a_row():
    breaker, later = broken(), 10.0 + FIRST_BREAK_SECONDS
    breaker.trying(later, 4.0)
    breaker.let_through(later + 1.0)
    assert not breaker.is_open(later + 1.0)
    breaker.failed(later + 1.0)
    assert length(breaker, later + 1.0) == pytest.approx(2 * FIRST_BREAK_SECONDS, abs=0.02)


def test_a_try_that_passes_closes_it():
    breaker, later = broken(), 10.0 + FIRST_BREAK_SECONDS
    breaker.trying(later, 4.0)
    breaker.passed()
    assert not breaker.is_open(later)
