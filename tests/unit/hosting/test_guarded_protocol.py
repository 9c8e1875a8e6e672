"""What a service on uvicorn takes from a connection, and how it says no."""

import asyncio
import contextlib
import json

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.doubles.open_sockets import Silent
from tests.doubles.served import served

from cloister.hosting.application import application, read_body
from cloister.hosting.health import Health, Metrics
from cloister.hosting.http_message import Origin
from cloister.hosting.service_limits import ServiceLimits

QUICK = ServiceLimits(head_seconds=0.3, body_seconds=0.3, answer_seconds=0.5, requests=2, connections=4)


class Double:
    """A service that keeps a body, and one that waits to be let go."""

    def __init__(self):
        self.let_go = asyncio.Event()

    async def keep(self, request):
        return PlainTextResponse(str(len(await read_body(request, limit=100_000))))

    async def wait(self, request):
        await self.let_go.wait()
        return PlainTextResponse("done")

    async def early(self, request):
        return PlainTextResponse("unread")

    async def large(self, request):
        return PlainTextResponse(bytes(20_000_000))

    @contextlib.asynccontextmanager
    async def running(self, limits):
        routes = [
            Route("/keep", self.keep, methods=["POST"]),
            Route("/wait", self.wait),
            Route("/large", self.large),
            Route("/early", self.early, methods=["POST"]),
        ]
        health = Health("double", Metrics("double"), missing=list)
        async with served(application(health, routes, limits=limits), limits=limits) as url:
            yield int(url.rpartition(":")[2])


@pytest.fixture
def double():
    return Double()


async def said(port, *pieces, pause=0.0):
    """Everything that comes back for `pieces` until the service closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    reading = asyncio.create_task(_read(reader))
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
    try:
        async with asyncio.timeout(10):
            return await reading
    finally:
        writer.close()


async def _read(reader):
    found = b""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            found += data
    return found


def problem_in(answer):
    """The one problem that `answer` is."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower(), answer
    value = json.loads(body)
    assert int(head.split()[1]) == value["status"]
    return value


def post(path, length, *more):
    return b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n%b\r\n" % (path, length, b"".join(more))


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"canary\r\n\r\n", 400),
        (b"GET http://canary/ HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"POST /keep HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"POST /keep HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"c" * 40_000, 431),
        (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x: c\r\n" * 101 + b"\r\n", 431),
        (b"GET /" + b"c" * 40_000, 431),
    ],
)
async def test_what_is_no_request_of_ours_is_one_named_problem_that_quotes_nothing(double, sent, status):
    async with double.running(ServiceLimits()) as port:
        answer = await said(port, sent)
    assert problem_in(answer)["status"] == status
    assert b"canary" not in answer


@pytest.mark.parametrize("begun", [b"", b"GET /", b"GET / HTTP/1.1\r\nhost: x\r\n"])
async def test_a_head_that_does_not_come_is_given_up(double, begun):
    async with double.running(QUICK) as port:
        assert problem_in(await said(port, begun))["status"] == 408


async def test_a_body_that_trickles_is_given_up_though_pieces_come(double):
    async with double.running(QUICK) as port:
        pieces = [post(b"/keep", 50), *[b"x"] * 20]
        assert problem_in(await said(port, *pieces, pause=0.05))["status"] == 408


async def test_a_body_that_nobody_reads_is_not_taken_without_end(double):
    limits = ServiceLimits(body_bytes=65_536)
    async with double.running(limits) as port:
        answer = await said(port, post(b"/early", 10**9), *[b"x" * 60_000] * 3, pause=0.05)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") <= 2


async def test_an_answer_that_takes_too_long_is_given_up_and_says_to_come_back(double):
    async with double.running(QUICK) as port:
        answer = await said(port, b"GET /wait HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert problem_in(answer)["retry"] is True
    assert b"retry-after: 1" in answer


@pytest.mark.parametrize("line", [b"", b"connection: close\r\n"])
async def test_who_never_reads_an_answer_does_not_hold_a_connection_for_ever(double, line):
    async with double.running(ServiceLimits(answer_seconds=0.5, idle_seconds=1)) as port:
        with Silent(Origin("127.0.0.1", port)) as callers:
            await callers.connect(1, b"GET /large HTTP/1.1\r\nhost: x\r\n%b\r\n" % line)
            await asyncio.sleep(0.2)
            assert callers.held() == 1
            await callers.become(0)


async def test_more_requests_than_may_be_are_told_to_come_back_and_health_still_answers(double):
    asked = b"GET /%b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    limits = ServiceLimits(requests=2)
    async with double.running(limits) as port:
        waiting = [asyncio.create_task(said(port, asked % b"wait")) for _ in range(2)]
        await asyncio.sleep(0.2)
        refused = await said(port, asked % b"wait")
        assert problem_in(refused)["detail"] == "as many requests are being answered as may be"
        assert b"retry-after: 1" in refused
        assert (await said(port, asked % b"health")).startswith(b"HTTP/1.1 200")
        double.let_go.set()
        assert all(answer.endswith(b"done") for answer in await asyncio.gather(*waiting))


async def test_more_connections_than_may_be_are_cut_off_and_a_place_comes_free(double):
    limits = ServiceLimits(connections=4)
    asked = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    async with double.running(limits) as port, contextlib.AsyncExitStack() as stack:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        for _, writer in idle:
            stack.callback(writer.close)
        await asyncio.sleep(0.1)
        assert await said(port, asked) == b""
        idle[0][1].close()
        await asyncio.sleep(0.1)
        assert (await said(port, asked)).startswith(b"HTTP/1.1 200")


async def test_a_second_request_before_the_first_answer_is_not_read(double):
    double.let_go.set()
    asked = b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n"
    async with double.running(ServiceLimits()) as port:
        answer = await said(port, asked + asked)
    assert answer.count(b"HTTP/1.1 200") == 1


async def test_a_caller_that_leaves_within_its_body_is_no_fault(double, caplog):
    async with double.running(ServiceLimits()) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(b"/keep", 50) + b"x")
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()
        await asyncio.sleep(0.1)
    assert caplog.records == []
