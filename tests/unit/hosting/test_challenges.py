"""The table of open challenges."""

from __future__ import annotations

from cloister.hosting.challenges import Challenges


def table(capacity: int = 4) -> Challenges:
    return Challenges(seconds=60, capacity=capacity)


def nonce(number: int) -> bytes:
    return bytes([number]) * 32


def test_a_challenge_answers_once():
    challenges = table()
    challenges.issue(nonce(1), at=0.0)
    assert challenges.use(nonce(1), at=1.0)
    assert not challenges.use(nonce(1), at=1.0)


def test_a_challenge_that_was_never_issued_is_not_live():
    assert not table().use(nonce(9), at=0.0)


def test_a_challenge_expires_at_its_last_second_and_cannot_be_used_later():
    challenges = table()
    challenges.issue(nonce(1), at=0.0)
    challenges.issue(nonce(2), at=0.0)
    assert challenges.use(nonce(1), at=59.9)
    assert not challenges.use(nonce(2), at=60.0)


def test_a_full_table_forgets_its_oldest_challenge_and_no_other():
    challenges = table(capacity=2)
    for number in (1, 2, 3):
        challenges.issue(nonce(number), at=float(number))
    assert len(challenges) == 2
    assert not challenges.use(nonce(1), at=4.0)
    assert challenges.use(nonce(2), at=4.0)
    assert challenges.use(nonce(3), at=4.0)


def test_expired_challenges_leave_before_live_ones():
    challenges = table(capacity=2)
    challenges.issue(nonce(1), at=0.0)
    challenges.issue(nonce(2), at=50.0)
    challenges.issue(nonce(3), at=61.0)
    assert challenges.use(nonce(2), at=61.0)
    assert challenges.use(nonce(3), at=61.0)
