import asyncio
import contextlib
import json
import socket

import pytest
from tests.doubles.http_peers import connected
from tests.doubles.sealed_client import EPOCH, NOON, Keys, ask, request
from tests.doubles.served_gateway import Receipts, served

from cloister.crypto.hpke import X_WING, KemPrivateKey
from cloister.errors import MalformedInput, Unavailable
from cloister.formats.binary_http import Response, decode_response, encode
from cloister.formats.contract import Endpoint
from cloister.formats.key_config import KeyConfig
from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_exchange import Limits
from cloister.hosting.http_exchange import Response as HttpResponse
from cloister.hosting.http_inbound_state import InboundLimits
from cloister.hosting.http_server import HttpServer
from cloister.ohttp.encapsulation import PROBLEM_TYPE, encapsulate_request
from cloister.ohttp.padding import ANSWER_FLOOR, padded_length
from cloister.services.gateway.data_plane import DataPlaneLimits, build_gateway
from cloister.services.gateway.engine import SocketEngine
from cloister.services.gateway.engines import QueueLimits
from cloister.services.gateway.replay import DATE_PROBLEM_TYPE
from cloister.testing.served_engine import served_engine

ENDPOINTS = (Endpoint(method="POST", path="/v1/audio/transcriptions"), Endpoint(method="GET", path="/v1/models"))
SEALED = [(b"content-type", b"message/ohttp-req")]


class Engine:
    """Answers as it is told and remembers what it was asked."""

    def __init__(self, answer=None):
        self.answer = answer or Response(200, (("content-type", "text/plain"), ("server", "canary")), b"heard")
        self.asked = []

    async def ask(self, request, *, seconds):
        self.asked.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class World:
    """A gateway on a real socket and all that is around it."""

    def __init__(self, client, keys, engine, receipts):
        self.client, self.keys, self.engine, self.receipts = client, keys, engine, receipts

    async def post(self, body, headers=SEALED, target=b"/gateway", method=b"POST"):
        async with self.client.exchange(method, target, headers, body, seconds=5) as reply:
            return reply.status, dict(reply.headers), await reply.body.read(40_000_000)

    async def sealed(self, data):
        status, headers, body = await self.post(data)
        assert (status, headers[b"content-type"]) == (200, b"message/ohttp-res"), body
        return body

    async def ask(self, inner):
        return await ask(self.sealed, self.keys.config, inner)


@contextlib.asynccontextmanager
async def world(
    engine=None, *, keys=None, receipts=None, endpoints=ENDPOINTS, started=NOON - 100, supply=None, **limits
):
    times = iter([started])
    keys, engine, receipts = keys or Keys(endpoints=endpoints), engine or Engine(), receipts or Receipts()
    async with contextlib.AsyncExitStack() as stack:
        if supply is None:
            supply = SocketEngine(await stack.enter_async_context(served_engine(engine)))
        gateway = build_gateway(keys, supply, receipts, now=lambda: next(times, NOON), limits=DataPlaneLimits(**limits))
        client = HttpClient(await stack.enter_async_context(served(gateway)))
        stack.push_async_callback(client.close)
        yield World(client, keys, engine, receipts)


def error_of(response):
    assert dict(response.headers)["content-type"] == "application/json"
    error = json.loads(response.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


async def test_a_sealed_request_reaches_the_engine_and_its_answer_comes_back_sealed_with_a_receipt():
    async with world() as here:
        answer = await here.ask(request())
    assert answer == Response(200, (("content-type", "text/plain"), ("cloister-receipt", "receipt")), b"heard")
    asked = here.engine.asked[0]
    assert (asked.method, asked.path, asked.body) == ("POST", "/v1/audio/transcriptions", b"sound")
    assert here.receipts.sealed == [(EPOCH, "/v1/audio/transcriptions", 200)]


async def test_only_headers_on_the_allow_list_reach_the_engine():
    telling = (("user-agent", "canary"), ("authorization", "canary"), ("x-stainless-os", "canary"), ("accept", "*/*"))
    async with world() as here:
        await here.ask(request(headers=telling))
    assert here.engine.asked[0].headers == (("content-type", "audio/wav"), ("accept", "*/*"))


async def test_the_answer_is_padded():
    async with world(Engine(Response(200, (), b"x" * 5001))) as here:
        sealed, _ = encapsulate_request(here.keys.config, encode(request()))
        length = len(await here.sealed(sealed)) - 32
    assert length == padded_length(length) > 5001


async def test_a_short_answer_and_every_error_have_one_length():
    lengths = set()
    for changes in ({}, {"path": "/v1/other"}, {"method": "GET"}, {"date": None}, {"date": NOON - 4000}):
        async with world() as here:
            sealed, _ = encapsulate_request(here.keys.config, encode(request(**changes)))
            lengths.add(len(await here.sealed(sealed)) - 32)
    assert lengths == {ANSWER_FLOOR}


async def test_strict_privacy_is_not_for_one_message():
    async with world() as here:
        answer = await here.ask(request(headers=(("cloister-privacy", "strict"),)))
    assert answer.status == 400
    assert error_of(answer)["message"].startswith("strict privacy is for requests that come in chunks")
    assert dict(answer.headers)["cloister-receipt"] == "receipt"


async def test_the_same_sealed_request_is_answered_once():
    async with world() as here:
        sealed, opener = encapsulate_request(here.keys.config, encode(request()))
        assert decode_response(opener.open(await here.sealed(sealed))).status == 200
        again = decode_response(opener.open(await here.sealed(sealed)))
        assert (again.status, json.loads(again.body)["detail"]) == (400, "this request was answered before")
        assert (await here.ask(request())).status == 200
    assert len(here.engine.asked) == 2


@pytest.mark.parametrize("date", [None, "yesterday", NOON - 301, NOON + 301])
async def test_a_date_that_is_missing_malformed_or_outside_the_window_is_told_the_time_here(date):
    async with world(started=NOON - 1000) as here:
        answer = await here.ask(request(date=date))
        assert dict(answer.headers) == {
            "content-type": "application/problem+json",
            "date": "Fri, 15 Jan 2027 08:00:00 GMT",
        }
        assert (answer.status, json.loads(answer.body)["type"]) == (400, DATE_PROBLEM_TYPE)
        assert here.engine.asked == []
        assert (await here.ask(request(date=dict(answer.headers)["date"]))).status == 200


async def test_a_date_before_the_start_is_refused():
    async with world(started=NOON - 100) as here:
        assert (await here.ask(request(date=NOON - 100))).status == 400
        assert (await here.ask(request(date=NOON - 99))).status == 200


async def test_a_full_replay_table_says_to_come_again():
    async with world(replay_entries=1) as here:
        await here.ask(request())
        answer = await here.ask(request())
    assert (answer.status, json.loads(answer.body)["retry"]) == (503, True)


@pytest.mark.parametrize(
    ("status", "method", "path"),
    [
        (404, "POST", "/pause"),
        (404, "POST", "/v1/audio/transcriptions?model=canary"),
        (404, "POST", "/v1/audio/transcriptions/"),
        (405, "GET", "/v1/audio/transcriptions"),
        (405, "POST", "/v1/models"),
    ],
)
async def test_what_the_contract_does_not_name_never_reaches_the_engine(status, method, path):
    async with world() as here:
        answer = await here.ask(request(method, path))
    assert answer.status == status
    assert error_of(answer)["type"] == "invalid_request_error"
    assert here.engine.asked == []
    assert here.receipts.sealed == [(EPOCH, path, status)]


async def test_a_contract_without_endpoints_lets_nothing_through():
    async with world(endpoints=()) as here:
        assert (await here.ask(request())).status == 404


async def test_a_sealed_message_that_is_no_request_is_told_so_sealed():
    async with world() as here:
        answer = await here.ask(b"\x00nonsense")
    assert (answer.status, error_of(answer)["type"]) == (400, "invalid_request_error")
    assert here.engine.asked == []


async def test_a_request_that_is_not_what_it_calls_itself_gets_no_answer_without_a_receipt():
    async with world(receipts=Receipts(MalformedInput("no boundary"))) as here:
        answer = await here.ask(request())
    assert answer.status == 400
    assert b"heard" not in answer.body


def problem_in(reply, status, kind="about:blank"):
    assert reply[0] == status, reply
    assert reply[1][b"content-type"] == b"application/problem+json"
    problem = json.loads(reply[2])
    assert problem.get("type", "about:blank") == kind
    return problem


async def test_a_key_that_is_unknown_or_does_not_open_is_the_key_problem_of_rfc_9458():
    other = KeyConfig(7, X_WING, KemPrivateKey.generate(X_WING).public)
    async with world() as here:
        mine = here.keys.config
        for config in (other, KeyConfig(8, X_WING, mine.public)):
            sealed, _ = encapsulate_request(config, encode(request()))
            problem_in(await here.post(sealed), 400, PROBLEM_TYPE)
        sealed, _ = encapsulate_request(mine, encode(request()))
        changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
        problem_in(await here.post(changed), 400, PROBLEM_TYPE)
        assert (await here.post(sealed))[0] == 200  # what did not open is not remembered as answered


async def test_what_is_no_encapsulated_request_is_malformed():
    async with world() as here:
        problem_in(await here.post(b""), 400)
        problem_in(await here.post(b"\x07\x64\x7a\0\1\0\1short"), 400)
        problem_in(await here.post(b"x", headers=[]), 415)
        problem_in(await here.post(b"x", headers=[(b"content-type", b"message/ohttp-res")]), 415)


async def test_a_kms_that_is_away_is_a_503_that_says_to_retry():
    class Away(Keys):
        async def key_for(self, key_id):
            raise Unavailable("the KMS is away")

    async with world(keys=Away()) as here:
        sealed, _ = encapsulate_request(here.keys.config, encode(request()))
        assert problem_in(await here.post(sealed), 503)["retry"]


async def test_bodies_over_the_cap_and_more_than_fits_in_memory_are_refused():
    async with world(http=InboundLimits(body_bytes=2000), memory_bytes=1000) as here:
        problem_in(await here.post(b"x" * 2001), 413)
        assert problem_in(await here.post(b"x" * 1500), 503)["retry"]
        problem_in(await here.post(b"x" * 500), 400, PROBLEM_TYPE)


@pytest.mark.parametrize("framing", [b"content-length: 3000000", b"transfer-encoding: chunked"])
async def test_where_memory_is_short_a_large_message_that_comes_slowly_gives_way_to_another(framing):
    sound = bytes(1_300_000)
    head = b"POST /gateway HTTP/1.1\r\nhost: gateway\r\ncontent-type: message/ohttp-req\r\n" + framing + b"\r\n\r\n"
    chunk = b"%x\r\n" % len(sound) if framing.endswith(b"chunked") else b""
    async with world(memory_bytes=2_000_000, patience_seconds=0.2) as here:
        async with connected(here.client.origin) as (reader, writer):
            writer.write(head + chunk + sound)
            await writer.drain()
            await asyncio.sleep(0.5)
            assert (await here.ask(request(body=sound))).status == 200
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 503 ")
        assert (await here.ask(request(body=sound))).status == 200


async def test_health_ready_metrics_and_version_tell_nothing_of_requests():
    async with world() as here:
        await here.ask(request(path="/v1/canary"))
        replies = {
            path: await here.post(b"", [], path.encode(), b"GET")
            for path in ("/health", "/ready", "/metrics", "/version")
        }
    assert [reply[0] for reply in replies.values()] == [200, 200, 200, 200]
    metrics = replies["/metrics"][2]
    assert b'cloister_gateway_requests_total{route="/gateway",status="200"} 1.0' in metrics
    assert b"canary" not in metrics


@pytest.mark.parametrize(
    ("status", "method", "target"),
    [(404, b"GET", b"/x"), (404, b"POST", b"/gateway?x"), (405, b"GET", b"/gateway"), (405, b"POST", b"/health")],
)
async def test_other_routes_are_refused(status, method, target):
    async with world() as here:
        problem_in(await here.post(b"", SEALED, target, method), status)


@contextlib.asynccontextmanager
async def engine_at(path, handler):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    server = HttpServer(handler, Limits())
    await server.start(listener)
    engine = SocketEngine(str(path))
    yield engine
    await engine.close()
    await server.close(0)


async def test_an_engine_on_a_unix_socket_is_asked_and_answers(tmp_path):
    async def hear(asked):
        return HttpResponse(200, [(b"content-type", b"text/plain")], await asked.body.read(100))

    async with engine_at(tmp_path / "s", hear) as engine, world(supply=engine) as here:
        answer = await here.ask(request(body=b"sound"))
    assert (answer.status, answer.body) == (200, b"sound")


@pytest.mark.parametrize("status", [502, 504])
async def test_an_engine_that_crashes_or_hangs_is_a_sealed_502_or_504_and_the_service_goes_on(tmp_path, status):
    mode = [status]

    async def fail(asked):
        if mode == [502]:
            await asyncio.sleep(0)
            return HttpResponse(200, [], broken(), 100)
        if mode == [504]:
            await asyncio.sleep(60)
        return HttpResponse(200, [], b"heard")

    async def broken():
        yield b"half"
        raise ConnectionError

    async with (
        engine_at(tmp_path / "s", fail) as engine,
        world(supply=engine, queue=QueueLimits(engine_seconds=0.2)) as here,
    ):
        assert (await here.ask(request())).status == status
        mode[0] = 200
        assert (await here.ask(request())).body == b"heard"


async def test_an_engine_that_is_not_there_is_a_sealed_502(tmp_path):
    engine = SocketEngine(str(tmp_path / "absent"))
    async with world(supply=engine) as here:
        assert (await here.ask(request())).status == 502
