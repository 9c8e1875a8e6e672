"""Seccomp programs in classic BPF, as bytes: the same on every machine of one architecture.

They are assembled here, not by libseccomp, so that the profile's digest hangs on nothing but this code, and no library
is loaded that the workload measurement does not see.

Source: Linux's Documentation/userspace-api/seccomp_filter.rst, linux/bpf_common.h, linux/seccomp.h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from errno import ENOSYS, EPERM

from cloister.sandbox.errors import SandboxUnavailable
from cloister.sandbox.syscalls import CLONE, CLONE3, DENIED_ALWAYS, DENIED_TO_THE_ENGINE, IOCTL, Numbers

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24  # offsets in struct seccomp_data, low halves
_X32 = 0x40000000
_CLONE_THREAD = 0x00010000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C  # put keystrokes into a terminal


@dataclass(frozen=True, slots=True)
class Architecture:
    """A machine's AUDIT_ARCH constant, and its column in the table of system calls."""

    audit: int
    column: int


ARCHITECTURES = {"x86_64": Architecture(0xC000003E, 0), "aarch64": Architecture(0xC00000B7, 1)}


def architecture(machine: str) -> Architecture:
    """For `platform.machine()`.

    Raises:
        SandboxUnavailable: no table of system calls is known for it.
    """
    if machine not in ARCHITECTURES:
        raise SandboxUnavailable(f"the sandbox knows {' and '.join(ARCHITECTURES)}, not {machine}")
    return ARCHITECTURES[machine]


def outer_filter(where: Architecture) -> bytes:
    """What bubblewrap installs before it starts the second stage."""
    return _program(where, DENIED_ALWAYS)


def inner_filter(where: Architecture) -> bytes:
    """What the second stage installs last: the engine can start no program and loosen nothing."""
    return _program(where, DENIED_ALWAYS | DENIED_TO_THE_ENGINE)


def _program(where: Architecture, denied: dict[str, Numbers]) -> bytes:
    code = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, where.audit, 1, 0),
        _step(_RETURN, _KILL_PROCESS),
        _step(_LOAD, _NUMBER),
        _step(_AT_LEAST, _X32, 0, 1),  # a second set of numbers for the same calls
        _step(_RETURN, _KILL_PROCESS),
    ]
    for numbers in denied.values():
        number = numbers[where.column]
        if number is not None:
            code += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _ERRNO | EPERM)]
    # clone3 has its flags in memory, where no filter sees them; libc falls back to clone.
    code += [_step(_EQUAL, CLONE3[where.column] or 0, 0, 1), _step(_RETURN, _ERRNO | ENOSYS)]
    code += _threads_only(CLONE[where.column] or 0)
    code += _no_keystrokes(IOCTL[where.column] or 0)
    return b"".join([*code, _step(_RETURN, _ALLOW)])


def _threads_only(clone: int) -> list[bytes]:
    return [
        _step(_EQUAL, clone, 0, 4),
        _step(_LOAD, _FIRST_ARGUMENT),
        _step(_ANY_BIT, _CLONE_THREAD, 0, 1),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _ERRNO | EPERM),
    ]


def _no_keystrokes(ioctl: int) -> list[bytes]:
    return [
        _step(_EQUAL, ioctl, 0, 4),
        _step(_LOAD, _SECOND_ARGUMENT),
        _step(_EQUAL, _TIOCSTI, 1, 0),
        _step(_EQUAL, _TIOCLINUX, 0, 1),
        _step(_RETURN, _ERRNO | EPERM),
    ]


def _step(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    """One struct sock_filter, little-endian on both architectures."""
    return struct.pack("<HBBI", code, when_true, when_false, value)
