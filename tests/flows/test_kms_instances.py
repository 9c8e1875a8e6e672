"""Two instances of the KMS under load: epochs rotate, each instance is lost in turn, and no request is."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import pairwise

from cloister.client.exchange import UserRequest
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay
from cloister.client.session import Session
from cloister.contract.fold import begin, fold
from cloister.errors import Unavailable
from cloister.formats.binary_http import Response
from cloister.peers.kms import KmsClient
from cloister.peers.ledger import LedgerClient
from cloister.services.kms.security import KmsSecurity
from cloister.testing.local_system import LocalSystem

REQUEST = UserRequest("POST", "/v1/audio/transcriptions", (("content-type", "audio/wav"),), b"RIFF a voice")
SHORT = KmsSecurity(head_seconds=1, epoch_seconds=7, pending_seconds=4, stale_seconds=7)
SECONDS = 60  # by far more than it takes


class Echo:
    """An engine that answers what it was asked."""

    def missing(self):
        return ()

    async def ask(self, request, *, seconds):
        return Response(200, (("content-type", "text/plain"),), b"heard " + request.body)


class Asking:
    """A client that asks without a pause; which epochs its requests were sealed under, and how many were answered."""

    def __init__(self, session):
        self._session = session
        self.answers = 0
        self.epochs = []

    async def ask(self):
        while True:
            answer = await self._session.send(REQUEST)
            assert answer.response.body == b"heard RIFF a voice"
            self.answers += 1
            number = answer.verified.epoch.number
            if number not in self.epochs:
                self.epochs.append(number)

    async def until(self, number, task):
        """Wait until a request was answered under the epoch of that number, or one was lost."""
        while not task.done() and number not in self.epochs:  # noqa: ASYNC110 - nothing tells of an answer
            await asyncio.sleep(0.05)
        if task.done():
            await task


async def test_epochs_rotate_and_each_instance_is_lost_in_turn_and_no_request_is(tmp_path):
    system = LocalSystem(tmp_path, kms_security=SHORT)
    system.choose_instances(2)
    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(SECONDS):
        await system.run_ledger(stack)
        lives = {name: contextlib.AsyncExitStack() for name in system.instances}
        for name, life in lives.items():
            stack.push_async_callback(life.aclose)
            await system.run_kms(life, name=name)
        await system.run_gateway(stack, Echo())
        await system.run_relay(stack)
        policy = system.trust_policy()
        memory = MemoryFile(tmp_path / "memory", genesis=policy.constitution)
        session = await stack.enter_async_context(Session(policy, memory, Relay(system.url("relay"))))
        asking = Asking(session)
        task = asyncio.create_task(asking.ask())
        stack.callback(task.cancel)
        ledger = await stack.enter_async_context(LedgerClient(system.url("ledger")))
        await asking.until(1, task)
        await shared(system, ledger)
        await lives["kms"].aclose()
        await asking.until(2, task)
        await system.run_kms(lives["kms"], name="kms")
        await serves(system, "kms")
        await shared(system, ledger)
        await lives["kms2"].aclose()
        await asking.until(3, task)
        assert asking.answers > 100
        state = await replayed(system, ledger)
    epochs = [record.epoch for record in state.lines[system.contract.digest()].epochs]
    assert [epoch.number for epoch in epochs] == list(range(1, len(epochs) + 1))
    # Each begins when the one before ends: none was replaced since its key was lost.
    assert all(later.not_before == earlier.not_after for earlier, later in pairwise(epochs))
    # Whoever made the first epoch gave it to the other, and whoever was left gave it to the one that came again.
    assert len({record.handover.to for record in state.handovers}) >= 2


async def serves(system, name):
    """Wait until an instance has taken the keys over."""
    async with KmsClient(system.url(name)) as kms:
        while True:
            with contextlib.suppress(Unavailable):
                return await kms.bundle(system.contract.digest())
            await asyncio.sleep(0.05)


async def shared(system, ledger):
    """Wait until the newest epoch's key was handed over: then either instance may go."""
    while True:
        state = await replayed(system, ledger)
        newest = state.lines[system.contract.digest()].epochs[-1].placed.digest
        if any(secret.name == newest for record in state.handovers for secret in record.handover.secrets):
            return
        await asyncio.sleep(0.05)


async def replayed(system, ledger):
    """What the log adds up to."""
    size = int((await ledger.checkpoint()).decode().split("\n")[1])
    entries = await ledger.entries(0, size)
    return fold(begin(entries[0], genesis=system.constitution.digest()), entries[1:])
