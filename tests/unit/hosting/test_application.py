import asyncio
import io
import json
import logging

import aiohttp
import pytest
import structlog
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from cloister.errors import Refused, Unavailable
from cloister.hosting import logs
from cloister.hosting.application import application, read_body
from cloister.hosting.health import Health, Metrics
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
    app = application(Health("double", Metrics("double"), missing=lambda: lacking), routes)
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


async def test_readiness_tries_what_it_takes_and_says_what_failed_in_words():
    trouble = [Unavailable("/data/witness.sqlite cannot be used: disk full")]

    async def write():
        if trouble:
            raise trouble[0]

    health = Health("double", Metrics("double"), missing=list, checks=[write], about={"workload": "ab"})
    answer = await health.asked("/ready")
    assert (answer.status, json.loads(answer.body)["missing"]) == (503, [str(trouble[0])])
    trouble.clear()
    assert (await health.asked("/ready")).status == 200
    assert json.loads((await health.asked("/version")).body)["workload"] == "ab"


@pytest.fixture
def written():
    stream = io.StringIO()
    logs.configure("double", level="debug", stream=stream)
    yield stream
    structlog.reset_defaults()
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)


async def test_an_error_bears_a_random_id_of_the_services_own_which_its_log_lines_bear_too(service, written):
    session, _ = service
    names = []
    for _ in range(2):
        async with session.get("/fail/x", headers={"x-request-id": "canary"}) as reply:
            names.append(reply.headers["x-request-id"])
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert {line["request"] for line in lines} == set(names)
    assert len(set(names)) == 2
    assert all(len(name) == 16 for name in names)


async def test_no_path_header_body_query_or_address_of_a_caller_gets_into_logs_or_metrics(service, written):
    session, _ = service
    sent = {"x-heron": "heron", "user-agent": "heron", "content-type": "text/heron", "cookie": "a=heron"}
    for method, path in (
        ("GET", "/fail/heron?heron=heron"),
        ("GET", "/heron"),
        ("POST", "/keep?heron"),
        ("GET", "/refuse"),
        ("HERON", "/keep"),
    ):
        async with session.request(method, path, headers=sent, data=b"heron" * 100) as reply:
            await reply.read()
            assert reply.status >= 400
    structlog.get_logger().error("a control that is found", path="found")
    async with session.get("/metrics") as reply:
        metrics = await reply.text()
    told = written.getvalue()
    assert "found" in told
    assert "a request failed by a fault of ours" in told
    for where in (told, metrics):
        assert "heron" not in where.lower()
        assert "127.0.0.1" not in where
