"""Three witnesses, two ledger front ends on PostgreSQL, two KMS replicas, two gateways: each killed amid requests.

What is counted is printed; `pytest -s` shows it. MANY_REQUESTS changes how many there are.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import signal

from tests.doubles.many_machines import ORDER, Machines
from tests.doubles.postgresql import running_server

from cloister.client.exchange import UserRequest
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay
from cloister.client.session import Session
from cloister.contract.replay import examine_first_log
from cloister.errors import CloisterError, Refused
from cloister.ledger.statements import open_statement
from cloister.peers.ledger import LedgerClient

PATH = "/v1/audio/transcriptions"
REQUESTS = int(os.environ.get("MANY_REQUESTS", "10000"))
AT_ONCE = 16
PATIENCE = 120.0  # seconds for one request, through whatever is being killed
PAUSE = 0.05  # before it is asked again


class Load:
    """Requests, each of its own body at every attempt, until each is answered; and what came of every attempt."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._numbers = iter(range(REQUESTS))
        self.acknowledged: list[bytes] = []
        self.attempts = 0
        self.failed: collections.Counter[str] = collections.Counter()
        self.refused: list[str] = []
        self.last = ""  # what was said of the last attempt that failed
        self.epochs: set[bytes] = set()

    @property
    def done(self) -> int:
        return len(self.acknowledged)

    def start(self) -> None:
        """Begin to ask."""
        self._asking = asyncio.gather(*(self._ask_on() for _ in range(AT_ONCE)))

    async def end(self) -> None:
        """Until all are answered."""
        await self._asking

    async def _ask_on(self) -> None:
        for number in self._numbers:
            async with asyncio.timeout(PATIENCE):
                await self._until_answered(number)

    async def _until_answered(self, number: int) -> None:
        for attempt in range(10_000):
            body = f"request {number} attempt {attempt}".encode()
            self.attempts += 1
            try:
                answer = await self._session.send(UserRequest("POST", PATH, (("content-type", "text/plain"),), body))
            except Refused as error:  # no fault of a machine makes a check fail
                self.refused.append(str(error))
                return
            except CloisterError as error:
                self.last = str(error)
                self.failed[type(error).__name__] += 1
                await asyncio.sleep(PAUSE)
            else:
                if answer.response.status == 200:
                    assert answer.response.body == body
                    self.acknowledged.append(body)
                    return
                self.failed[f"status {answer.response.status}"] += 1
                await asyncio.sleep(PAUSE)

    async def goes_on(self, by: int) -> None:
        """Until so many more are answered, or all are."""
        enough = min(self.done + by, REQUESTS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while self.done < enough and not self._asking.done():  # noqa: ASYNC110 - it is counted, not told
                    await asyncio.sleep(0.05)
        if self._asking.done():
            await self._asking
        assert not self.refused, self.refused[:3]
        assert self.done >= enough, f"{self.done} answered and no more: {self.failed}, {self.last}"


async def _entries(machines):
    rules = machines.system.constitution
    async with LedgerClient(machines.system.url("ledger-1"), machines.system.url("ledger-2")) as ledger:
        note = await ledger.renew_checkpoint()
        size = int(note.split(b"\n")[1])
        entries = await ledger.entries(0, size)
    return entries, examine_first_log(entries, note, genesis=rules.digest()).require()


async def test_amid_10000_requests_everything_is_killed_in_turn_and_nothing_acknowledged_is_lost_or_doubled(tmp_path):
    with running_server() as postgresql:
        url = postgresql.url(await postgresql.new_database())
        async with Machines(tmp_path, url) as machines:
            for name in ORDER:
                await machines.start(name)
            policy = machines.system.trust_policy()
            memory = MemoryFile(tmp_path / "memory", genesis=policy.constitution)
            async with Session(policy, memory, Relay(machines.system.url("relay"))) as session:
                load = Load(session)
                load.start()
                share = max(1, REQUESTS // (len(ORDER) + 4))
                for name in ORDER:
                    await load.goes_on(share // 2)
                    await machines.kill(name)
                    await asyncio.sleep(0.5)
                    await machines.start(name)
                    await load.goes_on(share // 2)
                for how in (signal.SIGINT, signal.SIGQUIT):
                    await asyncio.to_thread(postgresql.stop, how)
                    await load.goes_on(share // 2)  # answering needs no ledger
                    await asyncio.to_thread(postgresql.start)
                    await load.goes_on(share // 2)
                await load.end()
            asked = machines.engine.asked
            entries, log = await _entries(machines)
    kinds = collections.Counter(open_statement(entry).kind for entry in entries)
    line = log.state.lines[machines.system.contract.digest()]
    print(  # noqa: T201 - the counts are to be stated
        f"\n{load.done} of {REQUESTS} answered in {load.attempts} attempts; failed and sent again: {dict(load.failed)};"
        f"\n{len(entries)} entries: {dict(kinds)}; void {log.state.void}; epoch {line.epochs[-1].epoch.number}"
    )
    assert load.refused == []
    assert load.done == REQUESTS  # nothing is lost: every request came through, …
    assert all(asked[body] == 1 for body in load.acknowledged)  # … each that was acknowledged was asked once, …
    assert max(asked.values()) == 1  # … and so was every other attempt, if at all
    assert len(set(entries)) == len(entries)  # nothing is logged twice, …
    numbers = [record.epoch.number for record in line.epochs]
    assert numbers[-1] >= 2  # … an epoch was followed by the next meanwhile, …
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))  # … which every replica has as the next
