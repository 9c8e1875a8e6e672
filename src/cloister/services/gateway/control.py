"""What the gateway's first process and its workers tell each other, over a socket pair that the worker inherits.

The first process has the engines, the evidence and the keys; workers have clients. Keys go this way and no other: from
memory to memory, never to a disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from cloister.formats.contract import Endpoint
from cloister.hosting.tls import ServerTls

MAXIMUM_MESSAGE: Final = 128 * 1024  # bytes


class Setup(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The first message: what a worker is, and the descriptors that it inherited."""

    worker: int
    workers: int
    listener: int
    replays: int
    counts: int
    sign_seed: bytes  # of the key that signs receipts
    tls: ServerTls | None
    window_seconds: int
    replay_entries: int
    request_bytes: int
    waiting_requests: int  # in this worker
    waiting_seconds: float
    engine_seconds: float
    at_once: int  # requests that one engine is asked by this worker at a time
    grace_seconds: float  # for requests in flight at the end
    about: dict[str, str]  # what /version says beside the versions
    log_level: str


class HeldKey(msgspec.Struct, frozen=True):
    """A transport key as it was released."""

    key_id: int
    kem: int
    secret: bytes
    epoch: bytes
    open_until: int
    contract: bytes
    endpoints: tuple[Endpoint, ...]  # that the contract names


class State(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """All that changes, each time that it has."""

    keys: tuple[HeldKey, ...]
    witnessed: int  # seconds since 1970: no earlier time is believed
    missing: tuple[str, ...]  # before requests can be served, in words
    engines: tuple[str, ...]  # folders of those that are ready


class NoKey(msgspec.Struct, frozen=True, tag=True):
    """The answer to `WantKey` where there is none."""

    key_id: int
    unknown: bool  # there is none that this gateway may have; otherwise that cannot be told now
    reason: str


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Finish what is in flight, and end."""


class WantKey(msgspec.Struct, frozen=True, tag=True):
    """A request names a key that is not here."""

    key_id: int


class Serving(msgspec.Struct, frozen=True, tag=True):
    """The worker takes connections."""


Message = Setup | State | NoKey | Stop | WantKey | Serving


class Control:
    """One end. A peer that is gone is told of once, by `ended`."""

    def __init__(self, sock: socket.socket, heard: Callable[[Any], None], ended: Callable[[], None]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._heard = heard
        self._ended = ended
        asyncio.get_running_loop().add_reader(sock.fileno(), self._read)

    def send(self, message: Message) -> None:
        """Send, unless the peer is gone or reads nothing any more."""
        with contextlib.suppress(OSError):
            self._sock.send(msgspec.msgpack.encode(message, enc_hook=_path_out))

    def close(self) -> None:
        """Hear no more."""
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
            self._sock.close()

    def _read(self) -> None:
        try:
            data = self._sock.recv(MAXIMUM_MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._heard(decoded(data))
            return
        self.close()
        self._ended()


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends that keep messages apart."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def decoded(data: bytes) -> Message:
    """One message; both ends are of this code, so another is a fault of it."""
    return msgspec.msgpack.decode(data, type=Message, dec_hook=_path_in)  # type: ignore[no-any-return]


def _path_out(value: object) -> object:
    return str(value)


def _path_in(kind: type, value: object) -> object:
    return Path(str(value)) if kind is Path else value
