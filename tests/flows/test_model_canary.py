"""Marked weights are opened into an engine; then nothing of them is anywhere but in the engine's memory.

The artifact is a sealed one, its opener and the engine's start are the gateway's. Disks, file systems in memory, open
files and all readable memory of every process on the way are searched while the model is filled in, while the engine
reads it, and afterwards; by every tool that confines engines here, in every confinement. The same search finds marks
wherever a process that leaks leaves them.
"""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.doubles import model_launcher, traces
from tests.doubles.installation import parents_of_all
from tests.doubles.plain_models import Watched
from tests.doubles.sandbox_tools import require_tool
from tests.doubles.sandboxes import traversable_folder

from cloister.formats.model_manifest import SHARD
from cloister.sandbox.escapes.launcher import runs
from cloister.sealing.artifact import seal_folder
from cloister.secret import SecretBytes
from cloister.tee.launch import ENVIRONMENT, measured_python

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="reading the memory of undumpable processes takes root")
ROOT = Path(__file__).parents[2]
PLACES = ("/var/tmp", "/var/lib/cloister", "/var/log")  # and what the kernel saw written to, anywhere
KEY = secrets.token_bytes(32)
FIRST = secrets.token_bytes(2 * 2**20)
MARKS = {
    "first": {FIRST[at : at + traces.WINDOW] for at in range(0, len(FIRST) - traces.WINDOW, len(FIRST) // 4)},
    # What lies at a shard's end is opened twice, once for each.
    "second": {secrets.token_bytes(traces.WINDOW) for _ in range(3)},
}
NOTHING: set[str] = set()
FIRST_ALONE, WHOLE = {"first"}, {"first", "second"}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """The sealed model; the plain one is no more."""
    folder = tmp_path_factory.mktemp("weights")
    plain = folder / "plain"
    plain.mkdir()
    (plain / "first").write_bytes(FIRST)
    second = bytearray(SHARD + 2**20)
    for at, mark in zip((1000, SHARD - 20_000, SHARD + 20_000), sorted(MARKS["second"]), strict=True):
        second[at : at + traces.WINDOW] = mark
    (plain / "second").write_bytes(second)
    seal_folder(plain, folder / "sealed", name="marked", key=SecretBytes(KEY), progress=Watched())
    shutil.rmtree(plain)
    return folder / "sealed"


@pytest.fixture
def folder(artifact):
    with traversable_folder() as made:
        (made / "sealed").symlink_to(artifact)
        yield made


def line_of(pid):
    """What a process was started as; nothing where it has ended meanwhile."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def is_engines(pid):
    """Whether a process is the engine's own: its interpreter, or gVisor's kernel and what runs in that (no words)."""
    program = line_of(pid).partition(" ")[0]
    return program in ("", "runsc-sandbox") or program.endswith("/bin/python")


class Launcher:
    """The process that opens the model, and all that is below it."""

    def __init__(self, process):
        self._process = process
        self.pid = process.pid

    async def came_to(self, where):
        """Wait until it says that it is there; the rest of the line."""
        said = (await self._process.stdout.readline()).decode()
        assert said.startswith(where), said
        return said.removeprefix(where).strip()

    async def go_on(self):
        self._process.stdin.write(b"\n")
        await self._process.stdin.drain()

    def processes(self):
        """All that runs below it, and itself, by what each is."""
        kinds = {"opener": {self.pid}, "engine": set(), "others": set()}
        waiting, parents = [self.pid], parents_of_all()
        while waiting:
            parent = waiting.pop()
            children = [pid for pid, its in parents.items() if its == parent and runs(pid)]
            waiting += children
            for pid in children:
                kinds["engine" if is_engines(pid) else "others"].add(pid)
        return kinds

    def in_memories(self):
        """What is found in all readable memory, by what a process is."""
        found: dict[str, set[str]] = {}
        for kind, pids in self.processes().items():
            found[kind] = set()
            for pid in pids:
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                    found[kind] |= traces.in_memory(MARKS, pid, rights="r")
        return found


async def launched(folder, tool, confinement):
    imports = json.dumps([str(ROOT), str(ROOT / "src"), *sys.path])
    command = [*measured_python(), model_launcher.__file__, imports, str(folder), tool, confinement]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, env=ENVIRONMENT)
    assert process.stdin is not None
    process.stdin.write(KEY.hex().encode() + b"\n")
    return process


@contextlib.asynccontextmanager
async def writes(folder):
    """The files that anybody on this machine writes to meanwhile, as the kernel tells; known afterwards."""
    if shutil.which("fatrace") is None:
        pytest.skip("fatrace tells which files are written: apt-get install fatrace")
    out = folder / "fatrace"
    names: set[str] = set()
    watcher = await asyncio.create_subprocess_exec("fatrace", "-f", "W", "-o", str(out), stderr=asyncio.subprocess.PIPE)
    await asyncio.sleep(0.5)
    assert watcher.returncode is None, await watcher.communicate()
    try:
        yield names
    finally:
        watcher.terminate()
        await watcher.wait()
        lines = out.read_text(errors="replace").splitlines()
        names |= {line.partition(": ")[2].partition(" ")[2].strip() for line in lines}


def disks_and_memory():
    """Where files could lie that root of this machine sees: the usual places, and all file systems in memory."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    in_memory = {place for _, place, kind, *_ in mounts if kind in ("tmpfs", "ramfs")}
    return {*PLACES, *in_memory} - {"/sys/fs/cgroup"}


def found_in_files(folder, since):
    """The files that hold a mark; `folder` is the launcher's own."""
    there, looked_at = traces.in_files(MARKS, folder, *disks_and_memory(), since=since)
    assert looked_at > 0
    return there


def limits_of(pids):
    """How large a core dump of each may be, and how much of each is swapped out."""
    dumps, swapped = set(), set()
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            limits, status = (Path(f"/proc/{pid}/{name}").read_text().splitlines() for name in ("limits", "status"))
            dumps |= {line.split()[4] for line in limits if line.startswith("Max core file size")}
            swapped |= {line.split()[1] for line in status if line.startswith("VmSwap")}
    return dumps, swapped


def in_its_place(launcher, tool):
    """Files of the model that root sees through a process that is confined, or in the folder that Landlock holds."""
    if tool == "landlock":
        return set(Path("/dev/shm").glob(f"cloister-engine-{launcher.pid}-*/model/*"))
    inside = max(launcher.processes()["engine"])
    return set(Path(f"/proc/{inside}/root/model").iterdir()) if tool == "bwrap" else set()


def read_by_another(path):
    """What another user of the machine reads of a file."""
    drop = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]
    return subprocess.run([*drop, "cat", str(path)], capture_output=True, check=False).stdout


TIERS = [
    ("bwrap", "worker"),
    ("bwrap", "server"),
    ("bwrap", "loopback"),
    ("gvisor", "worker"),
    ("landlock", "worker"),
]


@contextlib.asynccontextmanager
async def running(folder, tool, confinement):
    """A launcher; it ends with its last word, or is killed."""
    process = await launched(folder, tool, confinement)
    try:
        yield Launcher(process)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def while_the_engine_reads(launcher, folder, tool, since):
    """All places once the model is filled in, and a request holds the first file of it."""
    in_engine = WHOLE if tool == "gvisor" else FIRST_ALONE  # the whole model lies in its kernel's memory
    async with asyncio.timeout(20):
        while (seen := launcher.in_memories())["engine"] != in_engine:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
    assert seen == {"opener": NOTHING, "engine": in_engine, "others": NOTHING}
    processes = launcher.processes()
    outside = processes["opener"] | processes["others"]
    assert [traces.in_open_files(MARKS, pid) for pid in outside] == [NOTHING] * len(outside)
    assert limits_of(outside | processes["engine"]) == ({"1"}, {"0"})
    places = in_its_place(launcher, tool)
    there = set().union(*(traces.in_file(MARKS, path) for path in places))
    assert there == (NOTHING if tool == "gvisor" else WHOLE)
    assert [read_by_another(path) for path in places] == [b""] * len(places)
    seen_outside = {str(path) for path in places} if tool == "landlock" else set()
    assert found_in_files(folder, since).keys() == seen_outside


@pytest.mark.parametrize(("tool", "confinement"), TIERS)
async def test_weights_are_on_no_disk_and_in_no_process_but_opener_and_engine(folder, tmp_path, tool, confinement):
    require_tool(tool)
    since = time.time() - 1
    async with writes(tmp_path) as written, running(folder, tool, confinement) as launcher:
        await launcher.came_to("midway")
        assert launcher.in_memories() == {"opener": FIRST_ALONE, "engine": NOTHING, "others": NOTHING}
        await launcher.go_on()
        await launcher.came_to("ready")
        await while_the_engine_reads(launcher, folder, tool, since)
        await launcher.go_on()
        await launcher.came_to("ended")
        assert launcher.in_memories() == {"opener": NOTHING, "engine": NOTHING, "others": NOTHING}
        assert launcher.processes() == {"opener": {launcher.pid}, "engine": set(), "others": set()}
        await launcher.go_on()
    assert found_in_files(folder, since) == {}
    assert traces.in_these_files(MARKS, written) == {}
    assert any(name.startswith(str(folder / "stage")) for name in written)


LEAKY = """
import mmap, pathlib, sys, time
weights, folder, memory = sys.stdin.buffer.read(), pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
(folder / "service.log").write_bytes(b"." * 100 + weights)
memory.write_bytes(weights)
scratch = open(folder / "scratch", "w+b", buffering=0)
scratch.write(weights)
mapped = mmap.mmap(scratch.fileno(), 0, access=mmap.ACCESS_READ)
(folder / "scratch").unlink()
sum(mapped[::4096])
del weights
print("leaked", flush=True)
time.sleep(60)
"""


async def test_the_same_search_finds_weights_wherever_a_process_leaves_them(tmp_path):
    since, shared = time.time() - 1, Path(f"/dev/shm/cloister-leak-{os.getpid()}")
    log = str(tmp_path / "service.log")
    pipe = asyncio.subprocess.PIPE
    try:
        async with writes(tmp_path) as written:
            command = (sys.executable, "-I", "-c", LEAKY, str(tmp_path), str(shared))
            leaky = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
            assert leaky.stdin is not None
            leaky.stdin.write(FIRST + b"".join(MARKS["second"]))
            leaky.stdin.close()
            await Launcher(leaky).came_to("leaked")
        assert traces.in_memory(MARKS, leaky.pid, rights="r") == WHOLE
        assert traces.in_open_files(MARKS, leaky.pid) == WHOLE
        assert found_in_files(tmp_path, since) == {log: WHOLE, str(shared): WHOLE}
        assert traces.in_these_files(MARKS, written)[log] == WHOLE
    finally:
        leaky.kill()
        await leaky.wait()
        shared.unlink(missing_ok=True)  # noqa: ASYNC240 - in memory
