"""KMS, gateway and engine as processes, killed at each step: no key without its entry, no request answered twice."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time

import pytest
from tests.doubles.counted_load import PATH
from tests.doubles.deadly_steps import ANSWERING, RELEASING, STARTING
from tests.doubles.recording_engine import STEPS, VICTIMS
from tests.doubles.system_processes import SystemProcesses

from cloister.client.exchange import NotAdmitted, UserRequest, check_request, open_answer, seal
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay, RelayUnavailable
from cloister.client.session import Session
from cloister.crypto.merkle import leaf_hash, root
from cloister.errors import Unavailable
from cloister.formats.key_bundle import parse_key_bundle
from cloister.ledger.checkpoints import examine_checkpoint
from cloister.ledger.statements import entry_digest, open_statement
from cloister.node.witnessed_clock import WitnessedClock
from cloister.peers.kms import KmsClient
from cloister.peers.ledger import LedgerClient
from cloister.services.gateway.kms_keys import KmsKeys
from cloister.trust.bundle import examine_bundle
from cloister.trust.memory import first_contact

AGAIN_SECONDS = 30.0


class HeardKms(KmsClient):
    """Remembers the entries of the releases that came."""

    def __init__(self, url, released):
        super().__init__(url)
        self.released = released

    async def release(self, request):
        reply = await super().release(request)
        self.released.append(reply.entry)
        return reply


class Auditor:
    """Holds what a KMS gave away and showed, in all of its lives, against the log."""

    def __init__(self, processes):
        self._processes = processes
        self._system = processes.system
        self._memory = first_contact(self._system.trust_policy().constitution)
        self._roots = {}
        self._epochs = set()
        self.released = []

    async def ask_for_the_key(self):
        """As a gateway that starts does, while the KMS lives; whether the key came, proved to be in the log."""
        async with HeardKms(self._system.url("kms"), self.released) as kms:
            keys = KmsKeys(kms, self._system.gateway_node(), clock=WitnessedClock(time.time))
            async with asyncio.timeout(AGAIN_SECONDS):
                while keys.missing() and self._processes.lives("kms"):
                    with contextlib.suppress(Unavailable):
                        await self._look(kms)
                        await keys.fetch_ahead()
                    await asyncio.sleep(0.02)
            return not keys.missing()

    async def _look(self, kms):
        """Its bundle is one that a client takes which remembers all that were before."""
        data = parse_key_bundle(await kms.bundle(self._system.contract.digest()))
        bundle = examine_bundle(data, self._system.trust_policy(), self._memory, at=int(time.time())).require()
        self._memory = bundle.memory
        self._epochs |= {epoch.digest for epoch in bundle.keys.epochs}

    async def audited(self):
        """The log's entries: one history, and all that was shown or given away is in it."""
        genesis = self._system.constitution
        async with LedgerClient(self._system.url("ledger")) as ledger:
            note = await ledger.renew_checkpoint()
            checkpoint = examine_checkpoint(note, log=genesis.log, witnesses=genesis.witnesses, quorum=1).require()
            entries = await ledger.entries(0, checkpoint.size)
        leaves = [leaf_hash(entry) for entry in entries]
        assert self._roots.setdefault(checkpoint.size, checkpoint.root) == checkpoint.root
        assert all(root(leaves[:size]) == shown for size, shown in self._roots.items())
        assert set(self.released) <= set(entries)
        assert self._epochs <= {entry_digest(entry) for entry in entries}
        return entries


def logged(entries, kind):
    return [open_statement(entry).kind for entry in entries].count(kind)


async def test_a_kms_that_is_killed_at_any_durable_step_gives_no_key_away_without_its_entry(tmp_path):
    async with SystemProcesses(tmp_path) as processes:
        await processes.start("witness")
        await processes.start("ledger")
        auditor = Auditor(processes)
        for step in STARTING:
            await processes.start("kms", kill_at=step)
            assert await processes.ended("kms") == -signal.SIGKILL
            await auditor.audited()
        for step in RELEASING:
            before = await auditor.audited()
            await processes.start("kms", kill_at=step)
            assert not await auditor.ask_for_the_key(), step
            assert await processes.ended("kms") == -signal.SIGKILL
            entries = await auditor.audited()
            is_logged = step in RELEASING[RELEASING.index("after the release is logged") :]
            assert logged(entries, "release") - logged(before, "release") == is_logged, step
        assert auditor.released == []
        await processes.start("kms")
        assert await auditor.ask_for_the_key()
        entries = await auditor.audited()
        assert len(auditor.released) == 1
        assert (logged(entries, "constitution"), logged(entries, "contract")) == (1, 1)


class Client:
    """Sends what it seals itself, so that it can send the same bytes again."""

    def __init__(self, processes):
        self._relay = Relay(processes.system.url("relay"))
        policy = processes.system.trust_policy()
        memory = MemoryFile(processes.system.folder / "memory", genesis=policy.constitution)
        self.session = Session(policy, memory, self._relay)
        self._processes = processes
        self._started = 0  # the gateway, in seconds since 1970

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_raised):
        await self.session.close()

    async def start_the_gateway(self, **options):
        assert await self._processes.start("gateway", **options)
        self._started = int(time.time())

    async def sealed(self, body):
        """A gateway that has just started takes none of the second that it started in: of a later one."""
        held, request = await self.session.hold(), request_of(body)
        while int(time.time()) <= self._started:  # noqa: ASYNC110 - time sets no event
            await asyncio.sleep(0.02)
        return seal(request, check_request(request), held.verified.key_config, at=int(time.time()))

    async def post(self, sealed):
        """The answer's body; None where none came."""
        try:
            reply = await self._relay.post(sealed.data)
        except RelayUnavailable:
            return None
        return open_answer(sealed, reply.body).response.body if reply.is_sealed else None

    async def is_refused(self, sealed):
        """Whether the gateway, once it serves again, says that it does not take the same bytes."""
        async with asyncio.timeout(AGAIN_SECONDS):
            while True:
                try:
                    if await self.post(sealed) is not None:
                        return False
                except NotAdmitted:
                    return True
                await asyncio.sleep(0.1)


def request_of(body):
    return UserRequest("POST", PATH, (("content-type", "text/plain"),), body)


async def test_a_gateway_that_is_killed_at_any_step_of_a_request_answers_it_once_at_most(tmp_path):
    async with SystemProcesses(tmp_path) as processes:
        await processes.start_all()
        async with Client(processes) as client:
            for number, step in enumerate(ANSWERING):
                body = step.encode()
                await processes.kill("gateway")
                await client.start_the_gateway(kill_at=step)
                sealed = await client.sealed(body)
                assert await client.post(sealed) == (body if step == "answered" else None)
                assert await processes.ended("gateway") == -signal.SIGKILL
                await client.start_the_gateway()
                assert await client.is_refused(sealed), step
                asked = processes.engine.asked[body]
                at_least = number > ANSWERING.index("handed to the engine")
                at_most = number >= ANSWERING.index("handed to the engine")
                assert at_least <= asked <= at_most, step
            before = processes.engine.asked
            for step in ANSWERING:
                sealed = await client.sealed(step.encode())
                assert await client.post(sealed) == step.encode()
            assert processes.engine.asked - before == dict.fromkeys(map(str.encode, ANSWERING), 1)


@pytest.mark.parametrize("victim", VICTIMS)
async def test_an_engine_that_is_killed_amid_an_answer_costs_that_request_and_is_asked_it_once(tmp_path, victim):
    async with SystemProcesses(tmp_path) as processes:
        await processes.start_all()
        async with Client(processes) as client:
            for step in STEPS:
                body = step.encode()
                processes.engine.arm(victim, step)
                first = (await client.session.send(request_of(body))).response
                if victim == "the warm process":
                    assert first.status in (200, 502)  # what it had forked may yet answer
                    assert await processes.ended("engine") == -signal.SIGKILL
                    assert await processes.start("engine")
                else:
                    assert (first.status, dict(first.headers)["x-should-retry"]) == (502, "true")
                assert processes.engine.asked[body] == 1
                assert (await client.session.send(request_of(body))).response.body == body
                assert processes.engine.asked[body] == 2
