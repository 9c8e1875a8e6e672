"""Any bytes of a client or a gateway: an answer, a refusal or a cut; never a fault, and nothing is left counted."""

import asyncio
import contextlib
import logging

import pytest
import uvloop
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.doubles.http_peers import connected

from cloister.hosting.http_message import Origin
from cloister.services.relay.client_connection import ClientConnection
from cloister.services.relay.relay import Relay
from cloister.services.relay.settings import RelaySettings

POST = b"POST /gateway HTTP/1.1\r\nHost: h\r\nContent-Type: message/ohttp-req\r\n"
SEALED = POST + b"Content-Length: 6\r\n\r\nsealed"
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: message/ohttp-res\r\nContent-Length: 2\r\n\r\nok"
ASKED = [
    POST,
    SEALED,
    b"Content-Length: 6\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
]
ASKED += [
    b"sealed",
    b"sea",
    b"GET /bundle HTTP/1.1\r\nHost: h\r\n\r\n",
    b"Connection: close\r\n",
    b"\r\n",
    b"\n",
    b"\0",
]
ASKED += [b"Expect: 100-continue\r\n", b"x" * 70_000]
SAID = [
    GOOD,
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\n",
    b"\r\n",
]
SAID += [
    b"Content-Type: message/ohttp-chunked-res\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
]
SAID += [b"Content-Length: 2\r\n\r\n", b"ok", b"\n", b"\0", b"y" * 70_000]
asked = st.lists(st.sampled_from(ASKED) | st.binary(max_size=8), max_size=8)
said = st.lists(st.sampled_from(SAID) | st.binary(max_size=8), max_size=8)
MOMENT = 0.02  # seconds
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def faults(caplog):
    """What a fault leaves in the log, the event loop's own complaints too."""
    caplog.set_level(logging.WARNING)
    yield caplog
    assert caplog.text == ""


@contextlib.asynccontextmanager
async def relaying(pieces):
    """A relay, and its origin, before a gateway that says `pieces` once to each connection that asks it."""

    async def speak(reader, writer):
        with contextlib.suppress(OSError):
            await reader.read(100)
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)
        writer.close()

    loop = asyncio.get_running_loop()
    gateway = await asyncio.start_server(speak, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{gateway.sockets[0].getsockname()[1]}"
    relay = Relay(RelaySettings(0, ("http://127.0.0.1:1/b",), (url,), gateway_seconds=0.5, bundle_seconds=0.5))
    server = await loop.create_server(lambda: ClientConnection(relay), "127.0.0.1", 0)
    try:
        yield relay, Origin(*server.sockets[0].getsockname())
    finally:
        server.close()
        await relay.close(0.0)
        gateway.close()
        await asyncio.sleep(0)


async def talk(origin, pieces):
    """What comes back for `pieces` until nothing comes for a moment."""
    async with connected(origin) as (reader, writer):
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        got = b""
        with contextlib.suppress(TimeoutError, OSError):
            while data := await asyncio.wait_for(reader.read(65_536), MOMENT):
                got += data
        return got


async def is_served(origin):
    """Whether a request like any other is answered."""
    async with connected(origin) as (reader, writer):
        writer.write(SEALED)
        return (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 200 ")


async def settled(relay):
    """Nothing is under way and nobody is counted; but in good time."""
    async with asyncio.timeout(5):
        while relay.connections or relay.under_way:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.01)
    assert all(client.requests == client.connections == 0 for client in relay.clients)


@pytest.mark.usefixtures("faults")
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@quick
@example([POST, b"Content-Length: 6\r\n\r\n", b"sea"])
@example([POST, b"Transfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n", b"\0"])
@example([SEALED, SEALED])
@given(asked)
def test_any_bytes_of_a_client_are_answered_or_cut_and_leave_nothing_behind(run, pieces):
    async def main():
        async with relaying([GOOD]) as (relay, origin):
            got = await talk(origin, pieces)
            assert got == b"" or got.startswith(b"HTTP/1.1 ")
            assert b"HTTP/1.1 500" not in got
            assert await is_served(origin)
            await settled(relay)

    run(main())


@pytest.mark.usefixtures("faults")
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@quick
@example([GOOD, GOOD])
@example(
    [b"HTTP/1.1 200 OK\r\n", b"Content-Type: message/ohttp-chunked-res\r\n", b"Transfer-Encoding: chunked\r\n\r\n"]
)
@given(said)
def test_any_bytes_of_a_gateway_are_passed_on_refused_or_cut_and_leave_nothing_behind(run, pieces):
    async def main():
        async with relaying(pieces) as (relay, origin):
            got = await talk(origin, [SEALED])
            assert got == b"" or got.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 50"))
            await settled(relay)

    run(main())
