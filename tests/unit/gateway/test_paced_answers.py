"""Answers in records, over real sockets: what shows outside is the same whatever the engine does, and when."""

import asyncio
import re

import pytest
from tests.doubles.chunked_gateway import EVENTS, world
from tests.doubles.sealed_client import EPOCH, NOON, request
from tests.doubles.served_gateway import Receipts

from cloister.formats.binary_http import Framing, encode_head
from cloister.formats.binary_http_stream import content as binary_http_content
from cloister.formats.binary_http_stream import finish
from cloister.hosting.http_inbound_state import InboundLimits
from cloister.ohttp.chunked import RESPONSE_MEDIA_TYPE
from cloister.ohttp.encapsulation import RESPONSE_NONCE_SIZE
from cloister.ohttp.records import RECORD_SIZE, TICK_SECONDS, TOTALS, BrokenOff, RecordReader
from cloister.services.gateway.engines import QueueLimits
from cloister.services.gateway.paced_stream import AHEAD

FAST = 0.002  # seconds between two records
STRICT = (("cloister-privacy", "strict"),)
CHUNK = RECORD_SIZE + 16 + 2  # a record with its tag, and its length in two bytes
# What one answer of the first number of records looks like outside, piece by piece, and its end.
SHOWN = [RESPONSE_NONCE_SIZE + CHUNK, *[CHUNK] * (TOTALS[0] - 2), RECORD_SIZE + 16 + 1, 0]


async def ask(here, *pieces, headers=STRICT, **changes):
    """The answer, and the sizes of the pieces that it came in."""
    async with here.client(records=RecordReader()) as client:
        client.begin(request(headers=headers, **changes))
        for piece in pieces:
            await client.more(piece)
        client.end()
        return await client.answer(), client.sizes


async def test_an_answer_that_is_whole_at_once_comes_in_records_of_one_size(tmp_path):
    async with world(tmp_path, tick_seconds=FAST) as here:
        answer, sizes = await ask(here, b"so", b"und")
    assert answer == (200, {"content-type": "text/plain"}, b"sound", {"cloister-receipt": "receipt"})
    assert sizes == SHOWN


async def test_events_come_in_records_as_they_are_made_and_nothing_shows_when(tmp_path):
    async with world(tmp_path, tick_seconds=FAST) as here:
        here.engine.stream = True
        answer, sizes = await ask(here, b"sound")
    assert answer == (200, {"content-type": "text/event-stream"}, b"".join(EVENTS), {"cloister-receipt": "receipt"})
    assert sizes == SHOWN


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (404, {"path": "/v1/other"}),
        (405, {"method": "GET"}),
        (400, {"date": NOON - 4000}),
        (400, {"date": "yesterday"}),
    ],
)
async def test_refusals_look_like_every_answer(status, changes, tmp_path):
    async with world(tmp_path, tick_seconds=FAST) as here:
        (said, _, _, _), sizes = await ask(here, b"sound", **changes)
        here.engine.left.set()  # it was never asked
    assert said == status
    assert sizes == SHOWN


async def test_an_engine_that_is_busy_or_gone_looks_like_every_answer(tmp_path):
    async with world(tmp_path, tick_seconds=FAST, queue=QueueLimits(waiting=0), connections=0) as here:
        (said, _, _, trailers), sizes = await ask(here, b"sound")
        here.engine.left.set()
    assert (said, trailers) == (429, {"cloister-receipt": "receipt"})
    assert sizes == SHOWN
    assert here.receipts.sealed == [(EPOCH, "/v1/audio/transcriptions", 429)]


async def test_records_go_while_the_engine_thinks(tmp_path):
    async with world(tmp_path, tick_seconds=FAST) as here, here.client(records=RecordReader()) as client:
        here.engine.go_on.clear()
        client.begin(request(headers=STRICT))
        client.end()
        assert await client.head() == (200, RESPONSE_MEDIA_TYPE)
        for _ in range(10):
            assert await client.read() == b""
        assert client.decoder.head is None
        here.engine.go_on.set()
        await client.rest()
        assert client.decoder.head is not None
    assert client.sizes == SHOWN


async def test_an_answer_beyond_the_first_number_of_records_goes_on_to_the_next(tmp_path):
    async with world(tmp_path, tick_seconds=FAST) as here:
        (_, _, body, _), sizes = await ask(here, *[bytes(60_000)] * 5)
    assert len(body) == 300_000
    assert len(sizes) == TOTALS[1] + 1
    assert set(sizes[1:-2]) == {CHUNK}


async def test_records_come_on_their_cadence(tmp_path):
    loop, seen = asyncio.get_running_loop(), []
    async with world(tmp_path) as here, here.client(records=RecordReader()) as client:
        client.begin(request(headers=STRICT))
        client.end()
        await client.head()
        for _ in range(12):
            await client.read()
            seen.append(loop.time())
    assert seen[-1] - seen[0] > 11 * TICK_SECONDS - 0.06  # never faster, whatever the machine does


async def test_an_engine_that_breaks_off_is_told_inside_and_shows_nowhere(tmp_path):
    async with world(tmp_path, tick_seconds=FAST) as here:
        here.engine.stream = here.engine.breaks_off = True
        async with here.client(records=RecordReader()) as client:
            client.begin(request(headers=STRICT))
            client.end()
            await client.head()
            with pytest.raises(BrokenOff):
                await client.rest()
    assert client.body.startswith(EVENTS[0])
    assert client.sizes == SHOWN
    assert here.receipts.sealed == []


async def test_a_client_that_leaves_frees_the_engine_and_ends_its_records(tmp_path):
    async with world(tmp_path, tick_seconds=FAST) as here:
        here.engine.stream = here.engine.endless = True
        async with here.client(records=RecordReader()) as client:
            client.begin(request(headers=STRICT))
            client.end()
            await client.head()
            await client.read()
        async with asyncio.timeout(10):
            await here.engine.left.wait()
        here.engine.endless = here.engine.stream = False
        answer, _ = await ask(here, b"again")
    assert answer[2] == b"again"


async def test_an_engine_far_ahead_of_the_cadence_waits(tmp_path):
    async with world(tmp_path) as here, here.client(records=RecordReader()) as client:
        here.engine.stream = here.engine.endless = True
        client.begin(request(headers=STRICT))
        client.end()
        await client.head()
        said = -1
        async with asyncio.timeout(20):
            while said != here.engine.said:
                said = here.engine.said
                for _ in range(8):
                    await client.read()
    assert AHEAD < said < AHEAD + 8 * 2**20  # and what the sockets between take


async def test_a_client_that_does_not_read_is_sent_no_more(tmp_path):
    limits = InboundLimits(minimum_rate=2**30, write_seconds=0.5)
    async with world(tmp_path, tick_seconds=FAST, http=limits) as here:
        here.engine.stream = here.engine.endless = True
        async with here.client(records=RecordReader()) as client:
            client.begin(request(headers=STRICT))
            client.end()
            async with asyncio.timeout(20):
                await here.engine.left.wait()  # cut off, and the engine with it


@pytest.mark.parametrize(
    "headers", [(("cloister-privacy", "stricter"),), (("cloister-privacy", "standard"),), STRICT + STRICT]
)
async def test_what_is_asked_for_and_not_known_is_refused_and_not_answered_with_less(headers, tmp_path):
    async with world(tmp_path) as here, here.client() as client:
        client.begin(request(headers=headers))
        client.end()
        status, _, body, _ = await client.answer()
        here.engine.left.set()
    assert status == 400
    assert b"cloister-privacy is given once, as strict" in body


REFUSED = {
    "for its date": {"date": NOON - 4000},
    "for its path": {"path": "/v1/other"},
    "for a date that is none": {"date": "yesterday"},
}


@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED)
async def test_a_refusal_begins_when_the_request_is_whole_as_every_answer_does(changes, tmp_path):
    async with world(tmp_path, tick_seconds=FAST) as here, here.client(records=RecordReader()) as client:
        client.begin(request(**{"headers": STRICT} | changes))
        await client.more(bytes(60_000))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.head()
        client.end()
        (status, _, _, _) = await client.answer()
        here.engine.left.set()
    assert status in {400, 404}
    assert client.sizes == SHOWN


@pytest.mark.parametrize("changes", [{}, {"date": NOON - 4000}])
async def test_a_chunk_that_does_not_open_ends_a_request_alike_refused_or_not(changes, tmp_path):
    async with world(tmp_path, tick_seconds=FAST) as here, here.client() as client:
        client.begin(request(headers=STRICT, **changes))
        client.send(b"\x40\x20" + bytes(32))
        assert await client.head() == (400, "application/problem+json")
        here.engine.left.set()


@pytest.mark.parametrize("changes", [{}, *REFUSED.values()])
@pytest.mark.parametrize("content", [b"sound", bytes(40_000)])
async def test_what_is_padded_to_one_length_takes_one_room_whatever_it_is(content, changes, tmp_path):
    async with world(tmp_path, memory_bytes=60_000) as here, here.client() as client:
        head = encode_head(request(**{"headers": STRICT} | changes), framing=Framing.INDETERMINATE_LENGTH)
        message = head + binary_http_content(content) + finish()
        client.send(client.sealer.seal((message + bytes(2**16))[:50_000]))
        client.send(client.sealer.seal(bytes(15_536)))
        assert await client.head() == (503, "application/problem+json")
        assert here.memory.held == 0
        here.engine.left.set()


def counted(here):
    """The answers by status, and the seconds of all together, as anybody may ask for them."""
    told = here.gateway.health.answer("/metrics").body.decode()
    return re.findall(r'requests_total{.*status="(\d+)"} 1\.0', told), float(
        re.findall(r"seconds_sum\S* (\S+)", told)[0]
    )


@pytest.mark.parametrize("changes", [{}, {"path": "/v1/other"}, {"date": NOON - 4000}])
async def test_metrics_count_an_answer_when_its_records_have_ended_and_all_alike(changes, tmp_path):
    async with world(tmp_path, tick_seconds=FAST) as here:
        await ask(here, b"sound", **changes)
        statuses, seconds = counted(here)
        here.engine.left.set()
    assert statuses == ["200"]
    assert seconds >= (TOTALS[0] - 2) * FAST


async def test_metrics_do_not_tell_that_an_engine_broke_off(tmp_path):
    async with world(tmp_path, tick_seconds=FAST) as here:
        here.engine.stream = here.engine.breaks_off = True
        with pytest.raises(BrokenOff):
            await ask(here)
        assert counted(here)[0] == ["200"]


async def test_metrics_say_nothing_of_an_answer_whose_records_go_on(tmp_path):
    async with world(tmp_path) as here:
        async with here.client(records=RecordReader()) as client:
            client.begin(request(headers=STRICT))
            client.end()
            await client.head()
            while client.decoder.head is None:
                await client.read()
            await asyncio.sleep(0.01)
            assert counted(here) == ([], 0)
        async with asyncio.timeout(10):
            while not counted(here)[0]:  # noqa: ASYNC110 - a socket's other side sets no event
                await asyncio.sleep(0.01)
        assert counted(here)[0] == ["499"]


class Seen(Receipts):
    """Keeps what each receipt was shown."""

    def __init__(self):
        super().__init__()
        self.begun = []

    def begin(self, method, path, headers):
        self.begun.append(super().begin(method, path, headers))
        return self.begun[-1]


async def test_receipts_cover_what_is_inside_the_records(tmp_path):
    receipts = Seen()
    async with world(tmp_path, receipts=receipts, tick_seconds=FAST) as here:
        here.engine.stream = True
        await ask(here, b"sound")
    assert receipts.begun[0].seen == [b"sound", b"".join(EVENTS)]
