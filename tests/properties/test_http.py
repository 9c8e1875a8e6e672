"""Any bytes into the lean server or client: an answer of ours, a refusal, or a closed connection; never a fault."""

import asyncio
import logging

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.doubles.http_peers import connected, echo, serving

from cloister.errors import CloisterError
from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_exchange import Limits
from cloister.hosting.http_message import Origin

FRAGMENTS = [
    b"GET ",
    b"POST ",
    b"/ ",
    b"HTTP/1.1",
    b"HTTP/1.1 200 OK",
    b"\r\n",
    b"\r\n\r\n",
    b"Host: h\r\n",
    b": ",
    b" ",
]
FRAGMENTS += [b"Content-Length: ", b"3", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"3\r\nabc\r\n", b"abc"]
FRAGMENTS += [b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"\0", b"\xff", b"\n"]
messages = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=8), max_size=20).map(b"".join)
pieces = st.lists(messages, min_size=1, max_size=3)
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def faults(caplog):
    """What a fault leaves in the log, the event loop's own complaints too."""
    caplog.set_level(logging.WARNING)
    yield caplog
    assert caplog.text == ""


@pytest.mark.usefixtures("faults")
@quick
@example([b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", b"abc"])
@given(pieces)
def test_any_bytes_into_the_server_are_answered_or_cut_off(sent):
    async def run():
        async with serving(echo, Limits(), grace_seconds=0) as origin, connected(origin) as (reader, writer):
            for piece in sent:
                writer.write(piece)
                await asyncio.sleep(0)
            writer.write_eof()
            answer = await asyncio.wait_for(reader.read(), 5)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
            assert not answer.startswith(b"HTTP/1.1 500")

    asyncio.run(run())


@pytest.mark.usefixtures("faults")
@quick
@example([b"HTTP/1.1 204 No Content\r\n\r\n", b"abc"])
@given(pieces)
def test_any_bytes_into_the_client_are_a_reply_or_an_error_of_ours(sent):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        for piece in sent:
            writer.write(piece)
            await asyncio.sleep(0)
        writer.close()

    async def run():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        client = HttpClient(Origin(*server.sockets[0].getsockname()))
        try:
            async with client.exchange(b"GET", b"/", [], seconds=5) as reply:
                await reply.body.read(1000)
        except CloisterError:
            pass
        await client.close()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)

    asyncio.run(run())
