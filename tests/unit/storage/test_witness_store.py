"""The witness's memory: the same behaviour on every database."""

import contextlib

import pytest
from tests.doubles.databases import Postgres, Sqlite

from cloister.ledger.witness_rules import NOTHING, TreeHead
from cloister.storage.database_file import CorruptStore
from cloister.storage.witness_store import WitnessStore

FIRST, SECOND = TreeHead(3, b"a" * 32), TreeHead(5, b"b" * 32)


@pytest.fixture(params=["sqlite", "postgresql"])
async def opened(request, tmp_path):
    kind = Sqlite(tmp_path) if request.param == "sqlite" else Postgres(request.getfixturevalue("postgresql"))
    async with contextlib.aclosing(kind):
        yield kind


@pytest.fixture
async def store(opened):
    return WitnessStore(await opened.open("witness"))


async def test_a_head_is_decided_over_the_one_remembered_and_outlives_the_process(store, opened):
    asked = []

    def decide(head):
        asked.append(head)
        return FIRST if head == NOTHING else SECOND

    assert [await store.advance("log.test", decide) for _ in range(2)] == [FIRST, SECOND]
    assert asked == [NOTHING, FIRST]
    again = WitnessStore(await opened.open("witness"))
    await again.check()
    assert await again.head("log.test") == SECOND
    assert await again.head("other.test") == NOTHING


async def test_a_decision_that_refuses_leaves_the_memory_as_it_was(store):
    await store.advance("log.test", lambda _: FIRST)

    def refuse(_head):
        raise KeyError("no")

    with pytest.raises(KeyError):
        await store.advance("log.test", refuse)
    assert await store.head("log.test") == FIRST


@pytest.mark.parametrize("head", [TreeHead(2, b"a" * 32), TreeHead(3, b"b" * 32)])
async def test_the_database_itself_lets_no_witness_go_back(store, head):
    await store.advance("log.test", lambda _: FIRST)
    with pytest.raises(CorruptStore, match="never goes back"):
        await store.advance("log.test", lambda _: head)
    assert await store.head("log.test") == FIRST


async def test_a_head_that_the_host_changed_is_named(store, opened):
    await store.advance("log.test", lambda _: FIRST)
    changed = WitnessStore(await opened.as_host("UPDATE heads SET size = 2"))
    with pytest.raises(CorruptStore, match=r"cosigned last of log\.test is not what was written"):
        await changed.check()
    with pytest.raises(CorruptStore):
        await changed.advance("log.test", lambda _: SECOND)
