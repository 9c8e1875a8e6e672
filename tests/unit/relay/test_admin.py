"""What a relay tells of itself, and where: never on the port that clients have."""

import contextlib
import json
import socket

import pytest
from tests.doubles.http_peers import serving
from tests.doubles.relays import relay_before

from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_exchange import Response
from cloister.hosting.http_message import Origin

BUNDLE = Response(200, [(b"content-type", b"application/cbor"), (b"cache-control", b"max-age=60")], b"the bundle")


def ready(missing=()):
    """A gateway that says of itself that it is ready, or what it lacks."""
    told = json.dumps({"ready": not missing, "missing": list(missing)}).encode()

    async def answer(request):
        if request.target == "/ready":
            return Response(503 if missing else 200, [(b"content-type", b"application/json")], told)
        await request.body.read(100)
        return Response(200, [(b"content-type", b"message/ohttp-res")], b"sealed")

    return answer


@contextlib.asynccontextmanager
async def relaying(*gateways, kms=BUNDLE):
    """A client of a relay, and one of its administration."""

    async def bundle(_request):
        return kms

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with contextlib.AsyncExitStack() as stack:
        urls = [f"{await stack.enter_async_context(serving(gateway))}/in" for gateway in gateways]
        bundle_url = f"{await stack.enter_async_context(serving(bundle))}/bundle"
        origin = await stack.enter_async_context(relay_before(*urls, bundle=bundle_url, admin_port=port))
        client, admin = HttpClient(origin), HttpClient(Origin("127.0.0.1", port))
        stack.push_async_callback(client.close)
        stack.push_async_callback(admin.close)
        yield client, admin


async def get(client, path):
    async with client.exchange(b"GET", path, [], seconds=5) as reply:
        return reply.status, await reply.body.read(100_000)


async def test_it_is_ready_where_a_bundle_can_be_had_and_one_gateway_can_serve():
    async with relaying(ready(["a transport key"]), ready()) as (_, admin):
        assert await get(admin, b"/ready") == (200, b'{"ready":true,"missing":[]}')


async def test_it_says_in_words_what_each_gateway_lacks_and_that_there_is_no_bundle():
    broken = Response(503, [], b"")
    async with relaying(ready(["a transport key"]), ready(["the engine"]), kms=broken) as (_, admin):
        status, told = await get(admin, b"/ready")
    bundle, gateways = json.loads(told)["missing"]
    assert status == 503
    assert bundle == "the KMS answered 503 when asked for the bundle"
    assert "a transport key" in gateways
    assert "the engine" in gateways


@pytest.mark.parametrize("path", [b"/health", b"/ready", b"/metrics", b"/version"])
async def test_clients_have_none_of_these_routes(path):
    async with relaying(ready()) as (client, admin):
        assert (await get(client, path))[0] == 404
        assert (await get(admin, path))[0] == 200


@pytest.mark.parametrize("path", [b"/bundle", b"/gateway", b"/"])
async def test_the_administration_relays_nothing(path):
    async with relaying(ready()) as (_, admin):
        assert (await get(admin, path))[0] == 404


async def test_it_counts_requests_of_all_clients_together():
    sealed = [(b"content-type", b"message/ohttp-req")]
    async with relaying(ready()) as (client, admin):
        for _ in range(3):
            async with client.exchange(b"POST", b"/gateway", sealed, b"sealed", seconds=5) as reply:
                assert await reply.body.read(100) == b"sealed"
        _, told = await get(admin, b"/metrics")
    assert b"cloister_relay_admitted_total 3.0" in told
    assert b"cloister_relay_turned_away_total 0.0" in told
    assert b"127.0.0.1" not in told
