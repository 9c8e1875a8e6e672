import asyncio
import json

import aiohttp
import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from cloister.errors import Refused
from cloister.hosting.application import application, read_body
from cloister.hosting.loopback import listen, port_of
from cloister.hosting.serving import serve_until


async def refuse(request):
    raise Refused("evidence.tcb", "6 is below 7")


async def fail(request):
    raise ValueError("canary")


async def keep(request):
    return PlainTextResponse(str(len(await read_body(request, limit=10))))


@pytest.fixture
async def service():
    routes = [Route("/refuse", refuse), Route("/fail/{canary}", fail), Route("/keep", keep, methods=["POST"])]
    lacking = ["a checkpoint"]
    app = application("double", routes, missing=lambda: lacking)
    stop, listener = asyncio.Event(), listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{port_of(listener)}"
    serving = asyncio.create_task(serve_until(app, listener, stop))
    async with aiohttp.ClientSession(url) as session:
        yield session, lacking
    stop.set()
    await serving


async def test_health_says_alive_and_ready_says_what_is_missing(service):
    session, lacking = service
    async with session.get("/health") as reply:
        assert (reply.status, (await reply.json())["alive"]) == (200, True)
    async with session.get("/ready") as reply:
        assert (reply.status, (await reply.json())["missing"]) == (503, ["a checkpoint"])
    lacking.clear()
    async with session.get("/ready") as reply:
        assert reply.status == 200
    async with session.get("/version") as reply:
        assert (await reply.json())["service"] == "double"


async def test_errors_are_problem_details(service):
    session, _ = service
    async with session.get("/refuse") as reply:
        assert reply.headers["content-type"] == "application/problem+json"
        assert (reply.status, json.loads(await reply.read())["check"]) == (403, "evidence.tcb")
    async with session.get("/nowhere") as reply:
        assert (reply.status, json.loads(await reply.read())["title"]) == (404, "Not Found")
    async with session.get("/keep") as reply:
        assert (reply.status, reply.headers["allow"]) == (405, "POST")


async def test_a_fault_of_ours_tells_nothing_and_metrics_hold_templates_only(service):
    session, _ = service
    async with session.get("/fail/secret") as reply:
        assert reply.status == 500
        assert b"canary" not in await reply.read()
    async with session.get("/metrics") as reply:
        text = await reply.text()
    assert 'cloister_double_requests_total{route="/fail/{canary}",status="500"} 1.0' in text
    assert "secret" not in text


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_cap_is_refused(service, chunked):
    session, _ = service

    async def pieces():
        for _ in range(11):
            yield b"x"

    async with session.post("/keep", data=b"x" * 10) as reply:
        assert await reply.text() == "10"
    async with session.post("/keep", data=pieces() if chunked else b"x" * 11) as reply:
        assert reply.status == 413
