"""Runs inside the sandbox, after what started it and before the engine: model, limits, Landlock, last seccomp filter.

It is started by path from the staged closure, alone, with the standard library; it confines itself as told, says so in
one line on standard error, sends that and what follows to nowhere (an engine's messages may hold a user's words), and
becomes the engine. Each process that a worker forks, to serve one request, is confined further as it begins. Where
anything cannot be had as told, it ends; there is no weaker form.

Source: Linux's Documentation/userspace-api/landlock.rst; include/uapi/linux/landlock.h, seccomp.h, prctl.h.
"""

from __future__ import annotations

import _socket  # the module that is built on it is slow to load
import ctypes
import json
import os
import resource
import runpy
import struct
import sys

CONFINED = "confined"
OUT_OF_MEMORY, UNUSABLE = 117, 118  # exit statuses; the second: the engine cannot use what it was given
LISTENER_FD, SOCKET = 3, "engine.sock"
BACKLOG = 256  # a connection beyond it is refused, not kept waiting
GIVEN_FD = 5  # memory with the task's sections, in JSON; nothing of it where the task has none
SECTIONS = "/sections"  # where their files are: in memory, and to be read only
VARIABLES = ".variables.json"  # there; no section has a file of such a name
MODEL_FD = 6  # a unix socket to the launcher, where the engine's model is filled in
MODEL = "/model"  # where the model's files are then: in memory, and to be read only
_PIECE = 1024 * 1024  # bytes of a model that are written at a time
FILLED = b"\1"  # what the launcher says when they are whole

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_NO_NEW_PRIVS, _SET_DUMPABLE, _SET_PDEATHSIG = 38, 4, 1
_SIGKILL = 9
_VERSION, _PATH_BENEATH, _FILTER, _ALL_THREADS = 1, 1, 1, 1

_READ_FILE, _READ_DIR, _WRITE_FILE, _TRUNCATE, _IOCTL_DEV, _REFER = 1 << 2, 1 << 3, 1 << 1, 1 << 14, 1 << 15, 1 << 13
_EXECUTE, _REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 0, 1 << 4, 1 << 5, 1 << 7, 1 << 8
_MAKE_SOCK, _MAKE_FIFO, _MAKE_SYM = 1 << 9, 1 << 10, 1 << 12
_ON_FILES = _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
_BIND_TCP, _CONNECT_TCP, _ABSTRACT_SOCKETS, _SIGNALS = 1, 2, 1, 2

_LATER = 1 << 33  # seconds since 1970: the year 2242
_MANY = 1 << 20  # descriptors: no process has more where nobody raised the kernel's own limit

_libc = ctypes.CDLL(None, use_errno=True)


def landlock_abi() -> int:
    """The kernel's Landlock ABI; 0 where it has none."""
    abi: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    return max(0, abi)


def main() -> None:
    """Confine this process as the first argument says, then run the program that the second names."""
    told = json.loads(sys.argv[1])
    os.closerange(MODEL_FD + 1, _MANY)  # what the launcher itself may have inherited
    leave_no_memory_in_dumps()
    _check(_libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _check(_libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0), "dumpable")
    listen(told["listen"], told["user"])
    variables, files, model = handed_over(told["given_fd"])
    # Before the limits: its files may be larger than any that the engine writes.
    take_model(told["model"], model, told["model_fd"], streamed=told["streamed"])
    for name, value in told["rlimits"].items():
        limit = getattr(resource, name)
        _, most = resource.getrlimit(limit)  # whoever started this may have less, as a gateway has of core dumps
        lower = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(limit, (lower, lower))
    take_sections(told["sections"], variables, files)
    for place in told["unmarked"]:
        leave_no_times(place)
    if told["landlock"]["abi"]:
        restrict_files(told["landlock"])
    install_filter(bytes.fromhex(told["filter"]))
    if request_filter := bytes.fromhex(told["request_filter"]):
        os.register_at_fork(after_in_child=lambda: confine_request(request_filter, told["request_seconds"]))
    sys.path.append(told["packages"])
    program, sys.argv = sys.argv[2], sys.argv[2:]
    sys.stderr.write(f"{CONFINED}\n")
    sys.stderr.flush()
    open_standards()
    try:
        runpy.run_path(program, run_name="__main__")
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # nothing more can be counted on, not even an orderly end


def open_standards() -> None:
    """Descriptors 0 to 2 to nowhere, of this process's own: a fork has its parent's, with one set of flags for both."""
    nowhere = os.open("/dev/null", os.O_RDWR)  # may be one of the three, where something came by it and was closed
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    if nowhere > 2:
        os.close(nowhere)


def leave_no_memory_in_dumps() -> None:
    """No memory goes into a core dump, whoever makes one: this outlasts the start of a program, unlike `dumpable`."""
    try:
        with open("/proc/self/coredump_filter", "r+", encoding="ascii") as kinds:  # noqa: PTH123 - pathlib is slow to load
            kinds.write("0")
    except FileNotFoundError:
        pass  # of a kernel that makes no dumps, as gVisor's


def listen(path: str | None, user: int | None) -> None:
    """Where no listening socket was inherited, as under gVisor: make it, and only then become the sandbox's user."""
    if path is not None:
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        listener.bind(path)
        listener.listen(BACKLOG)
        os.dup2(listener.detach(), LISTENER_FD)
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        os.chdir("/tmp")  # noqa: S108 - its own; before, it could not be entered


def handed_over(descriptor: int) -> tuple[dict[str, str], dict[str, str], list[tuple[str, int]]]:
    """What the launcher gave in memory, which is then empty: the sections' variables and files, and the model's files.

    Files of sections are in hexadecimal; of the model's there are paths and sizes.
    """
    with open(descriptor, "rb") as handed:
        given = json.loads(handed.read() or b"{}")
        os.ftruncate(descriptor, 0)
    return given.get("variables", {}), given.get("files", {}), given.get("model", [])


def take_model(place: str, files: list[tuple[str, int]], channel: int, *, streamed: bool) -> None:
    """Make the model's files, each of its size, have the launcher fill them, and leave them to be read only.

    They are made here, so that their memory counts as the engine's; this process never reads them, except where it has
    to write them as they come: gVisor's kernel lends none of its files to the host.
    """
    if not files:
        return
    launcher = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, channel)
    for path, size in files:
        descriptor = _new_file(f"{place}/{path}", size)
        if streamed:
            _write_as_it_comes(launcher, descriptor, size)
        else:
            rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", descriptor))
            launcher.sendmsg([b"f"], [rights])
        os.close(descriptor)
    if launcher.recv(len(FILLED)) != FILLED:
        raise SystemExit("the model was not filled in")
    launcher.close()
    for folder, _, names in os.walk(place, topdown=False):
        for name in names:
            os.chmod(f"{folder}/{name}", 0o400)  # noqa: PTH101 - pathlib is slow to load
        os.chmod(folder, 0o500)  # noqa: PTH101


def _write_as_it_comes(launcher: _socket.socket, descriptor: int, size: int) -> None:
    buffer = memoryview(bytearray(min(size, _PIECE)))
    while size:
        got = launcher.recv_into(buffer, min(size, _PIECE))
        if not got:
            raise SystemExit("the model was not filled in")
        size -= got
        written = 0
        while written < got:
            written += os.write(descriptor, buffer[written:got])


def _new_file(place: str, size: int) -> int:
    """A descriptor of a new file that has its memory already."""
    os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120 - pathlib is slow to load
    descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if size:
            os.posix_fallocate(descriptor, 0, size)
    except OSError as error:  # its own words have the path, which is the model's owner's
        raise SystemExit(f"there is no room for the model: {os.strerror(error.errno or 0)}") from None
    return descriptor


def take_sections(place: str, variables: dict[str, str], files: dict[str, str]) -> None:
    """Write the variables and the files that the task was given.

    Variables go into a file as well, and never into the environment: there they would tell interpreters and libraries
    what else to load, and what runs is no section's to choose.
    """
    contents = {path: bytes.fromhex(content) for path, content in files.items()}
    for path, content in {VARIABLES: json.dumps(variables).encode(), **contents}.items():
        try:
            write_section(f"{place}/{path}", content)
        except OSError as error:  # its own words have the path, which is a secret
            raise SystemExit(f"the sections' files cannot be written: {os.strerror(error.errno or 0)}") from None


def write_section(place: str, content: bytes) -> None:
    """A file that its reader cannot change."""
    os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120 - pathlib is slow to load
    with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:  # noqa: PTH123
        file.write(content)


def leave_no_times(place: str) -> None:
    """Have no file or folder below `place` say when it was read: whoever comes next would see which ones were.

    The kernel brings a time of access up to date where it is older than the last change, or than a day (`relatime`); so
    never one that is yet to come. fs/inode.c, relatime_need_update.
    """
    for folder, _, names in os.walk(place):
        for path in (folder, *(f"{folder}/{name}" for name in names)):
            os.utime(path, (_LATER, os.stat(path).st_mtime))  # noqa: PTH116 - pathlib is slow to load


def confine_request(program: bytes, seconds: int) -> None:
    """In a process that the engine has just forked, before it has read anything: it is alone, and leaves nothing."""
    try:
        _check(_libc.prctl(_SET_PDEATHSIG, _SIGKILL, 0, 0, 0), "the end with the engine")
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        open_standards()
        install_filter(program)
    except BaseException:  # noqa: BLE001 - Python would report it, and go on unconfined
        os._exit(1)


def restrict_files(rules: dict[str, object]) -> None:
    """Landlock of exactly the ABI told: an older kernel refuses it, a newer one is not asked for more."""
    abi = int(str(rules["abi"]))
    handled = (1 << 13) - 1  # ABI 1
    handled |= (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0) | (_IOCTL_DEV if abi >= 5 else 0)
    net = _BIND_TCP | _CONNECT_TCP if abi >= 4 and not rules["tcp"] else 0
    scoped = _ABSTRACT_SOCKETS | _SIGNALS if abi >= 6 else 0
    attributes = struct.pack("<QQQ", handled, net, scoped)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = _libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    _check(ruleset, f"Landlock ABI {abi}")
    reading = _READ_FILE | _READ_DIR
    writing = reading | _WRITE_FILE | _TRUNCATE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG
    making = writing | _MAKE_SOCK | _MAKE_FIFO | _MAKE_SYM | _REFER
    using = _READ_FILE | _WRITE_FILE | _IOCTL_DEV
    kinds = {"read": reading, "write": writing, "make": making, "execute": reading | _EXECUTE, "use": using}
    for key, rights in kinds.items():
        for path in rules[key]:  # type: ignore[attr-defined]  # a list of texts, from JSON
            _allow(ruleset, path, rights & handled)
    _check(_libc.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)), "Landlock")
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise SystemExit(f"Landlock for {path} cannot be had: {error.strerror}") from error
    rights &= -1 if os.path.isdir(path) else _ON_FILES  # noqa: PTH112 - pathlib is slow to load, and this is each start
    rule = struct.pack("<Qi", rights, parent)
    _check(_libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, ctypes.c_uint32(0)), f"Landlock for {path}")
    os.close(parent)


def install_filter(program: bytes) -> None:
    """A seccomp filter for every thread of this process, for good."""
    code = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    number = _SECCOMP[os.uname().machine]
    _check(_libc.syscall(number, _FILTER, ctypes.c_uint(_ALL_THREADS), described), "seccomp")


def _check(result: int, what: str) -> None:
    if result < 0:
        raise SystemExit(f"{what} cannot be had: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main()
