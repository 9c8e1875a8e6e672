"""The machine as collectors see it: a file-system root, system calls, what is beside it. Tests bring their own."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from cloister.errors import CloisterError
from cloister.tee.collectors.collected import NoTee, TeeDenied, TeeFault, TeeUnavailable
from cloister.tee.collectors.metadata_service import MetadataService
from cloister.tee.collectors.nvml import load_nvml
from cloister.tee.collectors.quote_service import connect_vsock

T = TypeVar("T")
_LASTING: Final = (errno.EINVAL, errno.ENOTTY, errno.EOPNOTSUPP)  # asking again changes nothing
_INTERRUPTIONS: Final = 16  # that one call bears; a signal handler that raises ends it at once


class SystemCalls(Protocol):
    """What collectors ask of the kernel, as `os` has it."""

    def mkdir(self, path: str, /) -> None:
        """Of section 2: `mkdir`."""

    def rmdir(self, path: str, /) -> None:
        """Of section 2: `rmdir`."""

    def open(self, path: str, flags: int, /) -> int:
        """Of section 2: `open`."""

    def read(self, descriptor: int, size: int, /) -> bytes:
        """Of section 2: `read`, up to `size` bytes."""

    def write(self, descriptor: int, data: bytes, /) -> int:
        """Of section 2: `write`."""

    def close(self, descriptor: int, /) -> None:
        """Of section 2: `close`."""


def device_control(descriptor: int, request: int, argument: bytearray) -> int:
    """Of section 2: `ioctl` on a structure, which the kernel may change."""
    return int(fcntl.ioctl(descriptor, request, argument, True))


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine; or whatever is given in its place."""

    root: Path = Path("/")
    calls: SystemCalls = os
    ioctl: Callable[[int, int, bytearray], int] = device_control
    sleep: Callable[[float], None] = time.sleep
    metadata: MetadataService = field(default_factory=MetadataService)  # of Azure's VMs
    nvml: Callable[[], Any] = load_nvml  # the library of NVIDIA's driver
    host: Callable[[int], socket.socket] = connect_vsock  # a connection to a port of the host

    def place(self, path: str) -> str:
        """Where `path`, relative to the root, lies."""
        return str(self.root / path)

    @contextlib.contextmanager
    def opened(self, path: str, flags: int) -> Iterator[int]:
        """A file or device, closed in any case.

        Raises:
            OSError: as the kernel says.
        """
        descriptor = uninterrupted(lambda: self.calls.open(self.place(path), flags | os.O_CLOEXEC))
        try:
            yield descriptor
        finally:
            self.calls.close(descriptor)

    @contextlib.contextmanager
    def device(self, path: str, *, absent: str, advice: dict[int, str]) -> Iterator[int]:
        """A device to read, write and control.

        Raises:
            NoTee: it is not there, in the words of `absent`.
            TeeDenied, TeeUnavailable: it cannot be opened; `advice` by `errno`.
        """
        with contextlib.ExitStack() as stack:
            try:
                descriptor = stack.enter_context(self.opened(path, os.O_RDWR))
            except FileNotFoundError:
                raise NoTee(absent) from None
            except OSError as error:
                raise explained(error, f"opening {self.place(path)}", advice) from error
            yield descriptor

    def read(self, path: str, *, limit: int) -> bytes:
        """All of a file: a read may bring less than was asked for, and only an empty one is the end.

        Raises:
            OSError: as the kernel says.
            TeeFault: there are more than `limit` bytes.
        """
        found = b""
        with self.opened(path, os.O_RDONLY) as descriptor:
            while piece := self._piece(descriptor, limit + 1 - len(found)):
                found += piece
        if len(found) > limit:
            raise TeeFault(f"{self.place(path)} has more than {limit} bytes, which no report of this kind has")
        return found

    def write(self, path: str, data: bytes) -> None:
        """Write `data` in one piece: the kernel's attributes are not written bit by bit.

        Raises:
            OSError: as the kernel says.
            TeeFault: it took a part only.
        """
        with self.opened(path, os.O_WRONLY) as descriptor:
            written = uninterrupted(lambda: self.calls.write(descriptor, data))
        if written != len(data):
            raise TeeFault(f"{self.place(path)} took {written} of {len(data)} bytes")

    def control(self, descriptor: int, request: int, argument: bytearray) -> None:
        """One ioctl.

        Raises:
            OSError: as the kernel says; `argument` may be changed all the same.
        """
        uninterrupted(lambda: self.ioctl(descriptor, request, argument))

    def _piece(self, descriptor: int, size: int) -> bytes:
        return uninterrupted(lambda: self.calls.read(descriptor, size)) if size > 0 else b""


def uninterrupted(call: Callable[[], T]) -> T:
    """Make a system call again that a signal interrupted (`ioctl` does not do so by itself, PEP 475), boundedly.

    Raises:
        OSError: as the kernel says; InterruptedError, after many.
    """
    for _ in range(_INTERRUPTIONS):
        with contextlib.suppress(InterruptedError):
            return call()
    return call()


def explained(error: OSError, doing: str, advice: dict[int, str]) -> CloisterError:
    """What the kernel said while `doing` something, as a sentence that says what to do, by `errno`."""
    code = error.errno or 0
    said = f"{doing}: {error.strerror or error}"
    if code in (errno.EACCES, errno.EPERM):
        return TeeDenied(
            f"{said}. Only root may ask for evidence, unless a udev rule or unit file gives this user the device"
        )
    kind = TeeFault if code in _LASTING else TeeUnavailable
    if code in advice:
        return kind(f"{said}. {advice[code]}")
    return kind(f"{said} ({errno.errorcode.get(code, code)}). The kernel's log says more: dmesg")
