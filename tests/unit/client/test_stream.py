"""Requests that go out as they are made, and answers that are handed on as they come and proved at their end."""

import asyncio

import pytest
from tests.doubles.http_peers import serving
from tests.doubles.relayed_service import clear_answer, session_with
from tests.doubles.relays import relay_before
from tests.doubles.streaming_service import StreamingService, in_pieces, until
from tests.speech import form

from cloister.client.answer_stream import AnswerCut
from cloister.client.clear_answer import KeyNotHeld, TooManyRequests
from cloister.client.exchange import DATE_PROBLEM_TYPE, MAXIMUM_REQUEST, AnswerNotOpened, NotAdmitted, UserRequest
from cloister.client.memory_file import MemoryFile
from cloister.client.receipts import verify_receipt
from cloister.client.relay import Relay, RelayTooSlow, RelayUnavailable, Waits
from cloister.client.session import Session
from cloister.client.upload import KEPT, NotSentAgain
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats import binary_http, binary_http_stream
from cloister.hosting.http_exchange import Response
from cloister.hosting.problem import Problem
from cloister.ohttp.padding import padded_length
from cloister.testing.world import NOON, Node
from cloister.trust.receipt import ReceiptRefused

SPEECH = b"RIFF of a voice"
BODY, CONTENT_TYPE = form(SPEECH, model="whisper-1")
HEADERS = (("Content-Type", CONTENT_TYPE), ("Accept", "text/event-stream"), ("Authorization", "Bearer canary"))
REQUEST = UserRequest("POST", "/v1/audio/transcriptions", HEADERS)
PLAIN = UserRequest("POST", "/v1/audio/transcriptions", (("Content-Type", "audio/wav"),))


@pytest.fixture
def service():
    return StreamingService()


async def streamed(session, request=REQUEST, body=None):
    """The whole answer: status, headers, pieces, receipt."""
    body = in_pieces(BODY, 7) if body is None else body
    async with session.stream(request, body) as answer:
        pieces = [piece async for piece in answer]
        return answer.status, answer.headers, pieces, answer.receipt


async def test_a_stream_comes_back_event_by_event_with_a_receipt_to_keep(service, tmp_path):
    async with session_with(service, tmp_path) as session:
        status, headers, pieces, receipt = await streamed(session)
    assert (status, headers, pieces) == (200, (("content-type", "text/event-stream"),), service.events)
    assert bytes(service.arrived[0].body) == BODY
    answer = b"".join(pieces)
    verify_receipt(receipt, service.world.policy(), request_file=SPEECH, response_file=answer).require()


async def test_only_allow_listed_headers_travel(service, tmp_path):
    async with session_with(service, tmp_path) as session:
        await streamed(session)
    (inner,) = service.opened
    assert [name for name, _ in inner.headers] == ["accept", "content-type", "date"]
    (outer,) = [headers for method, _, headers, _ in service.seen if method == "POST"]
    assert {name for name, _ in outer} == {b"host", b"content-type", b"incremental", b"transfer-encoding"}


async def test_each_event_is_handed_on_before_the_next_was_made(service, tmp_path):
    service.gate = asyncio.Event()
    async with session_with(service, tmp_path) as session, session.stream(REQUEST, in_pieces(BODY, 7)) as answer:
        async with asyncio.timeout(5):
            assert await anext(answer) == service.events[0]
        assert answer.receipt is None
        service.gate.set()
        assert [piece async for piece in answer] == service.events[1:]
        assert answer.receipt is not None


async def test_the_request_goes_out_while_it_is_made(service, tmp_path):
    more = asyncio.Event()

    async def slowly():
        yield bytes(200_000)
        await more.wait()
        yield b"end"

    async with session_with(service, tmp_path) as session:
        sending = asyncio.create_task(streamed(session, PLAIN, slowly()))
        await until(lambda: service.arrived and len(service.arrived[0].body) > 131_000)
        more.set()
        await sending
    assert bytes(service.arrived[0].body) == bytes(200_000) + b"end"


async def test_requests_of_nearby_sizes_look_the_same_however_they_are_split(service, tmp_path):
    async with session_with(service, tmp_path) as session:
        for size, pieces in ((300_000, 300_000), (300_900, 7_001)):
            await streamed(session, PLAIN, in_pieces(bytes(size), pieces))
    first, second = (arriving.size for arriving in service.arrived)
    assert first == second
    padded = padded_length(300_300)
    chunks = -(-padded // 65_536)
    assert first == 7 + 1120 + padded + 16 * chunks + 4 * (chunks - 1) + 1


async def test_a_key_that_is_not_held_is_asked_for_and_the_request_goes_again(service, tmp_path):
    service.key_problems, service.key_problem_after = 1, 100_000
    body = bytes(range(256)) * 3000
    async with session_with(service, tmp_path) as session:
        await session.hold()
        service.renew_epoch()
        status, _, _, receipt = await streamed(session, PLAIN, in_pieces(body, 50_000))
    assert (status, bytes(service.arrived[0].body)) == (200, body)
    assert receipt is not None


async def test_a_request_goes_again_even_if_its_next_piece_is_awaited_meanwhile(service, tmp_path):
    service.key_problems, service.key_problem_after = 1, 1
    taken = asyncio.Event()

    async def slowly():
        yield bytes(100_000)
        await taken.wait()
        yield b"the rest"

    async with session_with(service, tmp_path) as session:
        await session.hold()
        service.renew_epoch()
        sending = asyncio.create_task(streamed(session, PLAIN, slowly()))
        await until(lambda: service.arrived)
        taken.set()
        await sending
    assert bytes(service.arrived[0].body) == bytes(100_000) + b"the rest"


async def test_a_key_that_is_never_held_is_given_up_after_one_more_try(service, tmp_path):
    service.key_problems = 9
    async with session_with(service, tmp_path) as session:
        with pytest.raises(KeyNotHeld):
            await streamed(session)
    assert len([method for method, *_ in service.seen if method == "POST"]) == 2


async def test_more_than_is_kept_does_not_go_again_and_says_so(service, tmp_path):
    service.key_problems, service.key_problem_after = 1, 2 * KEPT
    async with session_with(service, tmp_path) as session:
        with pytest.raises(NotSentAgain) as caught:
            await streamed(session, PLAIN, in_pieces(bytes(4 * KEPT), 65_536))
    assert (caught.value.retry, caught.value.status) == (True, 503)


async def test_a_body_that_was_given_whole_goes_again_however_long_it_is(service, tmp_path):
    service.key_problems, service.key_problem_after = 1, 2 * KEPT
    request = UserRequest("POST", "/v1/audio/transcriptions", PLAIN.headers, bytes(4 * KEPT))
    async with session_with(service, tmp_path) as session, session.stream(request) as answer:
        assert [piece async for piece in answer] == service.events
    assert len(service.arrived[0].body) == 4 * KEPT


async def test_who_sends_a_large_body_is_told_how_far_it_is(service, tmp_path):
    service.content_type, service.events, told = "application/json", [b"{}"], []
    request = UserRequest("POST", "/v1/audio/transcriptions", PLAIN.headers, bytes(200_000))
    async with session_with(service, tmp_path) as session:
        answer = await session.send(request, sent=lambda *progress: told.append(progress))
    assert (answer.response.body, answer.response.status) == (b"{}", 200)
    assert told == [(65_536, 200_000), (131_072, 200_000), (196_608, 200_000), (200_000, 200_000)]


async def test_a_wrong_clock_is_corrected_once(service, tmp_path):
    service.gateway_clock = NOON + 3600
    said = Problem(title="Bad Request", status=400, detail="date", retry=True, type=DATE_PROBLEM_TYPE)
    service.not_admitted = [said]
    async with session_with(service, tmp_path) as session:
        _, _, pieces, _ = await streamed(session)
        assert pieces == service.events
        service.not_admitted = [said, said]
        with pytest.raises(NotAdmitted):
            await streamed(session)


async def test_a_stream_without_its_final_chunk_is_cut_though_its_http_body_ended(service, tmp_path):
    service.ends_early = True
    async with session_with(service, tmp_path) as session, session.stream(REQUEST, in_pieces(BODY, 7)) as answer:
        assert [await anext(answer) for _ in service.events] == service.events
        with pytest.raises(AnswerCut) as caught:
            await anext(answer)
    assert caught.value.retry
    assert answer.receipt is None


async def test_a_connection_that_breaks_off_in_a_stream_is_no_end(service, tmp_path):
    service.cut_after = 2
    async with session_with(service, tmp_path) as session, session.stream(REQUEST, in_pieces(BODY, 7)) as answer:
        with pytest.raises(RelayUnavailable):
            [piece async for piece in answer]


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("receipt.response", {"body_digest": bytes(32)}),
        ("receipt.response", {"status": 201}),
        ("receipt.time", {"at": 0}),
    ],
)
async def test_a_stream_whose_receipt_is_of_something_else_ends_with_the_refusal(service, tmp_path, check, change):
    service.receipt = change
    async with session_with(service, tmp_path) as session, session.stream(REQUEST, in_pieces(BODY, 7)) as answer:
        with pytest.raises(ReceiptRefused, match=check):
            [piece async for piece in answer]
    assert answer.receipt is None


async def test_a_stream_of_a_gateway_that_nobody_certified_is_refused_at_its_end(service, tmp_path):
    service.signer = Node().sign
    async with session_with(service, tmp_path) as session, session.stream(REQUEST, in_pieces(BODY, 7)) as answer:
        with pytest.raises(ReceiptRefused, match=r"receipt\.key"):
            [piece async for piece in answer]


async def test_a_gateway_certified_since_is_known_at_the_streams_end(service, tmp_path):
    async with session_with(service, tmp_path) as session:
        await session.hold()
        other = Node()
        service.certify(other)
        service.signer = other.sign
        _, _, _, receipt = await streamed(session)
    assert receipt is not None


async def test_a_stream_without_a_receipt_is_none(service, tmp_path):
    service.without_receipt = True
    async with session_with(service, tmp_path) as session, session.stream(REQUEST, in_pieces(BODY, 7)) as answer:
        with pytest.raises(AnswerNotOpened, match="0 fields cloister-receipt"):
            [piece async for piece in answer]
        with pytest.raises(AnswerNotOpened, match="0 fields cloister-receipt"):
            await anext(answer)  # asked again, it has not ended well meanwhile


async def test_an_answer_in_one_chunk_is_proved_before_anything_of_it_is_shown(service, tmp_path):
    service.receipt = {"body_digest": bytes(32)}
    service.chunks = in_one_chunk(service)
    async with session_with(service, tmp_path) as session:
        with pytest.raises(ReceiptRefused, match=r"receipt\.response"):
            async with session.stream(REQUEST, in_pieces(BODY, 7)):
                pytest.fail("its head was shown")


def in_one_chunk(service):
    async def chunks(sealer, arriving):
        head = binary_http_stream.start(binary_http.Response(200, (("content-type", "application/json"),)))
        body = b"".join(map(binary_http_stream.content, service.events))
        yield sealer.head + sealer.finish(head + body + binary_http_stream.finish(service.trailers(arriving)))

    return chunks


async def test_an_answer_that_was_not_sealed_in_chunks_is_not_taken(service, tmp_path):
    service.outer = Response(200, [(b"content-type", b"message/ohttp-res")], bytes(200))
    async with session_with(service, tmp_path) as session:
        with pytest.raises(RelayUnavailable, match="answered 200"):
            await streamed(session)


async def test_bytes_that_are_no_chunks_do_not_open(service, tmp_path):
    service.outer = Response(200, [(b"content-type", b"message/ohttp-chunked-res")], bytes(200))
    async with session_with(service, tmp_path) as session:
        with pytest.raises(AnswerNotOpened, match="does not open"):
            await streamed(session)


@pytest.mark.parametrize(("status", "error"), [(413, TooLarge), (502, RelayUnavailable), (429, TooManyRequests)])
async def test_a_refusal_in_the_clear_says_which(service, tmp_path, status, error):
    service.outer = clear_answer(status)
    async with session_with(service, tmp_path) as session:
        with pytest.raises(error):
            await streamed(session)


async def test_an_answer_before_all_of_the_request_was_sent_proves_nothing(service, tmp_path):
    service.answers_at_once = True
    never = asyncio.Event()

    async def endless():
        yield bytes(100_000)
        await never.wait()

    async with session_with(service, tmp_path, Waits(upload_seconds=0.1)) as session:
        with pytest.raises(AnswerNotOpened, match="before all of the request"):
            await streamed(session, PLAIN, endless())


async def test_through_a_relay_events_come_as_they_are_made_and_leaving_reaches_the_gateway(service, tmp_path):
    service.gate = asyncio.Event()
    policy = service.world.policy()
    memory = MemoryFile(tmp_path / "client-memory", genesis=policy.constitution)
    async with (
        serving(service.answer) as gateway,
        relay_before(f"{gateway}/gateway", bundle=f"{gateway}/bundle") as relay,
        Session(policy, memory, Relay(str(relay)), clock=lambda: NOON) as session,
    ):
        async with session.stream(REQUEST, in_pieces(BODY, 7)) as answer:
            assert await anext(answer) == service.events[0]
        await until(lambda: service.arrived[0].left)
        service.gate.set()
        body = bytes(3_000_000)
        status, _, pieces, receipt = await streamed(session, PLAIN, in_pieces(body, 100_000))
    assert (status, pieces, bytes(service.arrived[1].body)) == (200, service.events, body)
    assert receipt is not None


async def test_a_relay_that_takes_nothing_more_is_given_up(service, tmp_path):
    answer = service.answer
    over = asyncio.Event()

    async def stuck(request):
        if request.target == "/bundle":
            return await answer(request)
        await over.wait()
        return clear_answer(502)

    service.answer = stuck
    async with session_with(service, tmp_path, Waits(piece_seconds=0.2)) as session:
        with pytest.raises(RelayTooSlow):
            await streamed(session, PLAIN, in_pieces(bytes(20_000_000), 500_000))
        over.set()


async def test_leaving_a_stream_closes_the_connection(service, tmp_path):
    service.gate = asyncio.Event()
    async with session_with(service, tmp_path) as session:
        async with session.stream(REQUEST, in_pieces(BODY, 7)) as answer:
            await anext(answer)
        await until(lambda: service.arrived[0].left)


async def test_a_body_that_fails_is_told_as_it_failed_and_never_taken_for_whole(service, tmp_path):
    class OfTheCaller(Exception):
        pass

    async def failing():
        yield bytes(100_000)
        raise OfTheCaller

    async with session_with(service, tmp_path) as session:
        with pytest.raises(OfTheCaller):
            await streamed(session, PLAIN, failing())
    assert service.opened == []


async def test_a_form_that_is_none_is_refused_here(service, tmp_path):
    async with session_with(service, tmp_path) as session:
        with pytest.raises(MalformedInput, match="multipart"):
            await streamed(session, REQUEST, in_pieces(b"no form", 3))
    assert service.opened == []


async def test_a_body_over_the_cap_is_refused_here(service, tmp_path):
    service.keep_bodies = False
    async with session_with(service, tmp_path) as session:
        with pytest.raises(TooLarge, match="27262976"):
            await streamed(session, PLAIN, in_pieces(bytes(MAXIMUM_REQUEST + 1), 2**20))
    assert service.opened == []


async def test_a_path_that_no_contract_can_name_is_refused_before_anything_is_asked(service, tmp_path):
    async with session_with(service, tmp_path) as session:
        with pytest.raises(UsageError, match="path"):
            await streamed(session, UserRequest("POST", "/v1/x?y"))
    assert service.seen == []
