"""Several peers that can do the same: who is asked, in which order, and how often."""

import pytest

from cloister.errors import Refused, Unavailable, UsageError
from cloister.hosting.breaker import FIRST_BREAK_SECONDS
from cloister.peers.failover import Failover


class Peers:
    """Three peers; `errors` says what each raises. Which were asked is kept."""

    def __init__(self):
        self.now = 100.0
        self.errors = {}
        self.asked = []
        self.failover = Failover(["a", "b", "c"], now=lambda: self.now)

    async def call(self, peer):
        self.asked.append(peer)
        if peer in self.errors:
            raise self.errors[peer]
        return peer

    async def ask(self, **how):
        self.asked.clear()
        return await self.failover.ask(self.call, **how)


@pytest.fixture
def peers():
    return Peers()


async def test_one_that_answers_is_asked_alone(peers):
    assert await peers.ask() == "a"
    assert peers.asked == ["a"]


async def test_the_next_is_asked_where_one_cannot_answer_and_comes_first_from_then_on(peers):
    peers.errors["a"] = Unavailable("a is down")
    assert await peers.ask() == "b"
    assert peers.asked == ["a", "b"]
    del peers.errors["a"]
    assert await peers.ask() == "b"
    assert peers.asked == ["b"]


async def test_one_that_failed_a_moment_ago_is_left_out_while_others_answer(peers):
    peers.errors = {"a": Unavailable("a is down"), "b": Unavailable("b is down")}
    await peers.ask()
    peers.errors = {"c": Unavailable("c is down")}
    with pytest.raises(Unavailable, match="c is down"):
        await peers.ask()
    assert peers.asked == ["c"]
    peers.now += FIRST_BREAK_SECONDS
    assert await peers.ask() == "a"


async def test_each_is_asked_once_where_all_are_down_and_all_are_tried_again(peers):
    peers.errors = {peer: Unavailable(f"{peer} is down") for peer in "abc"}
    for _ in range(2):
        with pytest.raises(Unavailable, match="a is down"):
            await peers.ask()
        assert peers.asked == ["a", "b", "c"]


async def test_what_one_refuses_is_asked_of_no_other(peers):
    peers.errors["a"] = Refused("some.check", "because")
    with pytest.raises(Refused, match=r"some\.check"):
        await peers.ask()
    assert peers.asked == ["a"]


async def test_a_refusal_that_is_passed_on_is_told_where_no_other_answers(peers):
    peers.errors = {"a": Unavailable("a is down"), "b": Refused("some.check", "because"), "c": Unavailable("c is down")}
    with pytest.raises(Refused, match=r"some\.check"):
        await peers.ask(passes_on=lambda error: True)
    assert peers.asked == ["a", "b", "c"]


def test_there_is_at_least_one():
    with pytest.raises(UsageError, match="at least one address"):
        Failover([])
