"""Ways out by the kernel: interfaces that have had holes, uncounted memory, the clock, the machine itself."""

from __future__ import annotations

import ctypes
import mmap
import os
from functools import partial

_libc = ctypes.CDLL(None, use_errno=True)
_MACHINE = os.uname().machine
_COLUMN = {"x86_64": 0, "aarch64": 1}[_MACHINE]
NUMBERS = {  # x86-64, AArch64; -1 where the architecture has none
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "personality": (135, 92),
    "iopl": (172, -1),
    "ioperm": (173, -1),
    "modify_ldt": (154, -1),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "quotactl": (179, 60),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "shmctl": (31, 195),
    "msgctl": (71, 187),
    "semctl": (66, 191),
    "mbind": (237, 235),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "ioctl": (16, 29),
}
_ZEROS = ctypes.create_string_buffer(512)
ALLOWED: dict[str, int] = {}  # by the limits of the profile that is tried; the probe is told


def call(name: str, *arguments: object) -> str:
    """A system call by its number; a result below zero raises what it means."""
    number = NUMBERS[name][_COLUMN]
    if number < 0:
        raise OSError(38, f"{_MACHINE} has no {name}")
    result = _libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return f"{name} gave {result}"


def make_object(get: str, control: str, *arguments: object) -> str:
    """A System V object; it is removed again, since it would outlive the process."""
    identity = _libc.syscall(NUMBERS[get][_COLUMN], 0, *arguments)
    if identity < 0:
        raise OSError(ctypes.get_errno(), get)
    number, remove = NUMBERS[control][_COLUMN], 0
    _libc.syscall(number, identity, *((0, remove) if get == "semget" else (remove,)), None)
    return f"{get} gave {identity}"


def open_message_queue() -> str:
    """A POSIX message queue; it is removed again."""
    name = b"escape-%d" % os.getpid()
    made = call("mq_open", name, 0o102, 0o600, None)
    return f"{made}, {call('mq_unlink', name)}"


def host_name() -> str:
    """The machine's name; the sandbox has one of its own."""
    if (name := os.uname().nodename) == "sandbox":
        raise PermissionError(1, "the sandbox's own")
    return name


def host_kernel() -> str:
    """Which kernel takes its calls; the suite compares it with the machine's."""
    told = os.uname()
    return f"{told.release} {told.version}"


def eat_memory() -> str:
    """A quarter more than it may have, and what gVisor's kernel has beside it."""
    piece = b"x" * 2**26
    wanted = ALLOWED["memory_bytes"] * 5 // 4 + 2**29
    hoard = [bytearray(piece) for _ in range(wanted // len(piece))]
    return f"{len(hoard) * 64} MiB"


def eat_descriptors() -> str:
    """More open files than are allowed; they are closed again."""
    opened = []
    try:
        for _ in range(ALLOWED["open_files"] + 1):
            opened.append(os.open("/dev/null", os.O_RDONLY))  # noqa: PERF401 - those before the refusal are closed
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return f"{len(opened)} open"


def other_numbers() -> str:
    """The same calls by the numbers of another ABI: x32's socket; the process is ended for it."""
    result = _libc.syscall(0x40000000 + 41, 2, 1, 0)
    if result < 0:
        raise OSError(ctypes.get_errno(), "x32")
    return "made"


def other_architecture() -> str:
    """A socket by the 32-bit entry (int 0x80), in machine code of its own; the process is ended for it."""
    if _MACHINE != "x86_64":
        raise OSError(38, "there is no such entry")
    # mov eax, 359 (socket); mov ebx, 2; mov ecx, 1; mov edx, 0; int 0x80; ret
    code = bytes.fromhex("b867010000 bb02000000 b901000000 ba00000000 cd80 c3".replace(" ", ""))
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(b"\x53" + code[:-1] + b"\x5b\xc3")  # rbx is the caller's: pushed, popped
    result = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))()
    if result < 0:
        raise OSError(-result, "int 0x80")
    return f"a socket, {result}"


ATTEMPTS = {
    "set up io_uring": partial(call, "io_uring_setup", 1, _ZEROS),
    "enter io_uring": partial(call, "io_uring_enter", 0, 0, 0, 0, None, 0),
    "register with io_uring": partial(call, "io_uring_register", -1, 0, None, 0),
    "load a BPF program": partial(call, "bpf", 5, _ZEROS, 72),
    "make a BPF map": partial(call, "bpf", 0, _ZEROS, 72),
    "count the CPU's events": partial(call, "perf_event_open", _ZEROS, 0, -1, -1, 0),
    "handle its own page faults": partial(call, "userfaultfd", 1),
    "use a keyring": partial(call, "keyctl", 0, -3, 1),
    "add a key": partial(call, "add_key", b"user", b"escape", b"x", 1, -3),
    "request a key": partial(call, "request_key", b"user", b"escape", None, -3),
    "load a module": partial(call, "init_module", _ZEROS, 512, b""),
    "load a module from a file": partial(call, "finit_module", 0, b"", 0),
    "unload a module": partial(call, "delete_module", b"escape", 0x800),
    "load another kernel": partial(call, "kexec_load", 0, 0, None, 0),
    "load another kernel from a file": partial(call, "kexec_file_load", -1, -1, 0, None, 0),
    "swap to a file of its own": partial(call, "swapon", b"/tmp/escape", 0),
    "stop swapping": partial(call, "swapoff", b"/dev/vda"),
    "write the machine's accounts": partial(call, "acct", b"/tmp/escape"),
    "read the kernel's log": partial(call, "syslog", 3, _ZEROS, 512),
    "hang up the terminal": partial(call, "vhangup"),
    "choose where memory lies": partial(call, "personality", 0x0040000),
    "use the machine's ports": partial(call, "iopl", 3),
    "use one of the machine's ports": partial(call, "ioperm", 0x80, 1, 1),
    "change its segments": partial(call, "modify_ldt", 0, _ZEROS, 512),
    "get a file's handle": partial(
        call, "name_to_handle_at", -100, b"/usr", ctypes.create_string_buffer(b"\x80" + bytes(200)), _ZEROS, 0
    ),
    "open a file by its handle": partial(call, "open_by_handle_at", -100, _ZEROS, 0),
    "watch the whole file system": partial(call, "fanotify_init", 0x0, 0),
    "change quotas": partial(call, "quotactl", 0x80000100, None, 0, None),
    "make memory that nobody counts": partial(call, "memfd_create", b"escape", 0),
    "make secret memory": partial(call, "memfd_secret", 0),
    "make shared memory": partial(make_object, "shmget", "shmctl", 4096, 0o1600),
    "make a message queue": partial(make_object, "msgget", "msgctl", 0o1600),
    "make semaphores": partial(make_object, "semget", "semctl", 1, 0o1600),
    "open a POSIX message queue": open_message_queue,
    "bind memory to a node": partial(call, "mbind", 0, 0, 0, None, 0, 0),
    "move another's memory": partial(call, "migrate_pages", os.getppid(), 0, None, None),
    "move its pages": partial(call, "move_pages", os.getpid(), 0, None, None, None, 0),
    "set the time of day": partial(call, "settimeofday", _ZEROS, None),
    "set the clock": partial(call, "clock_settime", 0, _ZEROS),
    "tune a clock": partial(call, "clock_adjtime", 0, ctypes.create_string_buffer(b"\x01" + bytes(511))),
    "tune the clock": partial(call, "adjtimex", ctypes.create_string_buffer(b"\x01" + bytes(511))),
    "learn the machine's name": host_name,
    "speak to the machine's kernel": host_kernel,
    "set the machine's name": partial(call, "sethostname", b"escaped", 7),
    "set the machine's domain": partial(call, "setdomainname", b"escaped", 7),
    "type into a terminal": partial(call, "ioctl", 0, 0x5412, b"x"),
    "paste into a console": partial(call, "ioctl", 0, 0x541C, b"\x03"),
    "use another ABI's numbers": other_numbers,
    "use another architecture's entry": other_architecture,
    "open more files than allowed": eat_descriptors,
    "use more memory than allowed": eat_memory,
}
ENDS = frozenset(  # the kernel ends the process for these
    {"use another ABI's numbers", "use another architecture's entry", "use more memory than allowed"}
)
OUTSIDE = frozenset(
    {
        "use a keyring",
        "add a key",
        "make memory that nobody counts",
        "make shared memory",
        "make a message queue",
        "make semaphores",
        "open a POSIX message queue",
        "move its pages",
        "get a file's handle",
        "open more files than allowed",
        "choose where memory lies",
        "learn the machine's name",
        "speak to the machine's kernel",
    }
)
COMPARED = frozenset({"speak to the machine's kernel"})  # worked only where it tells the same inside as outside
DENIED_FROM = {"learn the machine's name": "namespaces", "speak to the machine's kernel": "kernel"}
