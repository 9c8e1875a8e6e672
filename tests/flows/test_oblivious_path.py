"""Client, relay, gateway and engine over real sockets, with a tap on the link between relay and gateway.

The client speaks from 127.0.0.2, so that its address could be told from the relay's if anything carried it.
"""

import asyncio
import contextlib
import time

import pytest
from tests.doubles.http_peers import serving
from tests.doubles.sealed_client import Keys, request

from cloister.formats.binary_http import Response, decode_response, encode
from cloister.formats.contract import Endpoint
from cloister.hosting.http_exchange import Response as HttpResponse
from cloister.hosting.http_message import Origin
from cloister.ohttp.encapsulation import encapsulate_request
from cloister.services.gateway.data_plane import DataPlaneLimits, build_gateway
from cloister.services.relay.service import Relay
from cloister.services.relay.settings import RelaySettings

AUDIO, TRANSCRIPT, FILE_NAME = b"CANARY-AUDIO" * 100, b"CANARY-TRANSCRIPT", "CANARY-FILE.wav"
CLIENT_ADDRESS = "127.0.0.2"
TELLING = {
    "User-Agent": "CANARY-AGENT",
    "Cookie": "CANARY-COOKIE",
    "Forwarded": "for=CANARY-ADDRESS",
    "X-Forwarded-For": "CANARY-ADDRESS",
    "Via": "1.1 CANARY-VIA",
    "Authorization": "Bearer CANARY-TOKEN",
    "Accept-Language": "CANARY-LANGUAGE",
    "X-Request-Id": "CANARY-ID",
}


class Engine:
    async def ask(self, request, *, seconds):
        assert request.body == AUDIO
        return Response(200, (("content-type", "text/plain"),), TRANSCRIPT)

    def missing(self):
        return ()


class Tap:
    """Passes bytes between the relay and one gateway, and keeps a copy of them and of who connected."""

    def __init__(self, behind):
        self.behind = behind
        self.bytes = bytearray()
        self.addresses: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, reader, writer):
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.addresses.add(writer.get_extra_info("peername")[0])
        onward = await asyncio.open_connection(self.behind.host, self.behind.port)
        await asyncio.gather(self._copy(reader, onward[1]), self._copy(onward[0], writer))
        writer.transport.abort()
        onward[1].transport.abort()

    async def _copy(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                self.bytes += data
                writer.write(data)
            writer.write_eof()

    async def ended(self):
        await asyncio.gather(*self._tasks)


@contextlib.asynccontextmanager
async def path(answer):
    """The relay's origin and the tap, in front of a gateway that answers with `answer`."""
    async with contextlib.AsyncExitStack() as stack:
        tap = Tap(await stack.enter_async_context(serving(answer)))
        server = await asyncio.start_server(tap, "127.0.0.1", 0)
        await stack.enter_async_context(server)
        gateway = str(Origin(*server.sockets[0].getsockname()))
        relay = Relay(RelaySettings(0, "http://127.0.0.1:1/bundle", (gateway,)))
        origin = await stack.enter_async_context(serving(relay.answer))
        yield origin, tap
        await relay.close()
        await tap.ended()


async def post(origin, body):
    """What a telling client sends, and the body of what it gets."""
    reader, writer = await asyncio.open_connection(origin.host, origin.port, local_addr=(CLIENT_ADDRESS, 0))
    headers = TELLING | {"Host": "CANARY-HOST", "Content-Type": "message/ohttp-req", "Connection": "close"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"POST /gateway HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return answer.partition(b"\r\n\r\n")[2]


@pytest.fixture
def inner():
    disposition = (("content-disposition", f'form-data; filename="{FILE_NAME}"'),)
    return encode(request(date=int(time.time()), headers=disposition, body=AUDIO))


async def test_what_reaches_the_gateway_holds_no_header_address_or_content_of_the_client(inner):
    keys = Keys(open_until=int(time.time()) + 60)
    started = iter([time.time() - 60])
    gateway = build_gateway(
        keys,
        Engine(),
        [Endpoint(method="POST", path="/v1/audio/transcriptions")],
        lambda key, request, response: (),
        now=lambda: next(started, time.time()),
        limits=DataPlaneLimits(),
    )
    sealed, opener = encapsulate_request(keys.config, inner)
    async with path(gateway.answer) as (origin, tap):
        answer = decode_response(opener.open(await post(origin, sealed)))
    assert answer.body == TRANSCRIPT
    assert len(tap.bytes) > len(sealed)
    assert b"CANARY" not in tap.bytes
    assert CLIENT_ADDRESS.encode() not in tap.bytes
    assert tap.addresses == {"127.0.0.1"}


async def test_the_same_search_finds_them_where_nothing_is_sealed(inner):
    async def unsealed(asked):
        await asked.body.read(100_000)
        return HttpResponse(200, [(b"content-type", b"message/ohttp-res")], TRANSCRIPT)

    async with path(unsealed) as (origin, tap):
        await post(origin, inner)
    for found in (AUDIO, TRANSCRIPT, FILE_NAME.encode()):
        assert found in tap.bytes
    assert b"CANARY-AGENT" not in tap.bytes  # headers are the relay's to drop, sealed or not
