"""What one request could leave to the next by the files and descriptors of its engine: the next finds nothing of it."""

import ast
import os
from dataclasses import replace

import pytest
from msgspec import structs
from tests.doubles.filled_models import MemoryModel
from tests.doubles.sandbox_tools import require_tool
from tests.doubles.sandboxes import FAULTY, SMALL, post, staged
from tests.flows.test_escapes import ALLOW_EVERYTHING

from cloister.sandbox.plan import plan
from cloister.sandbox.service import EngineService

MODEL = MemoryModel({f"part-{number}.bin": b"w" * 4096 for number in range(8)})
SIZES = SMALL.holding(MODEL.files)
MODEL_AND_OTHERS = """
import array, contextlib, fcntl, glob, os, struct
parts = sorted(glob.glob(os.environ["MODEL"] + "/*"))
folders = [os.environ["MODEL"], os.environ["SECTIONS"], os.environ.get("TMPDIR", "/tmp"), "/dev/shm", "/dev", "/sys"]
"""
# The first client's PIN, two bits a file, and by whatever else stays when a process has ended.
LEAVE = """
refused = []
def leave(command, *arguments):
    try: return command(*arguments)
    except OSError: refused.append(command.__name__)
for part, bits in zip(parts, (0, 1, 0, 3, 2, 1, 3, 0)):
    with open(part, "rb") as file:
        file.read(1)
        leave(fcntl.fcntl, file, 1036, struct.pack("Q", 2 + bits))
        leave(fcntl.ioctl, file, 0x40086602, struct.pack("Q", bits << 6))
for standard in (0, 1, 2):
    leave(fcntl.fcntl, standard, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)
    leave(fcntl.flock, standard, fcntl.LOCK_EX)
    leave(fcntl.ioctl, standard, 0x5421, struct.pack("i", 1))
for folder in folders:
    with contextlib.suppress(OSError): os.listdir(folder)
result = sorted(set(refused))
"""
LOOK = """
def told(read):
    try: return read()
    except OSError as error: return error.errno
def hint(part):
    with open(part, "rb") as file: return struct.unpack("Q", fcntl.fcntl(file, 1035, bytes(8)))[0]
def flags(part):
    with open(part, "rb") as file: return struct.unpack("Q", fcntl.ioctl(file, 0x80086601, bytes(8)))[0]
def lock():
    with open("/dev/null", "rb") as file: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
result = {
    "hints": [told(lambda: hint(part)) for part in parts],
    "flags": [told(lambda: flags(part)) for part in parts],
    "files": [told(lambda: repr(os.stat(path))) for path in parts + folders],
    "read at": [told(lambda: os.stat(path).st_atime_ns) for path in parts + folders],
    "lock": told(lock),
    "descriptors": sorted(told(lambda: fcntl.fcntl(number, fcntl.F_GETFL)) for number in range(64)),
}
"""


async def seen_before_and_after(service):
    """What a request sees, and what one sees after another has left all that it could; and what that was refused."""
    before = await ran(service, LOOK)
    refused = await ran(service, LEAVE)
    return before, await ran(service, LOOK), refused


async def ran(service, code):
    answer = (await post(service, "/run", (MODEL_AND_OTHERS + code).encode())).body.decode()
    return ast.literal_eval(answer.removeprefix("did it: "))


@pytest.fixture(scope="module")
def faulty():
    with staged(FAULTY) as ready:
        yield ready


@pytest.mark.parametrize("tool", ["bwrap", "gvisor", "landlock"])
async def test_a_request_marks_no_file_and_no_descriptor_for_the_next(faulty, tool):
    require_tool(tool)
    async with faulty.service(SIZES, tool, model=MODEL) as service:
        before, after, refused = await seen_before_and_after(service)
    assert after == before
    assert refused == ["fcntl", "flock", "ioctl"]


async def test_without_the_requests_filter_marks_stay_at_files_and_none_at_descriptors_or_times(faulty):
    planned = plan(SIZES)
    loose = replace(planned, profile=structs.replace(planned.profile, request_filter=ALLOW_EVERYTHING))
    service = EngineService(loose, faulty.engine, faulty.folder / "run", model=MODEL)
    await service.start()
    try:
        before, after, _ = await seen_before_and_after(service)
    finally:
        await service.stop()
    assert after["hints"] == [2, 3, 2, 5, 4, 3, 5, 2] != before["hints"]
    for name in ("read at", "lock", "descriptors"):
        assert after[name] == before[name]


@pytest.mark.parametrize("tool", ["bwrap", "gvisor"])  # under Landlock alone the files are the machine's
async def test_a_request_does_not_see_which_files_of_its_engine_the_last_one_read(faulty, tool):
    require_tool(tool)
    program = next(path for path in faulty.engine.folder.rglob("*.py") if path.stat().st_size)
    inside = f"/app/{program.relative_to(faulty.engine.folder)}"
    long_ago = 10**9
    os.utime(program, (long_ago, long_ago))
    async with faulty.service(SIZES, tool, model=MODEL) as service:
        os.utime(program, (long_ago, long_ago))
        await ran(service, f"open({inside!r}, 'rb').read(); result = 0")
        assert await ran(service, f"result = int(os.stat({inside!r}).st_atime)") == long_ago


@pytest.mark.parametrize("tool", ["bwrap", "gvisor"])
async def test_process_numbers_tell_the_next_request_how_many_threads_the_last_one_started(faulty, tool):
    """A channel that is left, and said to be in docs/sandbox.md."""
    require_tool(tool)
    start = "import threading\nfor _ in range(100): one = threading.Thread(target=int); one.start(); one.join()\n"
    async with faulty.service(SIZES, tool, model=MODEL) as service:
        first = await ran(service, f"{start}result = os.getpid()")
        assert await ran(service, "result = os.getpid()") == first + 101
