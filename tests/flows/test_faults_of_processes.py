"""Each process in turn is killed, or stands still, under load: what can go on goes on, the rest says so."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time

import pytest
from tests.doubles.counted_load import AT_ONCE, HEADING, RECOVERY_SECONDS, UNDISTURBED, Load, Row
from tests.doubles.system_processes import LIMITS, SystemProcesses

from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay, Waits
from cloister.client.session import Session
from cloister.errors import CloisterError, Unavailable
from cloister.formats.key_bundle import parse_key_bundle
from cloister.peers.kms import KmsClient
from cloister.peers.ledger import LedgerClient
from cloister.trust.bundle import examine_bundle
from cloister.trust.memory import first_contact

KILLED, STILL = "killed", "still"
ON_THE_WAY, BEHIND = ("relay", "gateway", "engine"), ("kms", "ledger", "witness")
PEERS = ("KMS", "ledger", "witness")  # as they are named to who asks for what stands behind
REQUESTS = dict.fromkeys(ON_THE_WAY, 120) | dict.fromkeys(BEHIND, 720)
HASTY = Waits(connect_seconds=LIMITS["relay"], bundle_seconds=LIMITS["relay"], answer_seconds=LIMITS["relay"])
SLACK = 5.0  # seconds, of a busy machine


def session_with(processes):
    policy = processes.system.trust_policy()
    memory = MemoryFile(processes.system.folder / "memory", genesis=policy.constitution)
    return Session(policy, memory, Relay(processes.system.url("relay"), waits=HASTY))


async def what_stands_behind(system, *, seconds):
    """A new checkpoint that the witness cosigned, a challenge of the KMS, and the active epoch of its bundle."""
    async with (
        LedgerClient(system.url("ledger"), seconds=seconds) as ledger,
        KmsClient(system.url("kms"), seconds=seconds) as kms,
    ):
        await ledger.renew_checkpoint()
        await kms.challenge()
        bundle = parse_key_bundle(await kms.bundle(system.contract.digest()))
    memory = first_contact(system.constitution.digest())
    return examine_bundle(bundle, system.trust_policy(), memory, at=int(time.time())).require().keys.active.digest


class Table:
    """The rows of one run."""

    def __init__(self, processes, session):
        self._processes = processes
        self._session = session
        self.load = Load(session)

    async def row(self, name, fault):
        row = Row(name, fault)
        # Whoever meets a process that stands still waits for the whole limit: all at once, so that it passes once.
        joining = REQUESTS[name] - UNDISTURBED if name in ON_THE_WAY else 0
        failed = await self.load.run(row, REQUESTS[name], breaking=lambda: self._break(row), joining=joining)
        if name not in ON_THE_WAY:
            with pytest.raises(Unavailable) as unavailable:
                await what_stands_behind(self._processes.system, seconds=1)
            row.said[f"{unavailable.value} [retry: {unavailable.value.retry}]"] += 1
        await self._mend(row)
        await self.load.again(row, failed)
        await self._serves_again()
        return row

    async def _break(self, row):
        if row.fault == KILLED:
            await self._processes.kill(row.process)
        else:
            self._processes.stand_still(row.process)

    async def _mend(self, row):
        """What a supervisor does, or whoever held it up."""
        if row.fault == KILLED:
            assert await self._processes.start(row.process)
        else:
            self._processes.go_on(row.process)

    async def _serves_again(self):
        """All of it, to the epoch that the client then holds: a KMS that was started again has begun a new one."""
        async with asyncio.timeout(RECOVERY_SECONDS):
            while True:
                with contextlib.suppress(CloisterError):
                    epoch = await what_stands_behind(self._processes.system, seconds=5)
                    if (await self._session.examine()).require().keys.active.digest == epoch:
                        return
                await asyncio.sleep(0.1)


def adds_up(row):
    """What holds of every row."""
    assert row.sent == row.answered + row.refused + row.failed
    assert row.retried == row.failed
    assert all("[retry: True]" in sentence for sentence in row.said), row.said
    if row.process not in ON_THE_WAY:
        assert row.answered == row.sent
        assert any(name in sentence for name in PEERS for sentence in row.said), row.said
        return
    assert UNDISTURBED - AT_ONCE <= row.answered <= UNDISTURBED
    assert all(row.process in sentence for sentence in row.said), row.said
    assert row.slowest < (LIMITS[row.process] if row.fault == STILL else 0) + SLACK


async def test_whichever_process_is_killed_or_stands_still_every_request_is_accounted_for(tmp_path):
    async with SystemProcesses(tmp_path) as processes:
        await processes.start_all()
        async with session_with(processes) as session:
            table = Table(processes, session)
            rows = [await table.row(name, fault) for name in REQUESTS for fault in (KILLED, STILL)]
    sys.stderr.write("\n".join(["", HEADING, *(row.line() for row in rows), ""]))
    for row in rows:
        adds_up(row)
    assert sum(row.sent for row in rows) >= 5000
    # An engine is never asked twice what was sent once; and what was answered, it was asked.
    for body, posts in table.load.posts.items():
        assert 1 <= processes.engine.asked[body] <= posts, body
    assert processes.engine.asked.keys() == table.load.posts.keys()
