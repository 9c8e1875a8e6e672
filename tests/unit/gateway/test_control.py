"""What the gateway's first process and a worker tell each other, where one of them reads slowly."""

import asyncio

import pytest

from cloister.services.gateway.control import MAXIMUM_MESSAGE, Control, HeldKey, NoKey, State, Stop, WantKey, decoded
from cloister.services.gateway.control import pair as socket_pair

LONG = "x" * 50_000  # so that few messages fill a socket


def state(number):
    keys = (HeldKey(key_id=number % 256, kem=32, secret=bytes(32), epoch=bytes(32), open_until=0),)
    return State(keys=keys, witnessed=number, missing=(LONG,), engines=())


def no_key(number):
    return NoKey(key_id=number, unknown=True, reason="no such key")


class Ends:
    """A Control, and the socket of its peer, which reads when the test does."""

    def __init__(self):
        ours, self.theirs = socket_pair()
        self.theirs.setblocking(False)
        self.left = asyncio.Event()
        self.times_left = 0
        self.control = Control(ours, lambda _message: None, self._leave)

    def _leave(self):
        self.times_left += 1
        self.left.set()

    async def heard(self):
        """The next message."""
        async with asyncio.timeout(10):
            return decoded(await asyncio.get_running_loop().sock_recv(self.theirs, MAXIMUM_MESSAGE))

    def taken(self):
        """How many messages were in the socket; now it is empty."""
        count = 0
        while True:
            try:
                self.theirs.recv(MAXIMUM_MESSAGE)
            except BlockingIOError:
                return count
            count += 1


@pytest.fixture
async def ends():
    made = Ends()
    for number in range(100):
        made.control.send(state(number))
    yield made
    made.control.close()
    made.theirs.close()


async def test_a_peer_that_reads_late_hears_the_last_state_and_none_that_waited_before_it(ends):
    ends.control.send(Stop())
    assert 0 < ends.taken() < 99  # the socket was full long before
    assert [await ends.heard() for _ in range(2)] == [state(99), Stop()]


async def test_what_is_said_about_keys_waits_in_its_order_and_once_for_each(ends):
    for _ in range(3):
        for message in (WantKey(7), no_key(7), no_key(8)):
            ends.control.send(message)
    ends.control.send(state(100))
    ends.taken()
    assert [await ends.heard() for _ in range(4)] == [WantKey(7), no_key(7), no_key(8), state(100)]


async def test_once_all_was_read_a_message_goes_out_at_once(ends):
    ends.taken()
    await ends.heard()
    ends.control.send(Stop())
    assert decoded(ends.theirs.recv(MAXIMUM_MESSAGE)) == Stop()


async def test_a_peer_that_leaves_while_a_state_waits_is_told_of_once(ends):
    ends.theirs.close()
    async with asyncio.timeout(10):
        await ends.left.wait()
    ends.control.send(state(100))
    ends.control.close()
    assert ends.times_left == 1
