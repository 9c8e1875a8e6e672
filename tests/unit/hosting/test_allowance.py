import pytest

from cloister.hosting.allowance import Allowance, TooMuch


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_the_brim_can_be_had_at_once_and_then_so_much_a_second():
    clock = Clock()
    allowance = Allowance(per_second=10, brim=50, clock=clock)
    allowance.take(50, what="bytes")
    with pytest.raises(TooMuch, match="bytes come faster than 10 a second; come back in 2 s") as refused:
        allowance.take(15, what="bytes")
    assert (refused.value.retry_seconds, refused.value.status, refused.value.retry) == (2, 429, True)
    clock.now += 2
    allowance.take(15, what="bytes")


def test_rest_fills_it_to_the_brim_and_no_further():
    clock = Clock()
    allowance = Allowance(per_second=10, brim=50, clock=clock)
    clock.now += 1000
    allowance.take(50, what="bytes")
    with pytest.raises(TooMuch):
        allowance.take(1, what="bytes")
