"""What a client asks under strict privacy, and what it makes of an answer in records."""

import asyncio

import pytest
from tests.doubles.relayed_service import session_with
from tests.doubles.streaming_service import StreamingService, in_pieces, until
from tests.speech import form

from cloister.client.answer_stream import AnswerCut
from cloister.client.exchange import DATE_PROBLEM_TYPE, AnswerNotOpened, UserRequest
from cloister.client.receipts import verify_receipt
from cloister.client.relay import RelayUnavailable, Waits
from cloister.hosting.problem import Problem
from cloister.ohttp.records import RECORD_SIZE, TOTALS, Kind, write_record
from cloister.trust.receipt import ReceiptRefused

SPEECH = b"RIFF of a voice"
BODY, CONTENT_TYPE = form(SPEECH, model="whisper-1")
HEADERS = (("Content-Type", CONTENT_TYPE), ("Accept", "text/event-stream"))
REQUEST = UserRequest("POST", "/v1/audio/transcriptions", HEADERS, BODY)
PLAIN = UserRequest("POST", "/v1/audio/transcriptions", (("Content-Type", "audio/wav"),), b"RIFF")
HEAD, TAG = 7 + 1120, 16


@pytest.fixture
def service():
    return StreamingService()


def session(service, folder):
    return session_with(service, folder, privacy="strict")


async def streamed(session, request=REQUEST, body=None):
    """The whole answer: its pieces, and its receipt."""
    async with session.stream(request, body) as answer:
        pieces = [piece async for piece in answer]
        return pieces, answer.receipt


async def test_a_stream_is_taken_out_of_its_records_and_proved(service, tmp_path):
    async with session(service, tmp_path) as client:
        pieces, receipt = await streamed(client)
    assert b"".join(pieces) == b"".join(service.events)
    answer = b"".join(pieces)
    verify_receipt(receipt, service.world.policy(), request_file=SPEECH, response_file=answer).require()


async def test_an_answer_that_is_wanted_whole_comes_the_same_way(service, tmp_path):
    service.content_type = "application/json"
    async with session(service, tmp_path) as client:
        answer = await client.send(PLAIN)
    assert answer.response.body == b"".join(service.events)
    (arriving,) = service.arrived
    assert arriving.whole


async def test_the_level_is_asked_for_inside_and_nowhere_else(service, tmp_path):
    async with session(service, tmp_path) as client:
        await streamed(client)
    (inner,) = service.opened
    assert [name for name, _ in inner.headers] == ["accept", "content-type", "date", "cloister-privacy"]
    (outer,) = [headers for method, _, headers, _ in service.seen if method == "POST"]
    assert {name for name, _ in outer} == {b"host", b"content-type", b"incremental", b"transfer-encoding"}


async def test_under_standard_privacy_nothing_is_asked_for(service, tmp_path):
    async with session_with(service, tmp_path) as client:
        await streamed(client)
    assert "cloister-privacy" not in dict(service.opened[0].headers)


@pytest.mark.parametrize(
    ("sizes", "length"), [((0, 1000, 15_000), 16_384), ((17_000, 31_000), 32_768), ((140_000, 250_000), 262_144)]
)
async def test_requests_have_one_of_a_few_lengths(sizes, length, service, tmp_path):
    async with session(service, tmp_path) as client:
        for size in sizes:
            await streamed(client, PLAIN, in_pieces(bytes(size), 7001))
    chunks = -(-length // 65_536)
    expected = HEAD + length + TAG * chunks + 4 * (chunks - 1) + 1
    assert {arriving.size for arriving in service.arrived} == {expected}


async def test_nothing_leaves_before_the_request_is_whole(service, tmp_path):
    more = asyncio.Event()

    async def slowly():
        yield bytes(200_000)
        await more.wait()
        yield b"end"

    async with session(service, tmp_path) as client:
        sending = asyncio.create_task(streamed(client, PLAIN, slowly()))
        await until(lambda: service.seen)
        await asyncio.sleep(0.1)
        assert not service.arrived or not service.arrived[0].size
        more.set()
        await sending
    assert bytes(service.arrived[0].body) == bytes(200_000) + b"end"


async def test_a_wrong_date_is_corrected_as_ever(service, tmp_path):
    said = Problem(title="Date", status=400, detail="too far", retry=True, type=DATE_PROBLEM_TYPE)
    service.not_admitted = [said]
    async with session(service, tmp_path) as client:
        pieces, _ = await streamed(client)
    assert b"".join(pieces) == b"".join(service.events)


async def test_what_comes_with_the_end_waits_until_everything_held(service, tmp_path):
    service.without_receipt = True
    async with session(service, tmp_path) as client:
        with pytest.raises(AnswerNotOpened, match="carries 0 fields"):
            await streamed(client)


async def test_a_receipt_of_another_answer_is_refused(service, tmp_path):
    service.receipt = {"body_digest": bytes(32)}
    async with session(service, tmp_path) as client:
        with pytest.raises(ReceiptRefused, match=r"receipt\.response"):
            await streamed(client)


def with_data_behind_the_end(records):
    write_record(memoryview(records[30]), Kind.MORE, b"more")
    return records


def without_an_end(records):
    return [records[0], *[bytearray(RECORD_SIZE)] * (TOTALS[0] - 1)]


def of_another_form(records):
    records[40][4000] = 1
    return records


def broken_off(records):
    records[3] = bytearray(RECORD_SIZE)
    write_record(memoryview(records[3]), Kind.BROKEN, b"")
    return [*records[:4], *[bytearray(RECORD_SIZE)] * (TOTALS[0] - 4)]


@pytest.mark.parametrize(
    ("error", "what", "changed"),
    [
        (AnswerNotOpened, "behind the end", with_data_behind_the_end),
        (AnswerNotOpened, "before the answer in them does", without_an_end),
        (AnswerNotOpened, "another form", of_another_form),
        (AnswerNotOpened, "no 63 records", lambda records: records[:-1]),
        (AnswerCut, "broke off at its engine", broken_off),
    ],
)
async def test_records_that_no_gateway_sends_are_refused_by_name(error, what, changed, service, tmp_path):
    service.records = changed
    async with session(service, tmp_path) as client:
        with pytest.raises(error, match=what):
            await streamed(client)
        service.records = lambda records: records
        await streamed(client)  # and the next request knows nothing of it


@pytest.mark.parametrize(
    ("error", "what", "changed"),
    [
        (AnswerNotOpened, "does not open", lambda chunks: [chunks[1], chunks[0], *chunks[2:]]),
        (AnswerNotOpened, "does not open", lambda chunks: [chunks[0], chunks[0], *chunks[1:]]),
        (AnswerNotOpened, "does not open", lambda chunks: [*chunks[:20], *chunks[21:]]),
        (AnswerNotOpened, "does not open", lambda chunks: [*chunks, bytes(20)]),
        (AnswerCut, "cut on its way", lambda chunks: chunks[:-1]),
        (AnswerCut, "cut on its way", lambda chunks: []),
    ],
    ids=["out of order", "repeated", "dropped", "continued", "cut", "cut at once"],
)
async def test_what_becomes_of_them_on_the_way_is_noticed(error, what, changed, service, tmp_path):
    service.on_the_way = changed
    async with session(service, tmp_path) as client:
        with pytest.raises(error, match=what):
            await streamed(client)


async def test_a_gateway_that_does_not_know_the_level_is_not_believed(service, tmp_path):
    service.sealed_records = lambda sealer, arriving: [sealer.finish(b"\x03" + bytes(5000))]
    async with session(service, tmp_path) as client:
        with pytest.raises(AnswerNotOpened, match="does this gateway know strict privacy"):
            await streamed(client)


async def test_a_relay_that_breaks_off_is_named(service, tmp_path):
    def breaking(chunks):
        yield from chunks[:5]
        raise ConnectionResetError("cut for a test")

    service.on_the_way = breaking
    async with session(service, tmp_path) as client:
        with pytest.raises(RelayUnavailable, match="broke off"):
            await streamed(client)


async def test_who_leaves_at_the_last_event_leaves_no_trace(service, tmp_path):
    async with session(service, tmp_path) as client:
        async with client.stream(REQUEST) as answer:
            await anext(answer)
        await until(lambda: service.arrived[0].whole)
        assert not service.arrived[0].left


async def test_an_answer_that_nobody_wants_is_not_read_for_ever(service, tmp_path):
    service.on_the_way, service.hangs = lambda chunks: chunks[:3], True  # the head and the first event
    async with session_with(service, tmp_path, Waits(left_seconds=0.3), privacy="strict") as client:
        async with client.stream(REQUEST) as answer:
            assert await anext(answer) == service.events[0]
        await asyncio.sleep(0.1)
        assert not service.arrived[0].left  # not at once
        await until(lambda: service.arrived[0].left)
