"""The soak, for a few seconds: processes under load, with faults, and nothing lost but what was broken on purpose."""

import asyncio
import importlib
import json
import mmap
import os
import sys
from pathlib import Path

import pytest
from tests.doubles.sandboxes import FAULTY, post, staged

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(monkeypatch):
    """Import a module of the benches, as they import each other."""
    monkeypatch.syspath_prepend(ROOT / "bench")
    return importlib.import_module


@pytest.fixture
def memory(bench):
    return bench("soak_memory").Memory(running=None)


def grow(memory, name, *, pid=1, since=0.0, seconds=600.0, first=100.0, by=0.0):
    """One life of a process: a sample every ten seconds."""
    for at in range(0, int(seconds) + 1, 10):
        memory.add(name, pid, since + at, first + by * at / seconds)


def test_a_process_that_grows_is_found_and_one_that_only_moves_is_not(memory):
    grow(memory, "relay", by=20)
    grow(memory, "kms", by=3)
    for at in range(60):
        memory.add("gateway", 1, at * 10, 100 + 8 * (at % 2))
    judged = memory.judged(0)
    assert {name: one["flat"] for name, one in judged.items()} == {"relay": False, "kms": True, "gateway": True}
    assert judged["relay"]["slope_mib_per_hour"] == pytest.approx(120, rel=0.01)


def test_what_a_process_loads_at_its_start_is_no_growth(memory):
    memory.add("gateway", 1, 0, 20)
    grow(memory, "gateway", since=20)
    assert memory.judged(0)["gateway"]["flat"]
    assert not memory.judged(0, start_up=0)["gateway"]["flat"]


def test_what_came_before_it_settled_is_not_judged(memory):
    grow(memory, "gateway", by=96)
    grow(memory, "gateway", since=610, first=196)
    assert memory.judged(600)["gateway"]["flat"]
    assert not memory.judged(0)["gateway"]["flat"]


def test_an_engine_that_grows_in_one_of_its_lives_is_found_and_one_that_is_replaced_by_a_larger_is_not(memory):
    for life in range(4):
        grow(memory, "engine", pid=life, since=life * 60, seconds=50, first=20 + 10 * life)
    assert memory.judged(0)["engine"]["flat"]
    grow(memory, "engine", pid=9, since=240, seconds=50, by=10)
    grow(memory, "engine", pid=10, since=300, seconds=50)
    assert not memory.judged(0)["engine"]["flat"]


def test_a_table_of_a_fixed_size_that_fills_is_no_growth_and_memory_of_a_process_its_own_is(bench):
    resident = bench("systems").resident_mib
    before = resident(os.getpid())
    with mmap.mmap(-1, 32 * 2**20) as table:
        table.write(b"x" * (32 * 2**20))
        assert resident(os.getpid()) - before < 4
    with mmap.mmap(-1, 32 * 2**20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as hoard:  # the allocator may have some
        hoard.write(b"x" * (32 * 2**20))
        assert resident(os.getpid()) - before > 32 - 4


async def test_of_an_engine_the_process_that_loaded_the_model_is_looked_at_whatever_it_has_forked(bench):
    systems = bench("systems")
    with staged(FAULTY) as faulty:
        async with faulty.service() as service:
            await post(service, "/", b"ready")
            engine = systems.warm_engine(os.getpid())
            assert engine
            hanging = asyncio.create_task(post(service, "/hang"))
            async with asyncio.timeout(10):
                while not systems.children(engine):  # noqa: ASYNC110 - another process forks
                    await asyncio.sleep(0.02)
            assert systems.warm_engine(os.getpid()) == engine
            hanging.cancel()
            await asyncio.gather(hanging, return_exceptions=True)
    assert systems.warm_engine(os.getpid()) == 0


async def test_a_short_soak_has_no_error_that_was_not_made_on_purpose():
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "bench" / "soak.py"),
        *("--seconds", "4"),
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 200)
    figures = json.loads(said.decode().splitlines()[-1])
    assert figures["met"], said.decode()
    assert process.returncode == 0
    assert figures["answered"] > 10
    assert figures["injected"]["killed_engine"] >= 1
    assert figures["memory"].keys() >= {"gateway", "relay", "kms", "ledger", "witness", "proxy"}
