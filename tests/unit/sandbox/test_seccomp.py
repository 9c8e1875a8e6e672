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
    OPEN,
    OPENAT,
)

LIBSECCOMP = {"x86_64": pyseccomp.Arch.X86_64, "aarch64": pyseccomp.Arch.AARCH64}
MACHINES = pytest.mark.parametrize("machine", ARCHITECTURES)
NEWER_THAN_LIBSECCOMP = ("setxattrat",)
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


def number_of(name, machine):
    return pyseccomp.resolve_syscall(LIBSECCOMP[machine], name)


@MACHINES
def test_every_number_is_the_one_libseccomp_knows(machine):
    column = ARCHITECTURES[machine].column
    table = DENIED_ALWAYS | DENIED_TO_THE_ENGINE | DENIED_TO_A_REQUEST
    table |= {"clone": CLONE, "clone3": CLONE3, "ioctl": IOCTL, "fcntl": FCNTL, "open": OPEN, "openat": OPENAT}
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
def test_another_architecture_and_a_second_numbering_end_the_process(machine):
    where = architecture(machine)
    assert verdict(inner_filter(where), 0, audit=0x40000003) == KILL  # i386 on the same processor
    assert verdict(inner_filter(where), 0x40000000, audit=where.audit) == KILL


def test_an_unknown_architecture_is_refused_by_name():
    with pytest.raises(SandboxUnavailable, match="riscv64"):
        architecture("riscv64")
