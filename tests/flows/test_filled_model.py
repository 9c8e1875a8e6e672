"""A model in an engine's sandbox: written once, in its memory, read by it alone, and gone with whatever goes wrong."""

import asyncio
import contextlib
import hashlib
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.doubles.filled_models import MemoryModel
from tests.doubles.sandboxes import FAULTY, SMALL, post, processes_mentioning, staged

from cloister.errors import CloisterError
from cloister.formats.model_manifest import MAXIMUM_FILES
from cloister.sandbox import own_user, process
from cloister.sandbox.errors import SandboxUnavailable
from cloister.sandbox.escapes.launcher import descendants
from cloister.sandbox.plan import plan
from cloister.sandbox.profile import MIB
from cloister.sandbox.sizes import Sizes, room_for

WEIGHTS = os.urandom(3 * MIB + 7)
MODEL = MemoryModel({"weights.bin": WEIGHTS, "tokenizer/vocab.txt": b"a b c", "empty": b""})
SIZES = SMALL.holding(MODEL.files)


class WrongTag(CloisterError):
    """What an opener says of a file that was changed."""


@pytest.fixture(scope="module")
def faulty():
    with staged(FAULTY) as ready:
        yield ready


def nothing_left(faulty):
    """No process, no socket's folder, and no file of the sandbox's in this process's memory."""
    mapped = Path("/proc/self/maps").read_text()
    held = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.exists()]
    return (
        not processes_mentioning(str(faulty.engine.folder))
        and not list((faulty.folder / "run").iterdir())
        and not [text for text in (mapped, *held) if "weights.bin" in text]
    )


async def test_the_engine_finds_the_whole_model_where_its_environment_says(faulty):
    code = b"""
import hashlib, os, pathlib
folder = pathlib.Path(os.environ["MODEL"])
result = [(str(p.relative_to(folder)), hashlib.sha256(p.read_bytes()).hexdigest(), oct(p.stat().st_mode))
    for p in sorted(folder.rglob("*")) if p.is_file()]
"""
    async with faulty.service(SIZES, model=MODEL) as service:
        told = (await post(service, "/run", code)).body.decode()
    found = [
        (path, hashlib.sha256(content).hexdigest(), "0o100400") for path, content in sorted(MODEL.contents.items())
    ]
    assert told == f"did it: {found}"
    assert nothing_left(faulty)


async def test_without_a_model_its_place_is_empty(faulty):
    async with faulty.service() as service:
        told = (await post(service, "/run", b"import os; result = os.listdir(os.environ['MODEL'])")).body
    assert told == b"did it: []"


async def test_each_engine_that_takes_anothers_place_gets_the_model_again(faulty):
    async with faulty.service(SIZES, model=MODEL) as service:
        (seat,) = service._seats
        os.kill(seat.engine.pid, signal.SIGKILL)
        await seat.engine.ended.wait()
        told = (await post(service, "/run", b"import os; result = os.path.getsize('/model/weights.bin')")).body
    assert told == f"did it: {len(WEIGHTS)}".encode()


async def test_the_models_memory_counts_as_the_engines(faulty):
    async with faulty.service(SIZES, model=MODEL) as service:
        (seat,) = service._seats
        if not seat.engine.group.folders:
            pytest.skip("rlimits hold it here, which count no file in memory")
        folder = seat.engine.group.folders[0]
        names = ("memory.usage_in_bytes", "memory.current")
        (used,) = [int((folder / name).read_text()) for name in names if (folder / name).exists()]
    assert used > len(WEIGHTS)


@pytest.mark.parametrize(
    "files",
    [
        {"a": b"x" * 2 * MIB, "b": b"x" * 2 * MIB},
        {"../a": b""},
        {"a/../b": b""},
        {"/a": b""},
        {"a//b": b""},
        {"": b""},
        {"a\0b": b""},
        {str(n): b"" for n in range(MAXIMUM_FILES + 1)},
    ],
)
async def test_a_model_that_does_not_fit_or_leads_elsewhere_starts_nothing(faulty, files):
    with pytest.raises(SandboxUnavailable, match=r"the model (needs|has no more)"):
        await process.start(
            plan(replace(SMALL, model_bytes=MIB)), faulty.engine, faulty.folder / "run", model=MemoryModel(files)
        )
    assert nothing_left(faulty)


async def test_a_model_of_as_many_files_as_a_manifest_takes_is_filled_in(faulty):
    model = MemoryModel({f"{number:05}": b"x" for number in range(MAXIMUM_FILES)})
    async with faulty.service(SMALL.holding(model.files), model=model) as service:
        told = (await post(service, "/run", b"import os; result = len(os.listdir('/model'))")).body
    assert told == f"did it: {MAXIMUM_FILES}".encode()
    assert nothing_left(faulty)


async def test_an_opener_that_leaves_a_file_out_starts_nothing(faulty):
    class Forgetful(MemoryModel):
        def open_into(self, targets):
            next(targets).filled()

    with pytest.raises(SandboxUnavailable, match="left some of its files out"):
        await process.start(plan(SIZES), faulty.engine, faulty.folder / "run", model=Forgetful(MODEL.contents))
    assert nothing_left(faulty)


async def test_files_that_are_in_each_others_way_start_nothing(faulty):
    model = MemoryModel({"a": b"x", "a/b": b"x"})
    with pytest.raises(SandboxUnavailable, match="could not be confined"):
        await process.start(plan(SMALL.holding(model.files)), faulty.engine, faulty.folder / "run", model=model)
    assert nothing_left(faulty)


async def test_an_engine_without_the_memory_for_its_model_is_told_so(faulty):
    model = MemoryModel({"weights.bin": bytes(64 * MIB)})
    sizes = replace(SMALL, memory_bytes=32 * MIB, model_bytes=room_for(model.files))
    with pytest.raises(SandboxUnavailable, match=r"it exceeded its 32 MiB of memory|there is no room for the model"):
        await process.start(plan(sizes), faulty.engine, faulty.folder / "run", model=model)
    assert nothing_left(faulty)


@pytest.mark.parametrize("error", [WrongTag("the second file was changed"), KeyError("a mistake of the opener's own")])
async def test_an_opener_that_fails_in_the_middle_leaves_nothing(faulty, error):
    held = []

    class Failing(MemoryModel):
        def open_into(self, targets):
            target = next(targets)
            target.write(0, memoryview(WEIGHTS))
            (file,) = [path for path in Path("/proc/self/fd").iterdir() if path.resolve().name == "weights.bin"]
            held.append(os.dup(int(file.name)))  # as whoever else has it open still does
            raise error

    model = Failing({"weights.bin": WEIGHTS, "more": b"x"})
    with pytest.raises(type(error)) as raised:
        async with faulty.service(SIZES, model=model):
            pass
    assert raised.value is error
    assert os.fstat(held[0]).st_size == 0
    os.close(held.pop())
    assert nothing_left(faulty)


async def test_an_engine_that_dies_while_it_is_filled_is_an_error_by_name(faulty):
    def kill_engine():
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):  # it has ended with the one before
                os.kill(pid, signal.SIGKILL)

    model = MemoryModel({"weights.bin": WEIGHTS, "more": b"x"}, midway=kill_engine)
    with pytest.raises(SandboxUnavailable, match="ended by signal 9"):
        await process.start(plan(SIZES), faulty.engine, faulty.folder / "run", model=model)
    assert nothing_left(faulty)


async def test_a_start_that_is_given_up_while_the_model_is_filled_leaves_nothing(faulty):
    model = MemoryModel({"weights.bin": WEIGHTS, "more": b"x"}, midway=lambda: time.sleep(0.3))
    starting = asyncio.create_task(process.start(plan(SIZES), faulty.engine, faulty.folder / "run", model=model))
    await asyncio.to_thread(model.opened.wait, 20)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert nothing_left(faulty)


def read_by(user, engine):
    """What a process of the machine, of this user, reads of an engine's model through the engine's own processes."""
    drop = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", "--"]
    places = [f"/proc/{pid}/root/model/weights.bin" for pid in descendants(engine.pid)]
    assert places
    return b"".join(subprocess.run([*drop, "cat", place], capture_output=True, check=False).stdout for place in places)


def user_of(engine):
    """Who an engine is on the machine."""
    lines = Path(f"/proc/{engine.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Uid:")))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives engines users of their own")
async def test_no_other_user_of_the_machine_reads_it_and_no_other_engine_has_its_user(faulty):
    async with faulty.service(SIZES, model=MODEL, workers=2) as service:
        one, other = (seat.engine for seat in service._seats)
        users = user_of(one), user_of(other)
        assert len(set(users)) == 2
        assert set(users) <= set(own_user.USERS)
        for user in (60001, 65534, users[1]):
            assert read_by(user, one) == b""
        assert WEIGHTS in read_by(users[0], one)  # the attempt is a real one


def test_a_user_without_a_process_is_found_until_there_is_none(tmp_path):
    for number, user in enumerate(own_user.USERS[:-1]):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "status").write_text(f"Name:\tx\nUid:\t0\t{user}\t0\t0\n")
    (tmp_path / "99999").mkdir()  # it has just ended
    assert own_user.unused(tmp_path) == own_user.USERS[-1]
    (tmp_path / "99999" / "status").write_text(f"Uid:\t{own_user.USERS[-1]}\t0\t0\t0\n")
    with pytest.raises(SandboxUnavailable, match="606 engines run on this machine already"):
        own_user.unused(tmp_path)


def test_a_model_takes_whole_pages_and_whole_mebibytes():
    assert room_for([]) == 0
    assert room_for([("a", 1), ("b", 0)]) == MIB
    assert room_for([(str(n), 1) for n in range(17)]) == 2 * MIB
    assert Sizes(memory_bytes=5).holding([("a", MIB)]) == Sizes(memory_bytes=5 + MIB, model_bytes=MIB)
