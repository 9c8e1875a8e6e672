import asyncio
import contextlib
import json
from typing import Any

import pytest
from tests.doubles.http_peers import connected, exchange_bytes, serving
from tests.doubles.relays import relay_before

from cloister.errors import UsageError
from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_exchange import Response, problem_response
from cloister.hosting.problem import problem
from cloister.services.relay.bundle import fresh_seconds

SEALED = [(b"content-type", b"message/ohttp-req")]
ANSWER = Response(200, [(b"content-type", b"message/ohttp-res"), (b"set-cookie", b"canary")], b"sealed answer")


class Upstream:
    """A KMS or gateway that remembers all it is sent and answers as it is told."""

    def __init__(self, answer):
        self.answer = answer
        self.seen: list[tuple[Any, ...]] = []

    async def __call__(self, request):
        body = await request.body.read(40_000_000)
        self.seen.append((request.method, request.target, request.headers, body))
        return await self.answer() if callable(self.answer) else self.answer


@contextlib.asynccontextmanager
async def relaying(*gateways, kms=ANSWER, **settings):
    """A client of a relay in front of these upstreams."""
    async with contextlib.AsyncExitStack() as stack:
        urls = [f"{await stack.enter_async_context(serving(gateway, grace_seconds=0))}/in" for gateway in gateways]
        bundle = f"{await stack.enter_async_context(serving(kms, grace_seconds=0))}/v1/bundle"
        origin = await stack.enter_async_context(relay_before(*urls, bundle=bundle, **settings))
        client = HttpClient(origin)
        stack.push_async_callback(client.close)
        yield client


async def ask(client, method=b"POST", target=b"/gateway", headers=SEALED, body=b"sealed", **options):
    async with client.exchange(method, target, headers, body, seconds=5, **options) as reply:
        return reply.status, dict(reply.headers), await reply.body.read(40_000_000)


def bundle(control):
    headers = [(b"content-type", b"application/vnd.cloister.key-bundle+cbor"), (b"cache-control", control)]
    return Upstream(Response(200, [*headers, (b"etag", b"canary")], b"the bundle"))


@pytest.mark.parametrize("target", [b"/", b"/gateway"])
async def test_only_the_media_type_the_length_and_the_bytes_reach_the_gateway(target):
    gateway = Upstream(ANSWER)
    telling = [b"user-agent", b"cookie", b"forwarded", b"x-forwarded-for", b"via", b"authorization", b"x-unknown"]
    async with relaying(gateway) as client:
        await ask(client, target=target, headers=[*SEALED, *((name, b"canary") for name in telling)])
        host = gateway.seen[0][2][0][1]
    assert gateway.seen == [
        (
            "POST",
            "/in",
            [(b"host", host), (b"content-type", b"message/ohttp-req"), (b"content-length", b"6")],
            b"sealed",
        )
    ]


async def test_of_the_answer_only_the_status_the_media_type_and_the_bytes_come_back():
    async with relaying(Upstream(ANSWER)) as client:
        status, headers, body = await ask(client)
    assert (status, body) == (200, b"sealed answer")
    assert set(headers) == {b"content-type", b"content-length", b"cache-control", b"date"}
    assert headers[b"content-type"] == b"message/ohttp-res"


async def test_large_bodies_stream_both_ways_under_their_length_or_in_chunks():
    async def echo(request):
        return Response(200, ANSWER.headers, request.body, request.body.length)

    async def pieces():
        for _ in range(100):
            yield b"x" * 100_000

    async with relaying(echo) as client:
        for options in ({}, {"length": 10_000_000}):
            status, _, body = await ask(client, body=pieces(), **options)
            assert (status, len(body)) == (200, 10_000_000)


async def test_a_problem_of_the_gateways_passes_through():
    unknown = problem_response(problem(400, "unknown key"))
    async with relaying(Upstream(unknown)) as client:
        status, headers, body = await ask(client)
    assert (status, headers[b"content-type"], body) == (400, b"application/problem+json", unknown.body)


async def test_the_gateways_are_asked_in_turn_and_a_dead_one_is_passed_over():
    first, second = Upstream(ANSWER), Upstream(ANSWER)
    async with relaying(first, second) as client:
        for _ in range(4):
            await ask(client)
    assert (len(first.seen), len(second.seen)) == (2, 2)

    gateway = Upstream(ANSWER)
    async with serving(gateway) as alive, relay_before("http://127.0.0.1:1", alive) as origin:
        client = HttpClient(origin)
        assert [(await ask(client))[0] for _ in range(3)] == [200, 200, 200]
        await client.close()


async def test_a_relay_without_a_gateway_does_not_start():
    with pytest.raises(UsageError, match="at least one gateway"):
        async with relay_before():
            pass


@pytest.mark.parametrize("url", ["http://h/?a=b", "http://h/#x", "http://h/a b", "https://h/"])
async def test_an_upstream_is_a_plain_url(url):
    for upstreams in ({"bundle": url}, {"gateways": [url]}):
        with pytest.raises(UsageError):
            async with relay_before(
                *upstreams.get("gateways", ["http://127.0.0.1:1"]),
                bundle=upstreams.get("bundle", "http://127.0.0.1:1/"),
            ):
                pass


async def never():
    await asyncio.sleep(60)


async def halfway():
    async def pieces():
        yield b"half"
        await asyncio.sleep(0.05)
        raise ConnectionError("the double breaks")

    return Response(200, ANSWER.headers, pieces(), 100)


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        (502, Response(200, [(b"content-type", b"text/html")], b"canary")),
        (502, Response(200, [], b"canary")),
        (504, never),
    ],
)
async def test_a_gateway_that_fails_is_a_502_or_504_that_says_to_retry(code, answer):
    async with relaying(Upstream(answer), gateway_seconds=0.2) as client:
        status, headers, body = await ask(client)
    assert (status, headers[b"content-type"]) == (code, b"application/problem+json")
    assert json.loads(body)["retry"]
    assert b"canary" not in body
    assert b"127.0.0.1" not in body


async def test_no_gateway_at_all_is_a_502():
    async with relay_before("http://127.0.0.1:1") as origin:
        client = HttpClient(origin)
        assert (await ask(client))[0] == 502
        await client.close()


async def test_an_answer_that_breaks_off_is_cut_for_the_client_too(caplog):
    async with relaying(Upstream(halfway)) as client:
        with pytest.raises(Exception, match="before its answer was complete"):
            await ask(client)


async def test_a_client_that_leaves_frees_the_gateways_connection():
    ended = asyncio.Event()

    async def wait(request):
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with relaying(wait) as client:
        async with connected(client.origin) as (_, writer):
            writer.write(
                b"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: message/ohttp-req\r\nContent-Length: 9\r\n\r\nhalf"
            )
            await asyncio.sleep(0.1)
        await asyncio.wait_for(ended.wait(), 2)


@pytest.mark.parametrize(
    ("code", "method", "target", "headers"),
    [
        (404, b"GET", b"/health", []),
        (404, b"POST", b"/gateway?name=canary", SEALED),
        (404, b"POST", b"//", SEALED),
        (404, b"GET", b"/bundle/", []),
        (405, b"GET", b"/gateway", []),
        (405, b"PUT", b"/", SEALED),
        (405, b"POST", b"/bundle", SEALED),
        (415, b"POST", b"/gateway", []),
        (415, b"POST", b"/gateway", [(b"content-type", b"message/ohttp-res")]),
    ],
)
async def test_everything_else_is_refused(code, method, target, headers):
    gateway, kms = Upstream(ANSWER), bundle(b"")
    async with relaying(gateway, kms=kms) as client:
        status, got, body = await ask(client, method, target, headers)
    assert (status, json.loads(body)["status"]) == (code, code)
    assert (b"allow" in got) == (code == 405)
    assert gateway.seen == kms.seen == []


@pytest.mark.parametrize("length", [None, 2001])
async def test_a_request_over_the_cap_is_refused(length):
    async def pieces():
        for _ in range(3):
            yield b"x" * 667
            await asyncio.sleep(0.02)

    gateway = Upstream(ANSWER)
    async with relaying(gateway, request_bytes=2000) as client:
        assert (await ask(client, body=pieces(), length=length))[0] == 413
    assert gateway.seen == []


async def test_a_body_that_stops_coming_is_a_408_and_frees_the_gateway():
    async with relaying(Upstream(ANSWER), rate_seconds=0.2) as client:
        answer = await exchange_bytes(
            client.origin,
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: message/ohttp-req\r\nContent-Length: 9\r\n\r\nhalf",
        )
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_the_bundle_is_fetched_once_and_is_the_same_for_all():
    kms = bundle(b"public, max-age=60")
    async with relaying(Upstream(ANSWER), kms=kms) as client:
        told = [(b"user-agent", b"canary")]
        replies = await asyncio.gather(*(ask(client, b"GET", b"/bundle", told, b"") for _ in range(10)))
        replies.append(await ask(client, b"GET", b"/bundle", told, b""))
    assert {body for _, _, body in replies} == {b"the bundle"}
    assert kms.seen == [("GET", "/v1/bundle", kms.seen[0][2], b"")]
    assert [name for name, _ in kms.seen[0][2]] == [b"host"]
    headers = replies[0][1]
    assert headers[b"content-type"] == b"application/vnd.cloister.key-bundle+cbor"
    assert headers[b"cache-control"] == b"public, max-age=60"
    assert b"etag" not in headers


async def test_the_bundle_comes_from_another_instance_of_the_kms_where_one_is_gone():
    kms = bundle(b"max-age=60")
    nowhere = "http://127.0.0.1:1/"
    async with serving(kms) as url, relay_before(nowhere, bundle=(nowhere, f"{url}/b")) as origin:
        client = HttpClient(origin)
        assert (await ask(client, b"GET", b"/bundle", [], b""))[2] == b"the bundle"
        await client.close()


async def test_a_bundle_that_is_no_longer_fresh_is_fetched_again():
    kms = bundle(b"max-age=1")
    async with relaying(Upstream(ANSWER), kms=kms) as client:
        await ask(client, b"GET", b"/bundle", [], b"")
        await ask(client, b"GET", b"/bundle", [], b"")
        await asyncio.sleep(1.05)
        await ask(client, b"GET", b"/bundle", [], b"")
    assert len(kms.seen) == 2


@pytest.mark.parametrize(("code", "answer"), [(502, Response(500, [], b"canary")), (504, never)])
async def test_a_kms_that_fails_is_a_502_or_504_and_is_asked_again(code, answer):
    kms = Upstream(answer)
    async with relaying(Upstream(ANSWER), kms=kms, bundle_seconds=0.2) as client:
        for _ in range(2):
            status, _, body = await ask(client, b"GET", b"/bundle", [], b"")
            assert (status, json.loads(body)["retry"]) == (code, True)
    assert len(kms.seen) == 2


async def test_a_bundle_over_the_cap_is_not_kept():
    async with relaying(Upstream(ANSWER), kms=bundle(b"max-age=60"), bundle_bytes=9) as client:
        assert (await ask(client, b"GET", b"/bundle", [], b""))[0] == 502


async def test_a_caller_that_leaves_does_not_end_the_fetch_of_the_others():
    gate = asyncio.Event()

    async def late():
        await gate.wait()
        return Response(200, [(b"cache-control", b"max-age=60")], b"the bundle")

    kms = Upstream(late)
    async with relaying(Upstream(ANSWER), kms=kms) as client:
        async with connected(client.origin) as (_, writer):
            writer.write(b"GET /bundle HTTP/1.1\r\nHost: h\r\n\r\n")
            await asyncio.sleep(0.1)
            other = asyncio.create_task(ask(client, b"GET", b"/bundle", [], b""))
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.05)
        gate.set()
        assert (await other)[2] == b"the bundle"
    assert len(kms.seen) == 1


@pytest.mark.parametrize(
    ("control", "seconds"),
    [
        (b"max-age=60", 60),
        (b"public,max-age=60", 60),
        (b"max-age=60, no-store", 0),
        (b"private, max-age=60", 0),
        (b"s-max-age=60", 0),
        (b"", 0),
        (b"max-age=999999999", 3600),
        (b"max-age=x", 0),
    ],
)
def test_a_bundle_is_kept_as_long_as_cache_control_says_and_never_over_an_hour(control, seconds):
    assert fresh_seconds([(b"cache-control", control)]) == seconds


def test_a_bundle_without_cache_control_is_not_kept():
    assert fresh_seconds([]) == 0
