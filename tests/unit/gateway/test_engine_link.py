"""One connection to an engine, which may say anything: caps, grammar, and silence until it is asked."""

import asyncio
import contextlib
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloister.services.gateway.engine_link import EngineLink

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nheard"


class Asker:
    """Remembers what it hears."""

    def __init__(self):
        self.taken, self.status, self.body, self.ended, self.error = False, None, b"", False, None

    def engine_took(self):
        self.taken = True

    def answer_begins(self, head):
        self.status = head.status

    def answer_piece(self, data):
        self.body += data

    def answer_pauses(self):
        pass

    def answer_ends(self):
        self.ended = True

    def engine_failed(self, error):
        if not self.ended:  # then it is only let go too late
            self.error = error


@contextlib.asynccontextmanager
async def linked():
    """A link, the engine's end of it, and whether the link has ended."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    closed = asyncio.Event()
    loop = asyncio.get_running_loop()
    _, link = await loop.create_unix_connection(lambda: EngineLink(ours, lambda _: closed.set()), sock=ours)
    with theirs:
        yield link, theirs, closed
        link.close()
        await asyncio.wait_for(closed.wait(), 5)


async def heard(said, *, pieces=()):
    """What an asker hears of an engine that says `said`, and then `pieces`."""
    async with linked() as (link, engine, _):
        asker = Asker()
        link.ask(asker, b"GET / HTTP/1.1\r\n\r\n", [], deadline=0)
        for piece in (said, *pieces):
            engine.send(piece)
            await asyncio.sleep(0.01)
        return asker


async def test_an_answer_is_heard_and_the_link_serves_the_next():
    async with linked() as (link, engine, _):
        for _ in range(2):
            asker = Asker()
            link.ask(asker, b"GET / HTTP/1.1\r\n\r\n", [], deadline=0)
            engine.send(ANSWER)
            await asyncio.sleep(0.01)
            assert (asker.status, asker.body, asker.ended) == (200, b"heard", True)
            assert link.let_go()
            assert link.usable


async def test_what_it_read_is_wiped_when_it_is_let_go():
    async with linked() as (link, engine, _):
        link.ask(Asker(), b"GET / HTTP/1.1\r\n\r\n", [], deadline=0)
        engine.send(ANSWER)
        await asyncio.sleep(0.01)
        assert b"heard" in link._bytes
        link.let_go()
        assert not any(link._bytes)


async def test_an_engine_that_speaks_unasked_is_not_asked():
    async with linked() as (link, engine, _):
        engine.send(ANSWER)
        assert not link.usable


async def test_an_engine_that_spoke_unasked_and_was_read_is_closed():
    async with linked() as (_, engine, closed):
        engine.send(ANSWER)
        await asyncio.wait_for(closed.wait(), 5)


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nwithout a length",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nmore",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 20_000,
    ],
)
async def test_what_is_no_answer_or_over_a_cap_fails_the_request_and_ends_the_link(said):
    asker = await heard(said)
    assert not asker.ended
    assert asker.error is not None
    assert asker.error.status == 502


async def test_an_answer_in_single_bytes_after_an_interim_one_is_heard():
    said = b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER
    asker = await heard(said[:30], pieces=[bytes([byte]) for byte in said[30:]])
    assert (asker.status, asker.body, asker.ended, asker.error) == (200, b"heard", True, None)


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=1, max_size=200) | st.binary(max_size=60).map(lambda data: ANSWER[:17] + data))
def test_any_bytes_are_an_answer_or_a_failure(said):
    asker = asyncio.run(heard(said))
    assert asker.error is None or asker.error.status == 502
