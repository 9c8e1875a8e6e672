"""Each process in turn is down, slow, or answers garbage, under load: what can go on goes on, the rest says so."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import sys
import time
from dataclasses import dataclass, field

import pytest
from tests.doubles.faulty_links import NO_HTTP, FaultyLink
from tests.doubles.trivial_engine import TrivialEngine

from cloister.client.exchange import UserRequest
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay, Waits
from cloister.client.session import Session
from cloister.errors import CloisterError, Refused
from cloister.services.gateway.engine import SocketEngine
from cloister.services.gateway.engines import QueueLimits
from cloister.testing.local_system import LocalSystem
from cloister.trust.bundle import BundleRefused

PATH = "/v1/audio/transcriptions"
ON_THE_WAY, BEHIND = ("relay", "gateway", "engine"), ("kms", "ledger", "witness")
PROCESSES = (*ON_THE_WAY, *BEHIND)
FAULTS = ("down", "slow", "garbage")
AT_ONCE = 64
HOUR = 3600  # seconds
UNDISTURBED = 70  # requests that are sent before the fault
UNOPENED = "the answer does not open"  # where someone on the way made it up, nobody can tell who
NAMED = {"relay": ("relay", UNOPENED), "gateway": ("gateway", UNOPENED), "engine": ("engine",)}
RECOVERY_SECONDS = 10.0  # the relay leaves a gateway that took no connection alone for up to four
LIMITS = {"engine": 1.0, "gateway": 3.5, "relay": 5.0}  # seconds; each longer than those behind it
HASTY = Waits(connect_seconds=LIMITS["relay"], bundle_seconds=LIMITS["relay"], answer_seconds=LIMITS["relay"])


@dataclass
class Row:
    """What became of the requests of one fault."""

    process: str
    fault: str
    sent: int = 0
    answered: int = 0
    refused: int = 0
    failed: int = 0
    retried: int = 0  # of the failed, sent again once the fault was over, and answered
    slowest: float = 0.0  # seconds
    said: collections.Counter[str] = field(default_factory=collections.Counter)

    def line(self) -> str:
        words = "; ".join(sentence for sentence, _ in self.said.most_common(2))
        counts = (
            f"{self.sent:5} {self.answered:8} {self.refused:7} {self.failed:6} {self.retried:7} {self.slowest:7.2f}"
        )
        return f"{self.process:8} {self.fault:8} {counts}  {words}"


HEADING = "process  fault     sent answered refused failed retried slowest  said"


class Load:
    """Requests of one client, each of its own body, and what came of them."""

    def __init__(self, session):
        self._session = session
        self._numbers = 0
        self.posts: collections.Counter[bytes] = collections.Counter()

    async def run(self, row, count, *, breaking):
        """Send `count` requests, `AT_ONCE` at a time, and call `breaking` amid them; the bodies that failed."""
        bodies = [self._fresh_body() for _ in range(count)]
        failed: list[bytes] = []
        waiting = iter(enumerate(bodies))

        async def worker():
            for number, body in waiting:
                if number == UNDISTURBED:
                    await breaking()
                if not await self._send(row, body):
                    failed.append(body)

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        row.sent += count
        return failed

    async def again(self, row, bodies):
        """Send what failed once more, as those who were told to: until the last of what stood against it is over."""
        after = Row(row.process, "none")
        async with asyncio.timeout(RECOVERY_SECONDS):
            for body in bodies:
                while not await self._send(after, body):
                    assert all("retry: True" in sentence for sentence in after.said), after.said
                    await asyncio.sleep(0.2)
        assert after.answered == len(bodies)
        row.retried += len(bodies)

    def _fresh_body(self):
        self._numbers += 1
        return b"request %d" % self._numbers

    async def _send(self, row, body):
        """Whether there was an answer; each is its own request's, or this fails."""
        self.posts[body] += 1
        begun = time.monotonic()
        try:
            answer = await self._session.send(UserRequest("POST", PATH, (("content-type", "text/plain"),), body))
        except Refused as refusal:
            row.refused += 1
            row.said[str(refusal)] += 1
            return True
        except CloisterError as error:
            row.said[f"{error} [retry: {error.retry}]"] += 1
            row.failed += 1
            return False
        finally:
            row.slowest = max(row.slowest, time.monotonic() - begun)
        if answer.response.status == 200:
            assert answer.response.body == body
            row.answered += 1
            return True
        message = json.loads(answer.response.body)["error"]["message"]
        retry = dict(answer.response.headers).get("x-should-retry") == "true"
        row.said[f"{answer.response.status}: {message} [retry: {retry}]"] += 1
        row.failed += 1
        return False


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
    for fault in FAULTS:
        row = Row(process, fault)
        count = 120 if process in ON_THE_WAY else 450
        failed = await load.run(row, count, breaking=lambda: links[process].become(fault))  # noqa: B023 - called at once
        await links[process].become("up")
        await load.again(row, failed)
        yield row


def adds_up(row, slack=5.0):
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
    assert row.slowest < LIMITS[row.process] + slack if row.fault == "slow" else row.slowest < slack


async def test_under_each_fault_of_each_process_every_request_is_accounted_for(tmp_path):
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
    assert sum(row.sent for row in rows) >= 5000
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
