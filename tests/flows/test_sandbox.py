"""A faulty engine in the real sandbox: each fault costs its own request, and nothing gets out."""

import asyncio
import contextlib
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop
from msgspec import structs
from tests.doubles.sandbox_launcher import launched, ordinary_user
from tests.doubles.sandboxes import DEAF, FAULTY, SMALL, post, processes_mentioning, staged, traversable_folder

from cloister.sandbox import plan as planning
from cloister.sandbox.closure import stage
from cloister.sandbox.errors import EngineBusy, EngineCrashed, EngineTimedOut, SandboxUnavailable
from cloister.sandbox.escapes.launcher import descendants
from cloister.sandbox.escapes.suite import attempts
from cloister.sandbox.process import start


def tasks_of(engine):
    return descendants(engine.pid) | {engine.pid}


def is_of_the_stage(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"/app/")
    except FileNotFoundError:  # a request's, or its self-test's, which has ended
        return False


@pytest.fixture(scope="module")
def faulty():
    with staged(FAULTY) as ready:
        yield ready


async def test_a_request_is_answered_soon_after_the_start(faulty):
    begun = time.monotonic()
    async with faulty.service() as service:
        assert (await post(service, "/", b"12345")).body == b"5"
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    ("path", "error", "why"),
    [
        ("/hang", EngineTimedOut, "within 1 s"),
        ("/exit", EngineCrashed, "ended before the answer"),
        ("/raise", EngineCrashed, "ended before the answer"),
        ("/segfault", EngineCrashed, "ended before the answer"),
        ("/memory", EngineCrashed, "ended before the answer"),
        ("/rubbish", EngineCrashed, "not HTTP"),
    ],
)
async def test_each_fault_costs_its_request_alone_and_the_same_engine_goes_on(faulty, path, error, why):
    said: list[str] = []
    # What ends by itself may take its time on a busy machine: filling the memory most of all.
    sizes = SMALL if error is EngineTimedOut else replace(SMALL, request_seconds=30)
    async with faulty.service(sizes, say=said.append) as service:
        with pytest.raises(error, match=why) as failure:
            await post(service, path)
        assert failure.value.status == (504 if error is EngineTimedOut else 502)
        assert (await post(service, "/", b"again")).body == b"5"
    assert said == []


async def test_an_engine_that_fails_its_self_test_serves_nobody():
    with staged(DEAF) as deaf:
        with pytest.raises(SandboxUnavailable, match="fails its self-test"):
            async with deaf.service():
                pass
        assert not processes_mentioning(str(deaf.engine.folder))


async def test_an_engine_is_missing_until_it_passed_its_self_test(faulty):
    async with faulty.service() as service:
        assert service.missing() == ()
        (seat,) = service._seats
        seat.engine.kill("a test")
        said_meanwhile = set()
        async with asyncio.timeout(20):
            while not any(other.engine.proven for other in service._seats - {seat}):
                if service._seats - {seat}:  # it lives, and is being tested
                    said_meanwhile.add(tuple(service.missing()))
                await asyncio.sleep(0.001)
        assert service.missing() == ()
    assert said_meanwhile == {(f"the engine {faulty.engine.name} is starting",)}


async def test_a_request_is_served_by_a_process_of_its_own_that_finds_nothing_of_the_last(faulty):
    remember = b"import sys, os; sys.remembered = 'a word'; result = os.getpid()"
    async with faulty.service() as service:
        first = (await post(service, "/run", remember)).body
        assert (
            await post(service, "/run", b"import sys; result = hasattr(sys, 'remembered')")
        ).body == b"did it: False"
        assert (await post(service, "/run", b"import os; result = os.getpid()")).body != first


async def test_how_an_engine_ends_says_nothing_that_it_could_have_read(faulty):
    said: list[str] = []
    async with faulty.service(say=said.append) as service:
        (seat,) = service._seats
        first = min(filter(is_of_the_stage, tasks_of(seat.engine)))  # others are its requests'
        os.kill(first, 34 + 17)  # as it could itself, had it read that number
        async with asyncio.timeout(20):
            await seat.engine.ended.wait()
            while not said:  # noqa: ASYNC110 - its keeper sets no event
                await asyncio.sleep(0.01)
    assert said == [f"the engine {faulty.engine.name} ended: by itself, or by a signal; restarting"]


async def test_what_hangs_is_killed_when_its_request_is_given_up(faulty):
    async with faulty.service() as service:
        (seat,) = service._seats
        with pytest.raises(EngineTimedOut):
            await post(service, "/hang")
        assert (await post(service, "/", b"again")).body == b"5"
        for _ in range(500):
            if len(tasks_of(seat.engine)) <= 3:  # bubblewrap outside and inside, and the engine
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("it still works")


async def test_an_engine_that_ends_while_idle_is_replaced_before_the_next_request(faulty):
    async with faulty.service() as service:
        assert (await post(service, "/")).status == 200
        (seat,) = service._seats
        os.kill(seat.engine.pid, signal.SIGKILL)
        await seat.engine.ended.wait()
        assert (await post(service, "/", b"abc")).body == b"3"


async def test_a_fault_in_one_of_two_engines_leaves_the_other_its_request(faulty):
    async with faulty.service(workers=2) as service:
        slow = asyncio.create_task(post(service, "/run", b"import time; time.sleep(0.5); result = 'slow'"))
        await asyncio.sleep(0.1)
        with pytest.raises(EngineCrashed):
            await post(service, "/exit")
        assert (await slow).body == b"did it: slow"


async def test_a_request_that_finds_no_idle_engine_is_told_so_and_one_given_up_frees_its_engine(faulty):
    async with faulty.service(waiting_seconds=0.2) as service:
        hanging = asyncio.create_task(post(service, "/hang"))
        await asyncio.sleep(0.05)
        with pytest.raises(EngineBusy):
            await post(service, "/")
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        service.waiting_seconds = 10
        assert (await post(service, "/")).status == 200


async def test_a_request_over_a_cap_is_refused_and_the_next_one_served(faulty):
    async with faulty.service() as service:
        reply = await post(service, "/", b"", ("x", "y" * 20_000))
        assert reply.status == 413
        assert (await post(service, "/", b"abc")).body == b"3"


async def test_stopping_leaves_no_process_no_group_and_no_socket(faulty):
    async with faulty.service() as service:
        folders = [folder for seat in service._seats for folder in seat.engine.group.folders]
        assert all(folder.exists() for folder in folders)
        assert processes_mentioning(str(faulty.engine.folder))
    assert not any(folder.exists() for folder in folders)
    assert not processes_mentioning(str(faulty.engine.folder))
    assert not list((faulty.folder / "run").iterdir())


async def test_what_a_request_needs_is_allowed_and_it_can_leave_nothing_behind(faulty):
    code = b"""
import os, threading
thread = threading.Thread(target=lambda: None); thread.start(); thread.join()
result = (os.getuid(), os.getcwd(), sorted(os.environ))
"""
    leave = b"open('/tmp/left', 'wb')"
    async with faulty.service() as service:
        answer = (await post(service, "/run", code)).body
        left = (await post(service, "/run", leave)).body
    environment = [
        "LC_CTYPE",
        "LD_LIBRARY_PATH",
        "LISTEN_FD",
        "MODEL",
        "PATH",
        "PWD",
        "SECTIONS",
    ]  # the first is Python's own doing
    assert answer == f"did it: (60001, '/tmp', {environment})".encode()
    assert left.startswith(b"stopped: PermissionError")


async def test_a_request_that_uses_up_all_tasks_costs_the_engine_nothing_that_lasts(faulty):
    hoard = b"""
import threading, time
while True:
    try: threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
    except RuntimeError: time.sleep(0.005)
"""
    said: list[str] = []
    async with faulty.service(say=said.append) as service:
        (seat,) = service._seats
        reader, writer = await seat.engine.connect()
        writer.write(b"POST /run HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(hoard) + hoard)
        for _ in range(500):
            try:
                await post(service, "/")
            except EngineCrashed:
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("there was always a task left")
        writer.close()
        assert await reader.read() == b""
        for _ in range(500):
            with contextlib.suppress(EngineCrashed):
                await post(service, "/")
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("it did not recover")
    assert said == []


async def test_tasks_are_capped(faulty):
    threads = b"""
import threading, time
for _ in range(64): threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
"""
    async with faulty.service() as service:
        assert b"can't start new thread" in (await post(service, "/run", threads)).body


def test_the_plan_is_the_same_each_time():
    assert planning.plan().profile.digest == planning.plan().profile.digest


def test_files_that_are_not_what_their_address_says_are_refused():
    with traversable_folder() as folder:
        address = stage(FAULTY, folder).folder
        (address / "packages" / "more.py").write_text("")
        with pytest.raises(SandboxUnavailable, match="other files than its name says"):
            stage(FAULTY, folder)


async def test_an_engine_that_cannot_be_confined_as_told_does_not_start(faulty):
    plan = planning.plan(SMALL)
    impossible = structs.replace(plan.profile.landlock, read=("/nowhere",))
    plan = replace(plan, profile=structs.replace(plan.profile, landlock=impossible))
    with pytest.raises(SandboxUnavailable, match=r"could not be confined.*nowhere"):
        await start(plan, faulty.engine, faulty.folder / "run")
    assert not processes_mentioning(str(faulty.engine.folder))


def test_a_start_closes_no_descriptor_that_is_another_files_by_then(faulty):
    async def start_and_open_others():
        engine = await start(planning.plan(SMALL), faulty.engine, faulty.folder / "run")
        with contextlib.ExitStack() as stack:
            others = [stack.enter_context(open("/dev/null", "rb")) for _ in range(32)]  # noqa: ASYNC230, PTH123
            await asyncio.sleep(0.05)
            still_open = [os.fstat(other.fileno()) for other in others]
        await engine.stop()
        return still_open

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # what services run on
        assert len(runner.run(start_and_open_others())) == 32


def test_a_missing_program_is_named_with_the_line_that_installs_it():
    with pytest.raises(SandboxUnavailable, match="apt-get install bubblewrap"):
        planning.plan(search="/nonexistent")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_an_engine_dies_with_its_launcher_however_that_ends(faulty, end):
    launcher = launched(faulty.folder, [], mode="hold")
    assert launcher.stdout is not None
    assert json.loads(launcher.stdout.readline())["answer"] == "5"
    assert processes_mentioning(str(faulty.engine.folder))
    launcher.send_signal(end)
    launcher.communicate(timeout=10)
    deadline = time.monotonic() + 5
    while processes_mentioning(str(faulty.engine.folder)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert processes_mentioning(str(faulty.engine.folder)) == []


def test_an_engine_starts_where_its_launcher_may_leave_no_core_dumps(faulty):
    """As every service: a limit that was given up is not had again."""
    launcher = launched(faulty.folder, [], mode="hold", under=("prlimit", "--core=0:0", "--"))
    assert launcher.stdout is not None
    assert json.loads(launcher.stdout.readline())["answer"] == "5"
    launcher.kill()
    launcher.communicate(timeout=10)


def test_an_ordinary_user_has_the_same_sandbox_in_a_namespace_of_its_own():
    with traversable_folder() as folder, ordinary_user(folder) as command:
        with launched(folder, command) as launcher:
            assert launcher.stdout is not None
            said = [json.loads(line) for line in launcher.stdout]
        assert launcher.returncode == 0
    start, *faults, escapes = said
    assert start == {"answer": "5", "user": "own", "held_by": start["held_by"], "uid": "60001"}
    assert [(fault["path"], fault["error"], fault["next"]) for fault in faults] == [
        ("/hang", "EngineTimedOut", "5"),
        ("/exit", "EngineCrashed", "5"),
        ("/memory", "EngineCrashed", "5"),
    ]
    assert escapes == {"tried": len(attempts()), "not held": []}
