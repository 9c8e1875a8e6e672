"""What became whole within one turn of the loop is taken on together, and each of it ends by itself."""

import asyncio

from cloister.hosting.fault import tell_of_fault
from cloister.services.gateway.turn import Turn


class Request:
    def __init__(self, name, said, *, ends_at=None, fails_at=None):
        self.name, self.said, self.ends_at, self.fails_at = name, said, ends_at, fails_at
        self.over = False
        self.cut = False

    def step(self, number):
        if number == self.fails_at:
            raise AssertionError("a fault of ours")
        self.said.append(f"{self.name}{number}")
        return number != self.ends_at

    def failed(self):
        self.cut = True


STEPS = [lambda one: one.step(1), lambda one: one.step(2)]


def after_a_turn(*requests, before=lambda: None):
    async def main():
        asyncio.get_running_loop().set_exception_handler(tell_of_fault)
        turn = Turn(STEPS)
        for request in requests:
            turn.take(request)
        before()
        assert requests[0].said == []
        await asyncio.sleep(0)

    asyncio.run(main())


def test_each_step_is_taken_with_all_before_the_next():
    said: list[str] = []
    after_a_turn(Request("a", said), Request("b", said))
    assert said == ["a1", "b1", "a2", "b2"]


def test_one_that_was_answered_goes_no_further():
    said: list[str] = []
    after_a_turn(Request("a", said, ends_at=1), Request("b", said))
    assert said == ["a1", "b1", "b2"]


def test_one_that_ended_meanwhile_is_not_begun():
    said: list[str] = []
    left = Request("a", said)
    after_a_turn(left, Request("b", said), before=lambda: setattr(left, "over", True))
    assert said == ["b1", "b2"]


def test_a_fault_of_ours_ends_one_and_not_the_others(caplog):
    said: list[str] = []
    faulty = Request("a", said, fails_at=2)
    after_a_turn(faulty, Request("b", said))
    assert said == ["a1", "b1", "b2"]
    assert faulty.cut
    assert "AssertionError at" in caplog.text
    assert "of ours" not in caplog.text.replace("by a fault of ours", "")  # by its place alone


def test_what_comes_while_a_turn_ends_waits_for_the_next():
    said: list[str] = []

    async def main():
        second = Request("b", said)

        def bring(one):
            if one is not second:
                turn.take(second)
            return one is second

        turn: Turn[Request] = Turn([bring, lambda one: one.step(2)])
        turn.take(Request("a", said))
        await asyncio.sleep(0)
        assert said == []
        await asyncio.sleep(0)
        assert said == ["b2"]

    asyncio.run(main())
