import struct
from errno import ENOSYS, EPERM

import pyseccomp
import pytest

from cloister.sandbox.errors import SandboxUnavailable
from cloister.sandbox.seccomp import ARCHITECTURES, architecture, inner_filter, outer_filter, request_filter
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
    PRLIMIT64,
    SETRLIMIT,
    SOCKET,
    SOCKETPAIR,
)

LIBSECCOMP = {"x86_64": pyseccomp.Arch.X86_64, "aarch64": pyseccomp.Arch.AARCH64}
MACHINES = pytest.mark.parametrize("machine", ARCHITECTURES)
NEWER_THAN_LIBSECCOMP = ("setxattrat", "removexattrat", "file_setattr")
NAMESPACES = [1 << bit for bit in (17, 25, 26, 27, 28, 29, 30)]  # CLONE_NEWNS, NEWCGROUP, … NEWNET
ALLOW, KILL = 0x7FFF0000, 0x80000000


def verdict(program, number, *arguments, audit):
    """Classic BPF as the kernel runs it, for the five instructions that our programs have."""
    data = struct.pack("<IIQ6Q", number, audit, 0, *arguments, *[0] * (6 - len(arguments)))
    code = list(struct.iter_unpack("<HBBI", program))
    at, accumulator = 0, 0
    while True:
        operation, when_true, when_false, value = code[at]
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
            at += 1
            continue
        if operation == 0x06:
            return value
        holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: accumulator & value != 0}[operation]
        at += 1 + (when_true if holds else when_false)


def filtered(where, confinement):
    """Both programs of a confinement."""
    return inner_filter(where, confinement), outer_filter(where, confinement)


def number_of(name, machine):
    return pyseccomp.resolve_syscall(LIBSECCOMP[machine], name)


@MACHINES
def test_every_number_is_the_one_libseccomp_knows(machine):
    column = ARCHITECTURES[machine].column
    table = DENIED_ALWAYS | DENIED_TO_THE_ENGINE | DENIED_TO_A_REQUEST
    table |= {"clone": CLONE, "clone3": CLONE3, "ioctl": IOCTL, "fcntl": FCNTL, "open": OPEN, "openat": OPENAT}
    table |= {"madvise": MADVISE}
    table |= {"socket": SOCKET, "socketpair": SOCKETPAIR, "setrlimit": SETRLIMIT, "prlimit64": PRLIMIT64}
    for name, numbers in table.items():
        if name in NEWER_THAN_LIBSECCOMP:
            continue
        known = number_of(name, machine)
        assert numbers[column] == (known if known >= 0 else None), name


@MACHINES
def test_the_engine_is_denied_every_call_named_and_allowed_what_it_lives_on(machine):
    where = architecture(machine)
    inner, outer = inner_filter(where), outer_filter(where)
    for name, numbers in (DENIED_ALWAYS | DENIED_TO_THE_ENGINE).items():
        if (number := numbers[where.column]) is not None:
            assert verdict(inner, number, audit=where.audit) == 0x50000 | EPERM, name
            expected = 0x50000 | EPERM if name in DENIED_ALWAYS else ALLOW
            assert verdict(outer, number, audit=where.audit) == expected, name
    for name in ("read", "write", "openat", "mmap", "futex", "accept4", "recvfrom", "sendto", "exit_group", "execve"):
        denied_inside = name == "execve"
        number = number_of(name, machine)
        assert (verdict(inner, number, audit=where.audit) == ALLOW) is not denied_inside
        assert verdict(outer, number, audit=where.audit) == ALLOW


@MACHINES
def test_threads_and_forks_are_allowed_to_the_engine_and_to_a_request_threads_alone(machine):
    where = architecture(machine)
    thread, fork = 0x3D0F00, 0x1200011  # glibc's flags for pthread_create and fork
    others = (0, 0x11, 0x4111, 0x11200011, 0x1200011 | 0x10000000)  # vfork's, and forks into namespaces
    for program in (inner_filter(where), outer_filter(where)):
        assert verdict(program, CLONE[where.column], thread, audit=where.audit) == ALLOW
        assert verdict(program, CLONE[where.column], fork, audit=where.audit) == ALLOW
        for flags in others:
            assert verdict(program, CLONE[where.column], flags, audit=where.audit) == 0x50000 | EPERM
        assert verdict(program, CLONE3[where.column], audit=where.audit) == 0x50000 | ENOSYS
    request = request_filter(where)
    assert verdict(request, CLONE[where.column], thread, audit=where.audit) == ALLOW
    for flags in (fork, *others):
        assert verdict(request, CLONE[where.column], flags, audit=where.audit) == 0x50000 | EPERM


@MACHINES
def test_a_request_reads_files_and_writes_none(machine):
    where = architecture(machine)
    request = request_filter(where)
    for flags, allowed in ((0, True), (0x80000, True), (1, False), (2, False), (0x40, False), (0x200, False)):
        expected = ALLOW if allowed else 0x50000 | EPERM
        assert verdict(request, OPENAT[where.column], 0, 0, flags, audit=where.audit) == expected
        if (number := OPEN[where.column]) is not None:
            assert verdict(request, number, 0, flags, audit=where.audit) == expected


@MACHINES
def test_a_request_is_denied_every_call_named_and_allowed_what_it_lives_on(machine):
    where = architecture(machine)
    request = request_filter(where)
    for name, numbers in DENIED_TO_A_REQUEST.items():
        if (number := numbers[where.column]) is not None:
            assert verdict(request, number, audit=where.audit) == 0x50000 | EPERM, name
    for name in ("read", "write", "mmap", "munmap", "futex", "recvfrom", "sendto", "close", "exit_group"):
        assert verdict(request, number_of(name, machine), audit=where.audit) == ALLOW


@MACHINES
@pytest.mark.parametrize(
    ("request_", "denied"),
    [
        (0x5412, True),
        (0x541C, True),
        (0x8901, True),
        (0x8902, True),
        (0x5413, False),
        (0x8903, False),
        (1 << 32 | 0x5412, True),
    ],
)
def test_only_the_ioctls_that_type_into_terminals_or_choose_whom_to_signal_are_denied(machine, request_, denied):
    where = architecture(machine)
    answer = verdict(inner_filter(where), IOCTL[where.column], 0, request_, audit=where.audit)
    assert answer == (0x50000 | EPERM if denied else ALLOW)


@MACHINES
@pytest.mark.parametrize(
    ("command", "denied"), [(8, True), (10, True), (15, True), (3, False), (4, False), (9, False), (1030, False)]
)
def test_no_descriptor_is_given_an_owner_to_be_signalled(machine, command, denied):
    where = architecture(machine)
    for program in (inner_filter(where), outer_filter(where)):
        answer = verdict(program, FCNTL[where.column], 0, command, audit=where.audit)
        assert answer == (0x50000 | EPERM if denied else ALLOW)


@MACHINES
def test_a_request_does_with_descriptors_and_memory_what_stays_its_own_and_nothing_else(machine):
    where = architecture(machine)
    request = request_filter(where)
    fcntl, ioctl, madvise = (call[where.column] for call in (FCNTL, IOCTL, MADVISE))
    # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC; MADV_NORMAL to DONTNEED, FREE, HUGEPAGE to DODUMP
    allowed = {0, 1, 2, 3, 1030}, {0, 1, 2, 3, 4, 8, 14, 15, 16, 17}
    for command in range(2048):
        answers = tuple(
            verdict(request, *call, audit=where.audit) == ALLOW
            for call in ((fcntl, 0, command), (fcntl, 0, 1 << 32 | command), (madvise, 0, 4096, command))
        )
        assert answers == (command in allowed[0], command in allowed[0], command in allowed[1]), command
    own = {0x5401, 0x541B, 0x5421, 0x5450, 0x5451}  # TCGETS, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX
    marks = {0x5452, 0x40086602, 0x401C5820, 0x40046602}  # FIOASYNC, FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR, on 32 bits
    for command in {*range(0x5400, 0x5500), *marks}:
        answer = verdict(request, ioctl, 0, command, audit=where.audit)
        assert answer == (ALLOW if command in own else 0x50000 | EPERM), hex(command)


@MACHINES
@pytest.mark.parametrize("confinement", ["server", "loopback"])
def test_a_server_is_denied_all_but_what_is_left_to_it(machine, confinement):
    where = architecture(machine)
    for program in (inner_filter(where, confinement), outer_filter(where, confinement)):
        for name, numbers in DENIED_ALWAYS.items():
            if (number := numbers[where.column]) is not None and name not in ("socket", "socketpair"):
                expected = ALLOW if name in LEFT_TO_A_SERVER else 0x50000 | EPERM
                assert verdict(program, number, audit=where.audit) == expected, name
        for name in ("execve", "execveat", "read", "accept4"):
            assert verdict(program, number_of(name, machine), audit=where.audit) == ALLOW


@MACHINES
def test_a_server_starts_processes_and_none_in_a_namespace(machine):
    where = architecture(machine)
    for flags, allowed in (
        (0x3D0F00, True),  # pthread_create's
        (0x1200011, True),  # fork's
        (0x4111, True),  # posix_spawn's
        (0x10000011, False),
        *((0x11 | namespace, False) for namespace in NAMESPACES),
    ):
        answer = verdict(inner_filter(where, "server"), CLONE[where.column], flags, audit=where.audit)
        assert answer == (ALLOW if allowed else 0x50000 | EPERM)
    assert verdict(inner_filter(where, "server"), CLONE3[where.column], audit=where.audit) == 0x50000 | ENOSYS


STREAM, FLAGS = 1, 0x80800  # SOCK_CLOEXEC, SOCK_NONBLOCK


@MACHINES
@pytest.mark.parametrize(
    ("arguments", "server", "loopback"),
    [
        ((1, STREAM, 0), True, True),
        ((1, 2, 0), True, True),
        ((2, STREAM, 0), False, True),
        ((2, STREAM | FLAGS, 6), False, True),
        ((2, 2, 0), False, False),  # UDP
        ((2, 3, 1), False, False),  # raw
        ((2, 5, 132), False, False),  # SCTP
        ((2, STREAM, 132), False, False),
        ((2, STREAM, 262), False, False),  # MPTCP
        ((10, STREAM, 0), False, False),  # IPv6
        ((16, 3, 0), False, False),  # netlink
        ((17, 3, 768), False, False),  # packets
        ((40, STREAM, 0), False, False),  # AF_VSOCK
        ((1 << 32 | 40, STREAM, 0), False, False),
    ],
)
def test_a_server_has_unix_sockets_and_tcp_only_on_loopback(machine, arguments, server, loopback):
    where = architecture(machine)
    may_use = {filtered(where, "server"): server, filtered(where, "loopback"): loopback}
    for programs, allowed in may_use.items():
        for program in programs:
            answer = verdict(program, SOCKET[where.column], *arguments, audit=where.audit)
            assert answer == (ALLOW if allowed else 0x50000 | EPERM)
            answer = verdict(program, SOCKETPAIR[where.column], *arguments, audit=where.audit)
            assert answer == (ALLOW if arguments[0] == 1 else 0x50000 | EPERM)


@MACHINES
@pytest.mark.parametrize("confinement", ["worker", "server", "loopback"])
def test_the_limit_of_core_dumps_is_read_and_not_changed(machine, confinement):
    where = architecture(machine)
    inner, core, files, address = inner_filter(where, confinement), 4, 7, 0x7FFF_0000_1000
    for number, arguments, allowed in (
        (SETRLIMIT, (core, address), False),
        (SETRLIMIT, (files, address), True),
        (PRLIMIT64, (0, core, address), False),
        (PRLIMIT64, (0, core, 0x7FFF << 32), False),  # nothing in the lower half
        (PRLIMIT64, (0, core, 0, address), True),
        (PRLIMIT64, (0, files, address), True),
    ):
        answer = verdict(inner, number[where.column], *arguments, audit=where.audit)
        assert answer == (ALLOW if allowed else 0x50000 | EPERM)
    # The second stage is what sets it.
    assert (
        verdict(outer_filter(where, confinement), PRLIMIT64[where.column], 0, core, address, audit=where.audit) == ALLOW
    )


@MACHINES
def test_another_architecture_and_a_second_numbering_end_the_process(machine):
    where = architecture(machine)
    assert verdict(inner_filter(where), 0, audit=0x40000003) == KILL  # i386 on the same processor
    assert verdict(inner_filter(where), 0x40000000, audit=where.audit) == KILL


def test_an_unknown_architecture_is_refused_by_name():
    with pytest.raises(SandboxUnavailable, match="riscv64"):
        architecture("riscv64")
