"""Each link in turn is slow, or brings garbage, under load: what can go on goes on, the rest says so. And clocks."""

from __future__ import annotations

import contextlib
import sys
import time

import pytest
from tests.doubles.counted_load import AT_ONCE, HEADING, PATH, UNDISTURBED, Load, Row
from tests.doubles.faulty_links import NO_HTTP, FaultyLink
from tests.doubles.trivial_engine import TrivialEngine

from cloister.client.exchange import UserRequest
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay, Waits
from cloister.client.session import Session
from cloister.services.gateway.engine import SocketEngine
from cloister.services.gateway.engines import QueueLimits
from cloister.testing.local_system import LocalSystem
from cloister.trust.bundle import BundleRefused

ON_THE_WAY, BEHIND = ("relay", "gateway", "engine"), ("kms", "ledger", "witness")
PROCESSES = (*ON_THE_WAY, *BEHIND)
HOUR = 3600  # seconds
UNOPENED = "the answer does not open"  # where someone on the way made it up, nobody can tell who
NAMED = {"relay": ("relay", UNOPENED), "gateway": ("gateway", UNOPENED), "engine": ("engine",)}
LIMITS = {"engine": 3.0, "gateway": 6.0, "relay": 8.0}  # seconds; each longer than those behind it
HASTY = Waits(connect_seconds=LIMITS["relay"], bundle_seconds=LIMITS["relay"], answer_seconds=LIMITS["relay"])


@contextlib.asynccontextmanager
async def system_under(folder, engine, **changes):
    """A changed local system, each of whose services is behind a link that can be broken, by the service's name."""
    system = LocalSystem(folder, **changes)
    links: dict[str, FaultyLink] = {}
    async with contextlib.AsyncExitStack() as stack:

        async def linked(name, target, **where):
            links[name] = await stack.enter_async_context(FaultyLink(target, **where))
            if not where:
                system.ports[name] = links[name].port

        await system.run_witness(stack)
        await linked("witness", system.ports["witness"])
        await system.run_log(stack)
        await linked("ledger", system.ports["ledger"])
        await system.run_kms(stack)
        await linked("kms", system.ports["kms"])
        # What an engine says in HTTP is its answer: it is measured, and the gateway cannot know better.
        await linked("engine", engine.path, socket_path=str(folder / "link.sock"), garbage=NO_HTTP)
        behind = SocketEngine(str(folder / "link.sock"))
        stack.push_async_callback(behind.close)
        await system.run_gateway_before(
            stack, behind, queue=QueueLimits(waiting_seconds=LIMITS["engine"], engine_seconds=LIMITS["engine"])
        )
        await linked("gateway", system.ports["gateway"])
        await system.run_relay(stack, gateway_seconds=LIMITS["gateway"], bundle_seconds=LIMITS["gateway"])
        await linked("relay", system.ports["relay"])
        yield system, links


def session_of(system, folder, name, **options):
    policy = system.trust_policy()
    memory = MemoryFile(folder / name, genesis=policy.constitution)
    return Session(policy, memory, Relay(system.url("relay"), waits=HASTY), **options)


async def broken_in_turn(load, links, process):
    """The rows of one process."""
    # What is on the way and is killed, or stands still, is in test_faults_of_processes.
    for fault in ("garbage",) if process in ON_THE_WAY else ("slow", "garbage"):
        row = Row(process, fault)
        count = UNDISTURBED + 30 if process in ON_THE_WAY else 120
        failed = await load.run(row, count, breaking=lambda: links[process].become(fault))  # noqa: B023 - called at once
        await links[process].become("up")
        await load.again(row, failed)
        yield row


def adds_up(row, slack=8.0):
    """What holds of every row."""
    assert row.sent == row.answered + row.refused + row.failed
    assert row.retried == row.failed
    if row.process in BEHIND:
        assert row.answered == row.sent
        return
    assert UNDISTURBED - AT_ONCE <= row.answered <= UNDISTURBED
    assert row.refused == 0
    for sentence in row.said:
        assert any(name in sentence for name in NAMED[row.process]), sentence
        assert "[retry: True]" in sentence or UNOPENED in sentence, sentence
    assert row.slowest < slack


async def test_whichever_link_is_slow_or_brings_garbage_every_request_is_accounted_for(tmp_path):
    async with (
        TrivialEngine(tmp_path / "engine.sock") as engine,
        system_under(tmp_path, engine) as (system, links),
        session_of(system, tmp_path, "memory") as session,
    ):
        load = Load(session)
        rows = [row for process in PROCESSES async for row in broken_in_turn(load, links, process)]
    sys.stderr.write("\n".join(["", HEADING, *(row.line() for row in rows), ""]))
    for row in rows:
        adds_up(row)
    # An engine is never asked twice what was sent once; and what was answered, it was asked.
    for body, posts in load.posts.items():
        assert 1 <= engine.asked[body] <= posts, body
    assert engine.asked.keys() == load.posts.keys()


async def test_a_client_is_served_without_kms_or_log_until_their_state_is_older_than_its_policy_allows(tmp_path):
    ahead = [0]
    request = UserRequest("POST", PATH, (("content-type", "text/plain"),), b"sound")
    async with TrivialEngine(tmp_path / "engine.sock") as engine, system_under(tmp_path, engine) as (system, links):
        for process in BEHIND:
            ahead[0] = 0
            async with session_of(system, tmp_path, process, clock=lambda: time.time() + ahead[0]) as session:
                await session.send(request)
                await links[process].become("down")
                for ahead[0] in (200, 590):
                    assert (await session.send(request)).response.body == b"sound"
                ahead[0] = 680  # the policy's ten minutes, and the minute that clocks may differ by
                with pytest.raises(BundleRefused, match=r"^checkpoint\.age: "):
                    await session.send(request)
                await links[process].become("up")
                ahead[0] = 0
                await session.send(request)


async def after_a_jump_of_the_gateways_clock(folder, seconds):
    """What became of ten requests after it."""
    wrong = [0]
    async with (
        TrivialEngine(folder / "engine.sock") as engine,
        system_under(folder, engine, gateway_clock=lambda: time.time() + wrong[0]) as (system, _),
        session_of(system, folder, "memory") as session,
    ):
        load = Load(session)
        await load.again(Row("gateway", "none"), [b"before"])
        wrong[0] = seconds
        row = Row("gateway", "clock")
        assert await load.run(row, 10, breaking=None) == []
    assert all(times == 1 for times in engine.asked.values())
    return row


async def test_a_gateways_clock_that_jumps_back_an_hour_costs_no_request(tmp_path):
    """The witnesses' time is a floor under it."""
    row = await after_a_jump_of_the_gateways_clock(tmp_path, -HOUR)
    assert row.answered == 10


async def test_answers_of_a_gateway_whose_clock_jumped_an_hour_ahead_are_refused_by_name(tmp_path):
    """Its receipts are of a time that the client's bundle cannot speak for: it may have been revoked by then."""
    row = await after_a_jump_of_the_gateways_clock(tmp_path, HOUR)
    assert row.refused == 10
    assert all(sentence.startswith("receipt.time: ") for sentence in row.said)
