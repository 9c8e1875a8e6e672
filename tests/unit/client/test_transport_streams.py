"""What streams through the transports: long requests as they are read, answers as they come, and how they end."""

import asyncio
import contextlib
import time
from typing import Any

import httpx
import httpx2
import pytest
from tests.doubles.http_peers import serving
from tests.doubles.streaming_service import StreamingService, until

import cloister
from cloister.client.receipts import load_receipt
from cloister.formats.trust_policy import format_trust_policy
from cloister.testing.world import Node

URL = "https://api.openai.com/v1/audio/transcriptions"
ASKING: dict[str, Any] = {"content": b"stream=true", "headers": {"content-type": "application/x-www-form-urlencoded"}}
EVENTS = [b"data: one\n\n", b"data: two\n\n", b"data: [DONE]\n\n"]
LONG = [bytes([number]) * 50_000 for number in range(40)]  # 2 MB

both_libraries = pytest.mark.parametrize("http", [httpx, httpx2], ids=["httpx", "httpx2"])
with_and_without_loop = pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])


@pytest.fixture
def service(now):
    """A service whose world is valid now, and that takes chunks."""
    return StreamingService(now)


@contextlib.asynccontextmanager
async def named(service, folder):
    """The options that name `service`, whose trust policy is in `folder`."""
    (folder / "policy.toml").write_text(format_trust_policy(service.world.policy(), comment="tests"))
    async with serving(service.answer) as relay:
        yield {"relay": str(relay), "trust_policy": folder / "policy.toml", "receipts": folder / "kept"}


async def read(http, options, *, sync, when=lambda _piece: None, leave=False, **request):
    """A program's reading of a streamed answer: the response, and the pieces; `when` hears of each."""
    pieces = []

    def heard(piece):
        pieces.append(piece)
        when(piece)
        return leave

    if sync:

        def run():
            with (
                http.Client(transport=cloister.transport(http, **options)) as client,
                client.stream("POST", URL, **request) as answer,
            ):
                next((True for piece in answer.iter_raw() if heard(piece)), None)
                return answer

        return await asyncio.to_thread(run), pieces
    async with (
        http.AsyncClient(transport=cloister.async_transport(http, **options)) as client,
        client.stream("POST", URL, **request) as answer,
    ):
        async for piece in answer.aiter_raw():
            if heard(piece):
                break
    return answer, pieces


@both_libraries
@with_and_without_loop
async def test_events_come_one_by_one_and_the_receipt_is_kept_at_their_end(http, sync, service, tmp_path):
    service.gate, loop, seen = asyncio.Event(), asyncio.get_running_loop(), []

    def first_of_all(piece):
        seen.append((piece, service.gate.is_set()))
        loop.call_soon_threadsafe(service.gate.set)

    async with named(service, tmp_path) as options:
        answer, pieces = await read(http, options, sync=sync, when=first_of_all, **ASKING)
    assert b"".join(pieces) == b"".join(EVENTS)
    assert seen[0] == (EVENTS[0], False)
    assert answer.headers["content-type"] == "text/event-stream"
    (kept,) = (tmp_path / "kept").iterdir()
    assert answer.headers["cloister-receipt-file"] == str(kept)
    assert load_receipt(kept).status == 200


@with_and_without_loop
async def test_events_that_all_come_at_once_are_all_handed_on(sync, service, tmp_path):
    service.events = []
    async with named(service, tmp_path) as options:
        _, none = await read(httpx, options, sync=sync, **ASKING)
        service.events = [b"data: [DONE]\n\n"]
        _, one = await read(httpx, options, sync=sync, **ASKING)
    assert (b"".join(none), b"".join(one)) == (b"", b"data: [DONE]\n\n")


@both_libraries
@with_and_without_loop
async def test_a_long_request_goes_in_chunks_as_it_is_read(http, sync, service, tmp_path):
    service.content_type = "application/json"

    async def slowly():
        for piece in LONG:
            yield piece

    async with named(service, tmp_path) as options:
        answer, pieces = await read(http, options, sync=sync, content=iter(LONG) if sync else slowly())
    (arrived,) = service.arrived
    assert arrived.body == b"".join(LONG)
    assert (answer.status_code, b"".join(pieces)) == (200, b"".join(EVENTS))


def break_off(service):
    service.cut_after = 2


def end_early(service):
    service.ends_early = True


def sign_as_another(service):
    service.signer = Node().sign


@both_libraries
@with_and_without_loop
@pytest.mark.parametrize(
    ("change", "words"),
    [(break_off, "broke off"), (end_early, "not whole"), (sign_as_another, r"receipt\.key")],
)
async def test_an_answer_that_is_not_whole_and_proved_raises_at_its_end(http, sync, change, words, service, tmp_path):
    change(service)
    async with named(service, tmp_path) as options:
        with pytest.raises(http.TransportError, match=words) as caught:
            await read(http, options, sync=sync, **ASKING)
    assert caught.value.request.method == "POST"
    assert not (tmp_path / "kept").exists()


@with_and_without_loop
async def test_an_answer_that_is_no_stream_of_events_is_held_back_until_it_is_proved(sync, service, tmp_path):
    service.content_type = "text/plain"
    sign_as_another(service)
    heard: list[bytes] = []
    async with named(service, tmp_path) as options:
        with pytest.raises(httpx.RemoteProtocolError, match=r"receipt\.key"):
            await read(httpx, options, sync=sync, when=heard.append, **ASKING)
    assert heard == []


@with_and_without_loop
async def test_leaving_an_answer_ends_it_at_the_relay(sync, service, tmp_path):
    service.gate = asyncio.Event()
    async with named(service, tmp_path) as options:
        _, pieces = await read(httpx, options, sync=sync, leave=True, **ASKING)
        service.gate.set()
        await until(lambda: service.arrived[0].left)
    assert pieces == EVENTS[:1]


@with_and_without_loop
async def test_a_pause_longer_than_the_programs_limit_is_a_read_timeout(sync, service, tmp_path):
    service.gate = asyncio.Event()
    heard: list[bytes] = []
    async with named(service, tmp_path) as options:
        with pytest.raises(httpx.ReadTimeout, match="within the time"):
            await read(httpx, options, sync=sync, when=heard.append, timeout=0.3, **ASKING)
        service.gate.set()
    assert heard == EVENTS[:1]


@with_and_without_loop
async def test_a_request_that_takes_longer_than_the_limit_is_none_while_it_comes(sync, service, tmp_path):
    service.content_type = "application/json"

    def slow():
        for piece in LONG[:5]:
            time.sleep(0.15)
            yield piece

    async def slow_too():
        for piece in LONG[:5]:
            await asyncio.sleep(0.15)
            yield piece

    async with named(service, tmp_path) as options:
        content = slow() if sync else slow_too()
        answer, _ = await read(httpx, options, sync=sync, content=content, timeout=0.5)
    assert answer.status_code == 200


async def test_a_program_that_closes_its_client_amid_an_answer_is_told(service, tmp_path):
    service.gate = asyncio.Event()

    def run(options):
        client = httpx.Client(transport=cloister.transport(httpx, **options))
        with client.stream("POST", URL, **ASKING) as answer:
            pieces = answer.iter_raw()
            next(pieces)
            client.close()
            next(pieces)

    async with named(service, tmp_path) as options:
        with pytest.raises(httpx.TransportError, match="closed"):
            await asyncio.to_thread(run, options)
