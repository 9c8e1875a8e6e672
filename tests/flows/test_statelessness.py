"""A marked sentence goes through the whole system; then nothing of it is anywhere but with the client and the engine.

Disks, open files, logs, metrics and the memory of every process are searched. The search is the one that finds the
sentence in a process which keeps what it should not.
"""

import asyncio
import contextlib
import os
import shutil
import sys
import time
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from tests.doubles import traces
from tests.doubles.installation import Installation, local_system
from tests.speech import SENTENCES, form, spoken, word_error_rate

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(os.geteuid() != 0, reason="reading the memory of undumpable processes takes root"),
]
SENTENCE = SENTENCES[3]
FILE_NAME = "canary-visit-at-the-doctor.wav"
SERVICES = ("witness", "ledger", "kms", "gateway", "relay")
PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/var/lib/cloister", "/var/log", "/root")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory):
    installation = Installation(tmp_path_factory.mktemp("installation"))
    async with local_system(installation, tmp_path_factory.mktemp("stateless") / "state") as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def after(system, tmp_path_factory):
    """What is to be searched for, once the sentence has gone through and another one after it."""
    folder = tmp_path_factory.mktemp("spoken")
    audio = spoken(SENTENCE, "slt", folder)
    other = spoken(SENTENCES[0], "rms", folder)
    await ask(system, other)
    since = time.time() - 1
    async with writes_of(system, folder) as written:
        heard = [await ask(system, audio) for _ in range(3)]
    assert word_error_rate([SENTENCE], [heard[0]]) <= 0.3
    return Gone(traces.marks_of(audio, heard[0], file_name=FILE_NAME), since, written)


class Gone:
    """A sentence that went through: its marks, when, and the files that were written meanwhile, where that is known."""

    def __init__(self, marks, since, written):
        self.marks, self.since, self.written = marks, since, written


async def ask(system, audio):
    """What the system hears in `audio`."""
    body, content_type = form(audio, file_name=FILE_NAME, model="whisper-1")
    headers = system.headers | {"Content-Type": content_type}
    url = f"{system.record.base_url}/audio/transcriptions"
    async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers) as response:
        assert response.status == 200
        return (await response.json())["text"]


@contextlib.asynccontextmanager
async def writes_of(system, folder):
    """The names of the files that processes of the system write to, as the kernel tells."""
    names: set[str] = set()
    if shutil.which("fatrace") is None:
        pytest.skip("fatrace tells which files are written: apt-get install fatrace")
    out = folder / "fatrace"
    watcher = await asyncio.create_subprocess_exec("fatrace", "-f", "W", "-o", str(out), stderr=asyncio.subprocess.PIPE)
    await asyncio.sleep(0.5)
    assert watcher.returncode is None, await watcher.communicate()
    pids = {str(name.pid) for name in system.processes()}
    try:
        yield names
        await asyncio.sleep(0.5)
    finally:
        watcher.terminate()
        await watcher.wait()
    for line in out.read_text(errors="replace").splitlines():
        process, _, what = line.partition(": ")
        if process.rpartition("(")[2].rstrip(")") in pids:
            names.add(what.partition(" ")[2].strip())


def outside_the_boundary(system):
    """Every process of the system but the user's proxy and the engine, by what it is."""
    return {pid: name for pid, name in system.outside_the_engine().items() if name != "proxy"}


async def test_no_file_that_was_written_holds_a_trace(system, after):
    there, looked_at = traces.in_files(after.marks, system.state, *PLACES, since=after.since)
    mine = {path: kinds for path, kinds in there.items() if "/spoken" not in path}
    assert mine == {}
    assert looked_at > 0


async def test_the_kernel_saw_no_other_file_being_written(system, after):
    """Only the client's receipts and what the ledger and witnesses sign; none outside the folder of the state."""
    assert {name for name in after.written if not Path(name).is_relative_to(system.state)} == set()


async def test_no_open_file_holds_a_trace(system, after):
    for pid, name in outside_the_boundary(system).items():
        assert traces.in_open_files(after.marks, pid) == set(), name


async def test_no_metric_and_no_health_page_holds_a_trace(system, after):
    async with aiohttp.ClientSession() as http:
        for name in SERVICES:
            for page in ("health", "ready", "metrics", "version"):
                url = f"http://127.0.0.1:{system.role(name).port}/{page}"
                async with http.get(url) as response:
                    assert traces.found(after.marks, await response.read()) == set(), url


def in_memories(system, marks, *, gateway):
    """What is found, by process: in the gateway's memory, or in all others."""
    processes = outside_the_boundary(system).items()
    searched = {name: traces.in_memory(marks, pid) for pid, name in processes if (name == "gateway") is gateway}
    assert searched
    return {name: kinds for name, kinds in searched.items() if kinds}


async def test_no_memory_of_another_process_holds_a_trace(system, after):
    assert in_memories(system, after.marks, gateway=False) == {}


async def test_the_gateways_memory_holds_no_trace_once_it_has_answered(system, after):
    assert in_memories(system, after.marks, gateway=True) == {}


LEAKY = """
import http.server, pathlib, sys
kept, folder = [], pathlib.Path(sys.argv[1])

class Leaky(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        kept.append(self.rfile.read(int(self.headers["content-length"])))
        (folder / "service.log").open("ab").write(b"POST " + kept[-1])
        self.server.scratch = (folder / "upload").open("w+b", buffering=0)
        self.server.scratch.write(kept[-1])
        (folder / "upload").unlink()
        self.answer(b"")

    def do_GET(self):
        self.answer(b'requests{last="' + kept[-1] + b'"} 1')

    def answer(self, body):
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Leaky)
print(server.server_port, flush=True)
server.serve_forever()
"""


async def test_the_same_search_finds_all_of_it_in_a_service_that_leaks(tmp_path):
    audio = spoken(SENTENCE, "slt", tmp_path)
    marks = traces.marks_of(audio, SENTENCE, file_name=FILE_NAME)
    body, content_type = form(audio, file_name=FILE_NAME, model="whisper-1", prompt=SENTENCE.lower())
    kept = tmp_path / "kept"
    kept.mkdir()
    since = time.time() - 1
    leaky = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", LEAKY, str(kept), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert leaky.stdout is not None
        url = f"http://127.0.0.1:{int(await leaky.stdout.readline())}/"
        async with aiohttp.ClientSession() as http:
            async with http.post(url, data=body, headers={"Content-Type": content_type}) as response:
                await response.read()
            async with http.get(url) as response:
                page = await response.read()
        there, _ = traces.in_files(marks, kept, since=since)
        assert there == {str(kept / "service.log"): marks.keys()}
        assert traces.in_open_files(marks, leaky.pid) == marks.keys()
        assert traces.found(marks, page) == marks.keys()
        assert traces.in_memory(marks, leaky.pid) == marks.keys()
    finally:
        leaky.kill()
        await leaky.wait()
