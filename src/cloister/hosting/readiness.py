"""Asks services of this machine, now, whether they can serve."""

from __future__ import annotations

import asyncio

import msgspec

from cloister.errors import CloisterError
from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_message import Origin
from cloister.hosting.loopback import LOOPBACK

NO_ANSWER = "it does not answer"
_ASK_SECONDS = 2.0


class _Ready(msgspec.Struct):
    ready: bool
    missing: list[str] = []


async def lacking(port: int) -> str:
    """What the service that tells on `port` how it is lacks before it can serve; empty when it is ready."""
    client = HttpClient(Origin(LOOPBACK, port), connections=1)
    try:
        async with client.exchange(b"GET", b"/ready", [], seconds=_ASK_SECONDS) as reply:
            answer = msgspec.json.decode(await reply.body.read(65_536), type=_Ready)
    except (CloisterError, msgspec.DecodeError):
        return NO_ANSWER
    finally:
        await client.close()
    return "" if answer.ready else "; ".join(answer.missing) or "it is not ready"


async def unreachable(port: int) -> str:
    """Whether a service that does not tell how it is takes no connection on `port`, in words; empty when it does."""
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:  # a timeout is one, too
        return NO_ANSWER
    writer.close()
    return ""
