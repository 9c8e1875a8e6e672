"""Two front ends of one ledger as processes over a PostgreSQL server: whichever dies, the log goes on as one."""

import asyncio
import contextlib
import signal

from tests.doubles.ledger_system import running, statement

from cloister.crypto.merkle import check_inclusion, leaf_hash, root
from cloister.errors import Unavailable
from cloister.peers.ledger import LedgerClient

PATIENCE = 60  # seconds for one append, with everything that happens meanwhile


class Writer:
    """Appends statement after statement to either front end, each until it is acknowledged."""

    def __init__(self, system, urls, first, order):
        self._system, self._urls, self._number, self._order = system, urls, first, order
        self.acknowledged: dict[bytes, int] = {}
        self.refused = 0

    async def write(self, stop):
        while not stop.is_set():
            entry = statement(self._number)
            self.acknowledged[entry] = await self._append(entry)
            self._number += 1

    async def _append(self, entry):
        async with asyncio.timeout(PATIENCE):
            while True:
                for url in list(self._urls.values())[:: self._order]:
                    with contextlib.suppress(Unavailable):
                        async with LedgerClient(url, seconds=2) as client:
                            answer = await client.append(entry)
                        checkpoint = self._system.verified(answer.checkpoint)
                        leaf = leaf_hash(entry)
                        check_inclusion(leaf, answer.index, checkpoint.size, answer.path, checkpoint.root)
                        return answer.index
                    self.refused += 1
                    await asyncio.sleep(0.05)


async def goes_on(writers):
    """Each writer has more acknowledged than now."""
    before = [len(writer.acknowledged) for writer in writers]
    async with asyncio.timeout(PATIENCE):
        while any(len(writer.acknowledged) <= size for writer, size in zip(writers, before, strict=True)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_while_each_process_in_turn_is_killed_stopped_and_held_up_nothing_acknowledged_is_lost(
    tmp_path, postgresql
):
    database = await postgresql.new_database()
    database_url = postgresql.url(database)
    async with running(tmp_path) as system:
        witness_url = await system.start_witness()
        urls = {number: await system.start_front_end(number, witness_url, database_url) for number in (1, 2)}
        writers = [Writer(system, urls, 0, 1), Writer(system, urls, 100_000, -1)]
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for writer in writers:
                group.create_task(writer.write(stop))
            await goes_on(writers)
            for number in (1, 2):  # one of them leads
                await system.front_ends[number].end(signal.SIGKILL)
                await goes_on(writers)
                urls[number] = await system.start_front_end(number, witness_url, database_url)
                await goes_on(writers)
            for front_end in system.front_ends.values():
                front_end._process.send_signal(signal.SIGSTOP)
                await goes_on(writers)
                front_end._process.send_signal(signal.SIGCONT)
                await goes_on(writers)
            await asyncio.to_thread(postgresql.stop, signal.SIGQUIT)
            await asyncio.to_thread(postgresql.start)
            await goes_on(writers)
            await system.witness.end(signal.SIGKILL)
            await system.start_witness()
            await goes_on(writers)
            stop.set()
        acknowledged = writers[0].acknowledged | writers[1].acknowledged
        for url in urls.values():
            async with LedgerClient(url) as client:
                last = system.verified(await client.renew_checkpoint())
                entries = await client.entries(0, last.size)
                assert last.root == root([leaf_hash(entry) for entry in entries])
                assert len(set(entries)) == len(entries) == last.size
                for entry, index in acknowledged.items():
                    assert entries[index] == entry
        ((terms,),) = await postgresql.execute(
            "SELECT term FROM cloister_ledger.leadership WHERE one = $1", 1, database=database
        )
        assert terms >= 3  # a leader was killed, and one was held up
