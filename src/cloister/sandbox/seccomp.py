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
from cloister.sandbox.profile import Confinement
from cloister.sandbox.syscalls import (
    CLONE,
    CLONE3,
    DENIED_ALWAYS,
    DENIED_TO_A_REQUEST,
    DENIED_TO_THE_ENGINE,
    FCNTL,
    IOCTL,
    LEFT_TO_A_SERVER,
    MADVISE,
    OPEN,
    OPENAT,
    PRCTL,
    PRLIMIT64,
    SETRLIMIT,
    SOCKET,
    SOCKETPAIR,
    Numbers,
)

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT, _THIRD_ARGUMENT = 0, 4, 16, 24, 32  # in struct seccomp_data
_UPPER_HALF = 4  # of an argument, after its lower one
_X32 = 0x40000000
_CLONE_THREAD = 0x00010000
_CLONE_OF_FORK = 0x01200011  # SIGCHLD, CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID, and nothing else
_INTO_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_AF_UNIX, _AF_INET, _IPPROTO_TCP = 1, 2, 6
_NOT_A_STREAM = 0xFFF7F7FE  # every bit but SOCK_STREAM, SOCK_NONBLOCK and SOCK_CLOEXEC
_RLIMIT_CORE = 4
_WRITING = 0x00400243  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, __O_TMPFILE
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C  # put keystrokes into a terminal
# Whom the kernel signals when something can be read, and how: a way to kill around kill(2).
_SET_PDEATHSIG = 1  # prctl: the signal at its parent's end, by which a request ends with its engine
_SET_OWNER = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX
_SET_OWNER_BY_IOCTL = (0x8901, 0x8902)  # FIOSETOWN, SIOCSPGRP
# All that a request's process does with a descriptor or its memory. Other commands mark what others have too: a file (a
# hint of F_SET_FILE_RW_HINT, a flag of FS_IOC_SETFLAGS), an open file (F_SETFL), its pages (MADV_PAGEOUT).
_OF_A_DESCRIPTOR = (0, 1, 2, 3, 1030)  # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC
_OF_A_CONNECTION = (0x5401, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX
_OF_ITS_MEMORY = (*range(5), 8, 14, 15, 16, 17)  # MADV_NORMAL to DONTNEED, FREE, HUGEPAGE, NOHUGEPAGE, DONTDUMP, DODUMP


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


def outer_filter(where: Architecture, confinement: Confinement = "worker") -> bytes:
    """What bubblewrap installs before it starts the second stage."""
    return _first(where, confinement, {}, [])


def inner_filter(where: Architecture, confinement: Confinement = "worker") -> bytes:
    """What the second stage installs before the engine: a worker can start no program, and nobody allow core dumps."""
    denied = DENIED_TO_THE_ENGINE if confinement == "worker" else {}
    return _first(where, confinement, denied, _core_limit_stays(where.column))


def request_filter(where: Architecture) -> bytes:
    """What is added in each process that the engine forks for a request: it is alone, and leaves nothing behind."""
    column = where.column
    return _program(
        where,
        DENIED_TO_A_REQUEST,
        [
            *_clone(CLONE[column] or 0, [_step(_ANY_BIT, _CLONE_THREAD, 0, 1)]),
            *_denied_commands(PRCTL[column] or 0, (_SET_PDEATHSIG,), at=_FIRST_ARGUMENT),
            *_allowed_commands(FCNTL[column] or 0, _OF_A_DESCRIPTOR),
            *_allowed_commands(IOCTL[column] or 0, _OF_A_CONNECTION),
            *_allowed_commands(MADVISE[column] or 0, _OF_ITS_MEMORY, at=_THIRD_ARGUMENT),
            *_reading_only(OPEN[column], _SECOND_ARGUMENT),
            *_reading_only(OPENAT[column], _THIRD_ARGUMENT),
        ],
    )


def _first(where: Architecture, confinement: Confinement, denied: dict[str, Numbers], more: list[bytes]) -> bytes:
    column = where.column
    thread_or_fork = [_step(_ANY_BIT, _CLONE_THREAD, 1, 0), _step(_EQUAL, _CLONE_OF_FORK, 0, 1)]
    any_process = [_step(_ANY_BIT, _INTO_NAMESPACES, 1, 0)]
    worker = confinement == "worker"
    left = frozenset() if worker else LEFT_TO_A_SERVER
    return _program(
        where,
        {name: numbers for name, numbers in (DENIED_ALWAYS | denied).items() if name not in left},
        [
            # clone3 has its flags in memory, where no filter sees them; libc falls back to clone.
            *(_step(_EQUAL, CLONE3[column] or 0, 0, 1), _step(_RETURN, _ERRNO | ENOSYS)),
            *_clone(CLONE[column] or 0, thread_or_fork if worker else any_process),
            *_denied_commands(FCNTL[column] or 0, _SET_OWNER),
            *_denied_commands(IOCTL[column] or 0, (_TIOCSTI, _TIOCLINUX, *_SET_OWNER_BY_IOCTL)),
            *([] if worker else _sockets(column, loopback=confinement == "loopback")),
            *more,
        ],
    )


def _sockets(column: int, *, loopback: bool) -> list[bytes]:
    """Unix sockets; TCP over IPv4 too where the engine's own, empty network is to be used."""
    streams = [
        *(_step(_EQUAL, _AF_INET, 0, 5), _step(_LOAD, _SECOND_ARGUMENT), _step(_ANY_BIT, _NOT_A_STREAM, 3, 0)),
        *(_step(_LOAD, _THIRD_ARGUMENT), _step(_EQUAL, 0, 2, 0), _step(_EQUAL, _IPPROTO_TCP, 1, 0)),
    ]
    return [
        *_families(SOCKET[column] or 0, streams if loopback else []),
        *_families(SOCKETPAIR[column] or 0, []),
    ]


def _families(number: int, others: list[bytes]) -> list[bytes]:
    """A call whose first argument is a family. `others` goes on to the next step to deny it, over that to allow."""
    return [
        _step(_EQUAL, number, 0, len(others) + 4),
        _step(_LOAD, _FIRST_ARGUMENT),
        _step(_EQUAL, _AF_UNIX, len(others) + 1, 0),
        *others,
        _step(_RETURN, _ERRNO | EPERM),
        _step(_RETURN, _ALLOW),
    ]


def _core_limit_stays(column: int) -> list[bytes]:
    """Nobody changes the limit of core dumps: at 1 byte it forbids those that are piped to a program, too."""
    return [
        *(_step(_EQUAL, SETRLIMIT[column] or 0, 0, 4), _step(_LOAD, _FIRST_ARGUMENT)),
        *(_step(_EQUAL, _RLIMIT_CORE, 0, 1), _step(_RETURN, _ERRNO | EPERM), _step(_RETURN, _ALLOW)),
        *(_step(_EQUAL, PRLIMIT64[column] or 0, 0, 8), _step(_LOAD, _SECOND_ARGUMENT)),
        *(_step(_EQUAL, _RLIMIT_CORE, 0, 5), _step(_LOAD, _THIRD_ARGUMENT), _step(_ANY_BIT, 0xFFFFFFFF, 2, 0)),
        *(_step(_LOAD, _THIRD_ARGUMENT + _UPPER_HALF), _step(_ANY_BIT, 0xFFFFFFFF, 0, 1)),
        *(_step(_RETURN, _ERRNO | EPERM), _step(_RETURN, _ALLOW)),
    ]


def _program(where: Architecture, denied: dict[str, Numbers], more: list[bytes]) -> bytes:
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
    return b"".join([*code, *more, _step(_RETURN, _ALLOW)])


def _clone(number: int, allowed: list[bytes]) -> list[bytes]:
    """`allowed` looks at the flags; it goes on to the next step to allow them, and over that to deny them."""
    return [
        _step(_EQUAL, number, 0, len(allowed) + 3),
        _step(_LOAD, _FIRST_ARGUMENT),
        *allowed,
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _ERRNO | EPERM),
    ]


def _reading_only(number: int | None, flags: int) -> list[bytes]:
    if number is None:
        return []
    return [
        _step(_EQUAL, number, 0, 4),
        _step(_LOAD, flags),
        _step(_ANY_BIT, _WRITING, 0, 1),
        _step(_RETURN, _ERRNO | EPERM),
        _step(_RETURN, _ALLOW),
    ]


def _denied_commands(number: int, commands: tuple[int, ...], *, at: int = _SECOND_ARGUMENT) -> list[bytes]:
    """A call of which one argument, mostly the second, says what it does."""
    return _by_command(number, commands, at, _ERRNO | EPERM, _ALLOW)


def _allowed_commands(number: int, commands: tuple[int, ...], *, at: int = _SECOND_ARGUMENT) -> list[bytes]:
    """The same, denied but for these."""
    return _by_command(number, commands, at, _ALLOW, _ERRNO | EPERM)


def _by_command(number: int, commands: tuple[int, ...], at: int, listed: int, other: int) -> list[bytes]:
    last = len(commands)
    return [
        _step(_EQUAL, number, 0, last + 3),
        _step(_LOAD, at),
        *(_step(_EQUAL, command, last - place, 0) for place, command in enumerate(commands)),
        _step(_RETURN, other),
        _step(_RETURN, listed),
    ]


def _step(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    """One struct sock_filter, little-endian on both architectures."""
    return struct.pack("<HBBI", code, when_true, when_false, value)
