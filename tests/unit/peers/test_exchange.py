"""Calls to peers that do not answer as they should."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from tests.doubles.served import served

from cloister.errors import Refused, Unavailable, UsageError
from cloister.formats.add_checkpoint import AddCheckpoint
from cloister.hosting.answers import problem_response
from cloister.hosting.problem import Problem
from cloister.peers.exchange import Exchange, PeerRefused
from cloister.peers.ledger import LedgerClient
from cloister.peers.witness import WitnessClient


def answering(response, *, path="/{path:path}"):
    async def answer(request):
        await request.body()
        return response

    return Starlette(routes=[Route(path, answer, methods=["GET", "POST", "PUT"])])


def problem(status, *, check=None, retry=False):
    return problem_response(Problem(title="", status=status, detail="because", retry=retry, check=check))


async def ask(response, *, limit=100):
    async with served(answering(response)) as url, Exchange("the peer", url, seconds=5) as exchange:
        return await exchange.ask("GET", "/path", limit=limit)


@pytest.mark.parametrize(
    ("response", "error", "sentence"),
    [
        (problem(503), Unavailable, "the peer: because"),
        (problem(500), Unavailable, "the peer: because"),
        (problem(429, retry=True), Unavailable, "the peer: because"),
        (problem(403, check="some.check"), Refused, "some.check: the peer: because"),
        (problem(400), PeerRefused, "the peer refused: because"),
        (Response("<html>", 404), PeerRefused, "the peer refused: status 404"),
        (Response(bytes(100_000), 404), Unavailable, "the peer sent a broken answer: over 100 bytes"),
        (RedirectResponse("/elsewhere"), PeerRefused, "the peer refused: status 307"),
        (Response(bytes(101)), Unavailable, "the peer sent a broken answer: over 100 bytes"),
        (Response(bytes(1_000_000)), Unavailable, "the peer sent a broken answer: over 100 bytes"),
    ],
)
async def test_each_failure_is_told_in_this_systems_words(response, error, sentence):
    with pytest.raises(error, match=sentence):
        await ask(response)


async def test_a_whole_answer_comes_back():
    assert (await ask(Response(bytes(100)))).body == bytes(100)


async def test_a_peer_that_hangs_is_unavailable():
    async def hang(_request):
        await asyncio.sleep(2)
        return Response()

    app = Starlette(routes=[Route("/", hang)])
    async with served(app) as url, Exchange("the peer", url, seconds=0.2) as exchange:
        with pytest.raises(Unavailable, match=r"the peer did not answer within 0\.2 s"):
            await exchange.ask("GET", "/", limit=1)


async def test_a_peer_that_is_not_there_is_unavailable():
    async with served(answering(Response())) as url:
        pass
    async with Exchange("the peer", url, seconds=5) as exchange:
        with pytest.raises(Unavailable, match="the peer cannot be reached"):
            await exchange.ask("GET", "/", limit=1)


@pytest.mark.parametrize("url", ["", "127.0.0.1:1", "ftp://a", "http://", "http://a/?q", "http://a/#f"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(UsageError, match="not the address of the peer"):
        Exchange("the peer", url, seconds=1)


async def test_an_exchange_is_entered_first():
    with pytest.raises(RuntimeError, match="entered"):
        await Exchange("the peer", "http://127.0.0.1:1", seconds=1).ask("GET", "/", limit=1)


@pytest.mark.parametrize(
    "call",
    [
        lambda ledger: ledger.append(b"entry"),
        lambda ledger: ledger.entries(0, 2),
        lambda ledger: ledger.inclusion(0, 1),
        lambda ledger: ledger.consistency(1, 1),
        lambda ledger: ledger.put_blob(b"blob"),
        lambda ledger: ledger.get_blob(bytes(32)),
    ],
)
@pytest.mark.parametrize(
    ("status", "body"), [(200, b"junk"), (201, b"junk"), (200, b"\x80"), (201, b"\x58\x20" + bytes(32))]
)
async def test_a_ledger_that_answers_nonsense_is_unavailable(call, status, body):
    async with served(answering(Response(body, status))) as url, LedgerClient(url) as ledger:
        try:
            answer = await call(ledger)
        except (Unavailable, PeerRefused):
            return
        assert answer == ()  # an empty path is one


@pytest.mark.parametrize(
    "response",
    [
        Response(b"junk"),
        Response(b""),
        Response("x\n", 409, {"content-type": "text/x.tlog.size"}),
        Response(b"\xff\n", 409, {"content-type": "text/x.tlog.size"}),
    ],
)
async def test_a_witness_that_answers_nonsense_is_unavailable(response):
    async with served(answering(response)) as url, WitnessClient("witness.test", url) as witness:
        with pytest.raises(Unavailable, match=r"the witness witness\.test sent a broken answer"):
            await witness.add_checkpoint(AddCheckpoint(0, (), b"note"))
