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


async def lacking(port: int, *, has_ready: bool) -> str:
    """What the service on `port` says that it lacks before it can serve; empty when it is ready.

    A service without the route /ready is taken for ready when it accepts a connection.
    """
    return await _said(port) if has_ready else await _accepts(port)


async def _said(port: int) -> str:
    client = HttpClient(Origin(LOOPBACK, port), connections=1)
    try:
        async with client.exchange(b"GET", b"/ready", [], seconds=_ASK_SECONDS) as reply:
            answer = msgspec.json.decode(await reply.body.read(65_536), type=_Ready)
    except (CloisterError, msgspec.DecodeError):
        return NO_ANSWER
    finally:
        await client.close()
    return "" if answer.ready else "; ".join(answer.missing) or "it is not ready"


async def _accepts(port: int) -> str:
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:  # a timeout is one, too
        return NO_ANSWER
    writer.close()
    return ""
