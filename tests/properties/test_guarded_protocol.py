"""Services on uvicorn take any bytes: they answer HTTP/1.1, or close, and log no fault."""

import asyncio
import logging

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.doubles.served import served

from cloister.hosting.application import application, read_body
from cloister.hosting.health import Health, Metrics
from cloister.hosting.service_limits import ServiceLimits

LIMITS = ServiceLimits(head_seconds=0.05, body_seconds=0.05)
PIECES = st.sampled_from(
    [
        b"GET /x HTTP/1.1\r\n",
        b"POST /keep HTTP/1.1\r\n",
        b"host: x\r\n",
        b"content-length: 3\r\n",
        b"transfer-encoding: chunked\r\n",
        b"expect: 100-continue\r\n",
        b"connection: upgrade\r\nupgrade: websocket\r\n",
        b"\r\n",
        b"abc",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
    ]
)
SENT = st.lists(PIECES | st.binary(max_size=40), max_size=12).map(b"".join)


async def keep(request):
    return PlainTextResponse(str(len(await read_body(request, limit=1000))))


async def said(port, data):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(several=st.lists(SENT, min_size=1, max_size=8))
def test_any_bytes_are_answered_in_http_or_cut_and_are_no_fault(several, caplog):
    async def main():
        health = Health("double", Metrics("double"), missing=list)
        app = application(health, [Route("/keep", keep, methods=["POST"])], limits=LIMITS)
        async with served(app, limits=LIMITS) as url:
            port = int(url.rpartition(":")[2])
            return await asyncio.gather(*(said(port, data) for data in several))

    caplog.clear()
    with caplog.at_level(logging.WARNING):
        answers = asyncio.run(main())
    assert all(not answer or answer.startswith(b"HTTP/1.1 ") for answer in answers)
    assert caplog.records == []
