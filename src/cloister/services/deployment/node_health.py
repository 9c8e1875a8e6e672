"""Asks a node's process, now, whether it can serve and what it measured."""

from __future__ import annotations

import msgspec

from cloister.errors import CloisterError
from cloister.hosting.readiness import NO_ANSWER
from cloister.hosting.tls import PeerTls
from cloister.peers.exchange import Exchange

ASK_SECONDS = 2.0
_LIMIT = 65_536  # bytes
_SAID = 500  # characters of what a node lacks


class _Ready(msgspec.Struct):
    ready: bool
    missing: list[str] = []


class _Version(msgspec.Struct):
    workload: str = ""


async def lacking(url: str, peers: PeerTls | None) -> str:
    """What the node that tells at `url` how it is lacks before it can serve; empty when it is ready."""
    try:
        async with Exchange("the node", url, seconds=ASK_SECONDS, peers=peers) as exchange:
            reply = await exchange.ask("GET", "/ready", limit=_LIMIT, expected=((200, None), (503, None)))
            answer = msgspec.json.decode(reply.body, type=_Ready)
    except CloisterError as error:
        return str(error)[:_SAID]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return NO_ANSWER
    return "" if answer.ready else ("; ".join(answer.missing) or "it is not ready")[:_SAID]


async def measured(url: str, peers: PeerTls | None) -> bytes:
    """The workload that the node at `url` measured, 48 bytes; empty where it tells none."""
    try:
        async with Exchange("the node", url, seconds=ASK_SECONDS, peers=peers) as exchange:
            reply = await exchange.ask("GET", "/version", limit=_LIMIT)
            return bytes.fromhex(msgspec.json.decode(reply.body, type=_Version).workload)
    except (CloisterError, msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return b""
