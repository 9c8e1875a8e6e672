"""Client, relay, gateway and engine over real sockets, with a tap on the link between relay and gateway.

The client speaks from 127.0.0.2, so that its address could be told from the relay's if anything carried it.
"""

import asyncio
import contextlib
import time

import pytest
from tests.doubles.http_peers import serving
from tests.doubles.relays import relay_before
from tests.doubles.sealed_client import Keys, request
from tests.doubles.served_gateway import Receipts, served
from tests.doubles.taps import Tap, tapped

from cloister.formats.binary_http import Response, decode_response, encode
from cloister.hosting.http_exchange import Response as HttpResponse
from cloister.ohttp.encapsulation import encapsulate_request
from cloister.services.gateway.data_plane import DataPlaneLimits, build_gateway
from cloister.services.gateway.engine import SocketEngine
from cloister.testing.served_engine import served_engine

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


@contextlib.asynccontextmanager
async def path(served_origin):
    """The relay's origin and the tap, in front of the gateway of that context."""
    async with contextlib.AsyncExitStack() as stack:
        tap = Tap(await stack.enter_async_context(served_origin))
        gateway = await stack.enter_async_context(tapped(tap))
        yield await stack.enter_async_context(relay_before(gateway)), tap


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
    sealed, opener = encapsulate_request(keys.config, inner)
    async with served_engine(Engine()) as engine:
        gateway = build_gateway(
            keys,
            SocketEngine(engine),
            Receipts(),
            now=lambda: next(started, time.time()),
            limits=DataPlaneLimits(),
        )
        async with path(served(gateway)) as (origin, tap):
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

    async with path(serving(unsealed)) as (origin, tap):
        await post(origin, inner)
    for found in (AUDIO, TRANSCRIPT, FILE_NAME.encode()):
        assert found in tap.bytes
    assert b"CANARY-AGENT" not in tap.bytes  # headers are the relay's to drop, sealed or not
