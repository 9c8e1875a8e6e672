"""What a soak does wrong on purpose: ways of breaking something, and whether the system took each as it should."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from systems import Running, children, warm_engine

from cloister.client.exchange import check_request, seal
from cloister.client.session import Session
from cloister.client.transcription import Wishes, transcription_request

HEAD = b"POST /gateway HTTP/1.1\r\nHost: relay\r\nContent-Type: message/ohttp-req\r\nContent-Length: %d\r\n\r\n"
BACK_SECONDS = 20.0  # in which an engine that was killed is replaced


@dataclass
class Faults:
    """The faults of one soak. Each returns what was wrong with the system's answer to it, or nothing."""

    running: Running
    session: Session
    counts: dict[str, int] = field(default_factory=dict)
    outages: list[tuple[float, float]] = field(default_factory=list)  # while an engine was gone

    def __post_init__(self) -> None:
        """Take the faults in turn."""
        self._turn = itertools.cycle([self.broken_upload, self.killed_connection, self.garbage, self.sealed_garbage])
        relay = urlsplit(self.running.record.relay_url)
        self._relay = (relay.hostname, relay.port)

    async def next(self) -> str:
        fault = next(self._turn)
        self.counts[fault.__name__] = self.counts.get(fault.__name__, 0) + 1
        return await fault()

    async def broken_upload(self) -> str:
        """A client announces more than it sends, and leaves."""
        async with self._connected() as (_, writer):
            writer.write(HEAD % 100_000 + bytes(random.randrange(50_000)))
            await writer.drain()
        return ""

    async def killed_connection(self) -> str:
        """A client sends a whole request and leaves before its answer."""
        request = transcription_request(bytes(2000), Wishes("whisper-1"))
        held = await self.session.hold()
        sealed = seal(request, check_request(request), held.verified.key_config, at=int(time.time()))
        async with self._connected() as (_, writer):
            writer.write(HEAD % len(sealed.data) + sealed.data)
            await writer.drain()
            await asyncio.sleep(random.random() / 100)
        return ""

    async def garbage(self) -> str:
        """What is not HTTP at all."""
        async with self._connected() as (reader, writer):
            writer.write(random.randbytes(200) + b"\r\n\r\n\n")
            answer = await asyncio.wait_for(reader.read(), 30)
        return "" if answer[9:10] in (b"4", b"5") else f"garbage was answered with {answer[:40]!r}"

    async def sealed_garbage(self) -> str:
        """What calls itself an encapsulated request and is none."""
        async with self._connected() as (reader, writer):
            writer.write(HEAD % 2000 + random.randbytes(2000))
            answer = await asyncio.wait_for(reader.readline(), 30)
        return "" if b" 400 " in answer else f"a request that does not open was answered with {answer[:40]!r}"

    async def kill_engine(self) -> str:
        """The engine, or every second time the whole sandbox, is killed; it is to be back in time."""
        self.counts["killed_engine"] = self.counts.get("killed_engine", 0) + 1
        gateway = self.running.pid("gateway")
        engine = warm_engine(gateway)
        if not engine:
            return "there is no engine to kill"
        victim = engine if self.counts["killed_engine"] % 2 else children(gateway)[0]
        began = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        outage = len(self.outages)
        self.outages.append((began, began + BACK_SECONDS))
        while time.monotonic() < began + BACK_SECONDS:
            await asyncio.sleep(0.2)
            with contextlib.suppress(Exception):
                answer = await self.session.send(transcription_request(bytes(100), Wishes("whisper-1")))
                if answer.response.status == 200:
                    self.outages[outage] = (began, time.monotonic())
                    return ""
        return "a killed engine was not replaced in time"

    def explain(self, began: float, ended: float) -> bool:
        """Whether what happened between these times can be an outage's doing."""
        return any(began <= back + 1.0 and ended >= gone for gone, back in self.outages)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(*self._relay)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
