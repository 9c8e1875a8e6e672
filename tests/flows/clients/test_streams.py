"""Long uploads and streams of events through a whole local system, by curl: as they come, with flat memory, proved."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from tests.flows.clients.conftest import SENTENCE
from tests.speech import word_error_rate

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/audio/transcriptions"
MIB = 1024 * 1024


async def curl(system, *arguments):
    """What curl wrote: the answer's status, its headers, its body."""
    authorization = f"Authorization: {system.headers['Authorization']}"
    process = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--show-error", "--no-buffer", "--max-time", "60", "--include", "--header"),
        *(authorization, *map(str, arguments), system.record.base_url + PATH),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    while out.startswith(b"HTTP/1.1 100 "):
        out = out.partition(b"\r\n\r\n")[2]
    head, _, body = out.partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    return (
        int(line.split()[1]),
        {name.lower(): value for name, value in (line.split(": ", 1) for line in headers)},
        body,
    )


def form(file, **fields):
    """The arguments with which curl sends a form."""
    yield from ("--form", f"file=@{file}", "--form", "model=whisper-1")
    for name, value in fields.items():
        yield from ("--form", f"{name}={value}")


class Peak:
    """How much more memory a process came to hold than it held at first, in bytes."""

    def __init__(self, process):
        self._folder = Path("/proc") / str(process.pid)
        (self._folder / "clear_refs").write_text("5")  # the peak begins anew
        self._first = self._kib("VmRSS")

    def grown(self):
        return 1024 * (self._kib("VmHWM") - self._first)

    def _kib(self, name):
        lines = (self._folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


async def test_an_upload_of_25_mib_leaves_the_proxys_memory_flat(system, tmp_path):
    files = {}
    for size in (MIB, 25 * MIB):
        files[size] = tmp_path / f"{size}"
        files[size].write_bytes(os.urandom(size))
    await curl(system, *form(files[MIB]))
    peak = Peak(system.role("proxy").process)
    status, headers, body = await curl(system, *form(files[25 * MIB]))
    assert (status, json.loads(body)["error"]["param"]) == (400, "file")
    assert "cloister-receipt-file" in headers
    assert peak.grown() < 4 * MIB


async def test_a_transcription_streams_as_events_and_its_receipt_is_of_the_whole(system, audio, tmp_path):
    status, headers, body = await curl(system, *form(audio / "speech.wav", stream="true"))
    assert (status, headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    lines = body.decode().splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    assert {event["type"] for event in events} == {"transcript.text.delta", "transcript.text.done"}
    deltas = "".join(event["delta"] for event in events if event["type"].endswith("delta"))
    assert events[-1]["text"].strip() == deltas.strip()
    assert word_error_rate([SENTENCE], [events[-1]["text"]]) <= 0.2
    answer = tmp_path / "answer"
    answer.write_bytes(body)
    verified = await system.cloister(
        *("receipt", "verify", headers["cloister-receipt-file"]),
        *("--request", audio / "speech.wav", "--response", answer),
    )
    assert verified.code == 0, verified.err
