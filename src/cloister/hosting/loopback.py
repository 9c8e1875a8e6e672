"""One listening socket, readiness announced to a supervisor, and the signal to stop.

Without TLS it listens on the loopback interface only: a service that listened wider by mistake would show its routes to
the network.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import ipaddress
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import msgspec

from cloister.errors import UsageError
from cloister.hosting.fault import tell_of_fault, tell_of_unraisable
from cloister.hosting.refused_port import refused_port

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]  # of TCP; 0 lets the kernel choose

LOOPBACK = "127.0.0.1"
GRACE_SECONDS = 4.0  # for requests in flight after a signal; the whole stop then takes under five seconds
BACKLOG = 512


def listen(address: str, port: int, *, secure: bool = False, shared: bool = False) -> socket.socket:
    """A listening TCP socket; port 0 lets the kernel choose. `secure` says that TLS will be spoken on it.

    `shared` lets other processes of this user that say so too listen on the port; the kernel deals connections out.

    Raises:
        UsageError: `address` is no IP address, or not the loopback interface's and not `secure`; the port is no port,
            or not this user's.
        Unavailable: the port is taken.
    """
    require_servable(address, secure=secure)
    family = socket.AF_INET if ipaddress.ip_address(address).version == 4 else socket.AF_INET6
    if not 0 <= port <= 65_535:
        raise UsageError(f"{port} is not a port")
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sets TCP_NODELAY on such
    if sys.platform != "win32":  # there it would let another process take the port over
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise refused_port(address, port, error) from error
    listener.settimeout(0)
    return listener


def require_servable(address: str, *, secure: bool) -> None:
    """Refuse an address that other machines reach where TLS is not spoken on it.

    Raises:
        UsageError: it is such, or no IP address.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError as error:
        raise UsageError(f"{address} is not served: it is no IP address; {LOOPBACK} is this machine alone") from error
    if not (secure or found.is_loopback):
        advice = f"give the table [tls] with certificate and key, or listen on {LOOPBACK}"
        raise UsageError(f"{address} is not served without TLS: other machines can reach it; {advice}")


def port_of(listener: socket.socket) -> int:
    """The port that `listener` got."""
    port: int = listener.getsockname()[1]
    return port


def announce(port: int, ready: Path | int | None) -> None:
    """Tell a supervisor that `port` is served.

    `ready` is a descriptor or the path of a file for one decimal line (whole or not at all); or the path of systemd's
    notification socket (sd_notify(3)), which begins with `@` where it has no file.
    """
    line = f"{port}\n".encode()
    if isinstance(ready, Path) and (str(ready).startswith("@") or ready.is_socket()):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(b"READY=1", re.sub("^@", "\0", str(ready)))
    elif isinstance(ready, Path):
        partial = ready.with_name(f".{ready.name}.{os.getpid()}")
        partial.write_bytes(line)
        partial.replace(ready)
    elif ready is not None:
        os.write(ready, line)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set; the handlers of before come back at the end. In the main thread only.

    The second signal ends the process at once, as it would have without a handler.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def request_stop(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        loop.call_soon_threadsafe(stop.set)

    before = {number: signal.signal(number, request_stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_until_stopped(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run a service's `main` until it returns; the event it gets is set by SIGTERM and SIGINT. On uvloop if there."""
    sys.unraisablehook = tell_of_unraisable
    faulthandler.enable()  # a library that aborts leaves in the log where: names of functions, no data

    async def with_signals() -> None:
        asyncio.get_running_loop().set_exception_handler(tell_of_fault)
        with stop_on_signals() as stop:
            await main(stop)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(with_signals())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not in the client's install, nor on Windows
    except ImportError:
        return None
    return uvloop.new_event_loop
