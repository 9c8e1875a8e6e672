"""What passes through the proxy piece by piece, to a caller over a real socket."""

import asyncio
import contextlib
import json
from dataclasses import replace

import pytest
from tests.doubles.http_peers import connected, serving
from tests.doubles.proxies import PATH, TOKEN, call, proxy_before
from tests.doubles.relayed_service import clear_answer
from tests.doubles.streaming_service import StreamingService, until
from tests.speech import form

from cloister.client.receipts import load_receipt, verify_receipt
from cloister.client.upload import KEPT
from cloister.testing.world import NOON

SPEECH = b"RIFF of a voice"
BODY, CONTENT_TYPE = form(SPEECH, model="whisper-1", stream="true")


@pytest.fixture
def service():
    return StreamingService()


@contextlib.asynccontextmanager
async def proxying(service, folder, **changes):
    """The origin of a proxy before `service`."""
    async with (
        serving(service.answer) as relay,
        proxy_before(str(relay), service.world.policy(), folder, clock=lambda: NOON, **changes) as origin,
    ):
        yield origin


@contextlib.asynccontextmanager
async def asking(origin, body=BODY, content_type=CONTENT_TYPE, *, missing=0):
    """A caller who has sent its request, and reads what comes itself."""
    head = (
        f"POST {PATH.decode()} HTTP/1.1\r\nhost: {origin.host}:{origin.port}\r\nauthorization: Bearer {TOKEN}\r\n"
        f"content-type: {content_type}\r\ncontent-length: {len(body) + missing}\r\n\r\n"
    )
    async with asyncio.timeout(20), connected(origin) as (reader, writer):
        writer.write(head.encode() + body)
        yield reader, writer


async def head_of(reader):
    """The status line and the headers of an answer."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    return lines[0], dict(line.split(": ", 1) for line in lines[1:] if line)


async def chunk_of(reader):
    """One chunk of an answer; nothing at its end."""
    size = int(await reader.readline(), 16)
    data = await reader.readexactly(size)
    assert await reader.readexactly(2) == b"\r\n"
    return data


async def test_events_come_as_they_are_opened_and_the_receipt_is_kept_at_the_end(service, tmp_path):
    service.gate = asyncio.Event()
    async with proxying(service, tmp_path) as origin, asking(origin) as (reader, _):
        line, headers = await head_of(reader)
        assert (line, headers["content-type"]) == ("HTTP/1.1 200 OK", "text/event-stream")
        assert await chunk_of(reader) == service.events[0]
        kept = tmp_path / "receipts" / headers["cloister-receipt-file"]
        assert not kept.exists()
        service.gate.set()
        assert [await chunk_of(reader) for _ in range(3)] == [*service.events[1:], b""]
        stored = load_receipt(kept)
    answer = b"".join(service.events)
    verify_receipt(stored, service.world.policy(), request_file=SPEECH, response_file=answer).require()


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"cut_after": 2}, "unavailable"),
        ({"ends_early": True}, "answer_cut"),
        ({"receipt": {"body_digest": bytes(32)}}, "receipt.response"),
        ({"without_receipt": True}, "answer_not_opened"),
    ],
)
async def test_a_stream_that_is_cut_or_not_proved_ends_in_an_error_event_and_without_an_end(
    service, tmp_path, fault, code
):
    vars(service).update(fault)
    async with proxying(service, tmp_path) as origin, asking(origin) as (reader, _):
        await head_of(reader)
        rest = await reader.read()
    assert not rest.endswith(b"0\r\n\r\n")
    said = rest.rpartition(b"event: error\ndata: ")[2].partition(b"\n\n")[0]
    error = json.loads(said)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    assert not list(tmp_path.glob("receipts/*"))


async def test_an_event_that_was_cut_in_its_middle_is_ended_before_the_error(service, tmp_path):
    service.events, service.cut_after = [b'data: {"te', b'xt": 1}\n\n'], 2
    async with proxying(service, tmp_path) as origin, asking(origin) as (reader, _):
        await head_of(reader)
        assert await chunk_of(reader) == b'data: {"te'
        assert (await chunk_of(reader)).startswith(b"\n\nevent: error\ndata: {")


async def test_an_answer_that_is_no_stream_of_events_is_proved_before_it_is_shown(service, tmp_path):
    service.content_type, service.events = "application/json", [b'{"text": ', b'"of a voice"}']
    async with proxying(service, tmp_path) as origin:
        status, headers, body = await call(origin, BODY, CONTENT_TYPE)
        assert (status, body, headers[b"content-length"]) == (200, b"".join(service.events), b"22")
        assert load_receipt(tmp_path / "receipts" / headers[b"cloister-receipt-file"].decode()).status == 200
        service.receipt = {"body_digest": bytes(32)}
        status, _, body = await call(origin, BODY, CONTENT_TYPE)
    assert (status, json.loads(body)["error"]["code"]) == (502, "receipt.response")


async def test_a_large_answer_is_handed_on_before_all_of_it_has_come(service, tmp_path):
    service.content_type, service.gate = "audio/wav", asyncio.Event()
    service.events = [bytes(50_000)] * 30
    async with proxying(service, tmp_path) as origin, asking(origin) as (reader, _):
        service.gate.set()
        await head_of(reader)
        received = b""
        while chunk := await chunk_of(reader):
            received += chunk
    assert received == bytes(1_500_000)


@pytest.mark.parametrize("size", [70_000, 2 * KEPT])
async def test_a_large_body_streams_through(service, tmp_path, size):
    service.content_type, service.events = "application/json", [b"{}"]
    body = bytes(range(256)) * (size // 256)
    async with proxying(service, tmp_path) as origin:
        status, _, _ = await call(origin, body, "audio/wav")
    assert (status, bytes(service.arrived[0].body)) == (200, body)


async def test_a_small_body_that_asks_for_no_stream_goes_in_one_piece(service, tmp_path):
    body, content_type = form(SPEECH, model="whisper-1")
    async with proxying(service, tmp_path) as origin:
        status, _, _ = await call(origin, body, content_type)
    assert (status, service.arrived) == (200, [])


async def test_a_caller_who_leaves_amid_a_stream_is_left_at_the_relay(service, tmp_path):
    service.gate = asyncio.Event()
    async with proxying(service, tmp_path) as origin:
        async with asking(origin) as (reader, writer):
            await head_of(reader)
            assert await chunk_of(reader) == service.events[0]
            writer.transport.abort()
        await until(lambda: service.arrived[0].left)
    assert not list(tmp_path.glob("receipts/*"))


async def test_under_strict_privacy_a_caller_gets_the_events_alone_and_its_receipt(service, tmp_path):
    async with proxying(service, tmp_path, privacy="strict") as origin:
        status, headers, body = await call(origin, BODY, CONTENT_TYPE)
    assert (status, body) == (200, b"".join(service.events))
    stored = load_receipt(tmp_path / "receipts" / headers[b"cloister-receipt-file"].decode())
    verify_receipt(stored, service.world.policy(), request_file=SPEECH, response_file=body).require()
    assert dict(service.opened[0].headers)["cloister-privacy"] == "strict"


async def test_under_strict_privacy_a_caller_who_leaves_is_not_seen_to_leave_at_once(service, tmp_path):
    service.hangs, service.on_the_way = True, lambda chunks: chunks[:3]
    async with proxying(service, tmp_path, privacy="strict") as origin:
        async with asking(origin) as (reader, _):
            await head_of(reader)
            assert await chunk_of(reader) == service.events[0]
        await asyncio.sleep(0.3)
        assert not service.arrived[0].left


async def test_a_caller_who_leaves_amid_an_upload_has_sent_no_request(service, tmp_path):
    async with proxying(service, tmp_path) as origin:
        async with asking(origin, bytes(2 * KEPT), "audio/wav", missing=1) as (_, writer):
            await until(lambda: service.arrived and len(service.arrived[0].body) > KEPT)
            writer.transport.abort()
        await until(lambda: service.arrived[0].broke_off)
    assert service.opened == []


async def test_a_refusal_before_the_answer_begins_has_a_status_of_its_own(service, tmp_path):
    service.key_problems = 9
    async with proxying(service, tmp_path) as origin:
        status, _, body = await call(origin, BODY, CONTENT_TYPE)
    assert (status, json.loads(body)["error"]["code"]) == (503, "unavailable")


async def test_a_client_that_asks_too_much_is_told_when_to_come_back(service, tmp_path):
    refused = clear_answer(429)
    service.outer = replace(refused, headers=[*refused.headers, (b"retry-after", b"7")])
    async with proxying(service, tmp_path) as origin:
        for body in (BODY, b"{}"):
            status, headers, told = await call(origin, body, CONTENT_TYPE if body is BODY else "application/json")
            assert (status, json.loads(told)["error"]["code"]) == (429, "rate_limit_exceeded")
            assert headers[b"retry-after"] == b"7"


async def test_what_cannot_be_sent_again_is_for_the_caller_to_repeat(service, tmp_path):
    service.key_problems, service.key_problem_after = 1, 2 * KEPT
    async with proxying(service, tmp_path) as origin:
        status, headers, body = await call(origin, bytes(4 * KEPT), "audio/wav")
    assert (status, json.loads(body)["error"]["code"]) == (503, "send_again")
    assert b"x-should-retry" not in headers
