"""What the way through proxy, relay and gateway adds to a transcription, at 1 and at 8 at once.

    PYTHONPATH=src python bench/transcription.py [--rounds 6] [--echo-rounds 60]

The same engine, a process in its sandbox, gets the same audio, a sentence of about 10 s spoken by flite, once on its
socket itself and once through the whole way, in turn in one run. With the speech engine that shows the ratio; but its
own time varies by more than is added, so the added time is shown once more with an engine that only counts. The last
line is JSON: times in milliseconds, `ratio` of the medians, and `cpu_ms`, the CPU time of each service for one request
on the whole way. An engine serves one request at a time, the others wait in line; those that the gateway told to come
back later, as where the machine is slow, are counted as `refused`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import tempfile
import time
import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop
from measured import cpu_seconds
from systems import Running, system

SENTENCE = (
    "The weather is cold and it will rain in the afternoon, so please call my sister and tell her that dinner is "
    "ready, and that we went to the market this morning to buy bread, milk and eggs for the children."
)
PATH = "/v1/audio/transcriptions"
BOUNDARY = "bench-boundary"
ROLES = ("proxy", "relay", "gateway")


@dataclass
class Way:
    """One way to the engine, and how long requests took on it, in milliseconds, round by round."""

    name: str
    unix: str = ""  # the engine's socket, or else
    url: str = ""  # the proxy's
    token: str = ""
    rounds: list[list[float]] = field(default_factory=list)
    refused: int = 0

    async def ask(self, form: bytes) -> tuple[float, bytes]:
        """How long one request took on a connection of its own that was open before, and the answer."""
        host = urlsplit(self.url)
        if self.unix:
            reader, writer = await asyncio.open_unix_connection(self.unix, limit=2**22)
        else:
            reader, writer = await asyncio.open_connection(host.hostname, host.port, limit=2**22)
        lines = [f"POST {PATH} HTTP/1.1", f"Host: {host.netloc or 'engine'}", f"Content-Length: {len(form)}"]
        lines += [f"Content-Type: multipart/form-data; boundary={BOUNDARY}", f"Authorization: Bearer {self.token}"]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode()
        begin = time.perf_counter()
        writer.writelines([head, form])
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        body = await reader.readexactly(int(answer.split(b"content-length:")[1].split(b"\r\n")[0]))
        took = (time.perf_counter() - begin) * 1e3
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        if answer.startswith(b"http/1.1 503 "):
            self.refused += 1
            return 0.0, b""
        if not answer.startswith(b"http/1.1 200 "):
            raise SystemExit(f"{self.name}: {answer[:80]!r} {body[:300]!r}")
        return took, body

    async def round(self, form: bytes, at_once: int) -> set[bytes]:
        """Ask so often at once; the answers."""
        found = await asyncio.gather(*(self.ask(form) for _ in range(at_once)))
        self.rounds.append([took for took, body in found if body])
        return {body for _, body in found if body}


def quantile(rounds: list[list[float]], part: float) -> float:
    took = sorted(one for each in rounds for one in each)
    return took[min(len(took) - 1, int(len(took) * part))]


async def compare(running: Running, form: bytes, *, at_once: int, rounds: int) -> dict[str, Any]:
    """Both ways in turn, each first every second time."""
    socket = next((running.state.run / "engine").glob("engine-*/*"))
    token = running.state.token.read_text().strip()
    direct, through = Way("direct", unix=str(socket)), Way("through", url=running.record.base_url, token=token)
    for way in (direct, through):
        await way.ask(form)
    before = [cpu_seconds(running.pid(role)) for role in ROLES]
    for number in range(rounds):
        answers = set()
        for way in (direct, through) if number % 2 else (through, direct):
            answers |= await way.round(form, at_once)
        if len(answers) != 1:
            raise SystemExit(f"the answers differ: {answers}")
    spent = [cpu_seconds(running.pid(role)) - cpu for role, cpu in zip(ROLES, before, strict=True)]
    medians = [statistics.median(each) for each in direct.rounds], [statistics.median(each) for each in through.rounds]
    added = statistics.median(after - before for before, after in zip(*medians, strict=True))
    return {
        "direct_median_ms": round(quantile(direct.rounds, 0.5), 1),
        "direct_p95_ms": round(quantile(direct.rounds, 0.95), 1),
        "through_median_ms": round(quantile(through.rounds, 0.5), 1),
        "through_p95_ms": round(quantile(through.rounds, 0.95), 1),
        "added_median_ms": round(added, 1),
        "added_p95_ms": round(quantile(through.rounds, 0.95) - quantile(direct.rounds, 0.95), 1),
        "cpu_ms": {role: round(cpu / rounds / at_once * 1e3, 2) for role, cpu in zip(ROLES, spent, strict=True)},
        "refused": direct.refused + through.refused,
        "ratio": round(1 + added / statistics.median(medians[0]), 4),
    }


def spoken(folder: Path) -> tuple[bytes, float]:
    """The sentence as a form, and its length in seconds."""
    path = folder / "sentence.wav"
    subprocess.run(["flite", "-voice", "slt", "-t", SENTENCE, "-o", str(path)], check=True)
    with wave.open(str(path)) as file:
        seconds = file.getnframes() / file.getframerate()
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--{BOUNDARY}\r\n'
    part += 'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    return part.encode() + path.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode(), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6, help="with the speech engine")
    parser.add_argument("--echo-rounds", type=int, default=60, help="with the engine that counts")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        form, seconds = spoken(Path(folder))
    found: dict[str, object] = {"audio_s": round(seconds, 1), "upload_bytes": len(form)}
    for engine, rounds in (("echo", given.echo_rounds), ("speech", given.rounds)):
        with system(engine) as running:
            for at_once in (1, 8):
                count = rounds if at_once == 1 or engine == "echo" else max(2, rounds // 3)
                figures = uvloop.run(compare(running, form, at_once=at_once, rounds=count))
                print(f"{engine}, {at_once} at once: {figures}", flush=True)
                found[f"{engine}_{at_once}"] = figures
    print(json.dumps(found))


if __name__ == "__main__":
    main()
