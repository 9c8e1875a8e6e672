"""Several workers on one listener: one replay table, keys handed over, counts added up, the dead replaced."""

import asyncio
import json
import os
import signal

import pytest
from tests.doubles.gateway_crew import both_serve, world

from cloister.errors import Unavailable
from cloister.formats.binary_http import decode_response


async def test_a_request_is_answered_once_by_all_workers_together(tmp_path):
    async with world(tmp_path) as here:
        await both_serve(here)
        sealed, opener = here.sealed()
        replies = await asyncio.gather(*(here.post(sealed) for _ in range(16)))
        answers = [decode_response(opener.open(body)) for _, body in replies]
    assert sorted(answer.status for answer in answers) == [200] + [400] * 15
    assert here.engine.asked == 1


async def test_counts_of_all_workers_are_added_up_whichever_is_asked(tmp_path):
    async with world(tmp_path) as here:
        await both_serve(here)
        for _ in range(12):
            assert (await here.ask()).status == 200
        for _ in range(4):
            _, metrics = await here.post(b"", b"/metrics", b"GET")
            assert b'cloister_gateway_requests_total{route="/gateway",status="200"} 12.0' in metrics
            assert b'cloister_gateway_request_seconds_count{route="/gateway"} 12.0' in metrics


async def test_a_worker_that_is_killed_is_replaced_and_opens_nothing_that_was_answered(tmp_path):
    async with world(tmp_path) as here:
        await both_serve(here)
        sealed, _ = here.sealed()
        assert (await here.post(sealed))[0] == 200
        for pid in here.members.pids():
            os.kill(pid, signal.SIGKILL)
        here.members.serving.clear()
        await both_serve(here)
        assert (await here.ask()).status == 200
        before = here.engine.asked
        await here.post(sealed)
        assert here.engine.asked == before


async def test_a_key_that_workers_were_not_told_of_is_asked_for_and_an_unknown_one_is_refused(tmp_path):
    async with world(tmp_path, told=[]) as here:
        await both_serve(here)
        asking = asyncio.create_task(here.ask())
        async with asyncio.timeout(10):
            while not here.keys.asked:  # noqa: ASYNC110 - asked for over a socket
                await asyncio.sleep(0.02)
        here.told.append(here.keys.key)
        assert (await asking).status == 200
        sealed, _ = here.sealed()
        status, body = await here.post(b"\x63" + sealed[1:])
        assert (status, json.loads(body)["type"].rpartition("#")[2]) == (400, "ohttp-key")


async def test_a_stop_finishes_what_is_in_flight_and_ends_every_worker(tmp_path):
    async with world(tmp_path) as here:
        here.engine.go_on.clear()
        asking = asyncio.create_task(here.ask())
        async with asyncio.timeout(10):
            while not here.engine.asked:  # noqa: ASYNC110 - asked over a socket
                await asyncio.sleep(0.02)
        pids = here.members.pids()
        here.stop.set()
        await asyncio.sleep(0.2)
        here.engine.go_on.set()
        assert (await asking).body == b"sound"
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(Unavailable):
        await here.post(b"")
