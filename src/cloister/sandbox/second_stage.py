"""Runs inside the sandbox, after bubblewrap and before the engine: limits, Landlock, the last seccomp filter.

It is started by path from the staged closure, alone, with the standard library; it confines itself as told, says so in
one line on standard error, sends that and what follows to nowhere (an engine's messages may hold a user's words), and
becomes the engine. Each process that the engine forks, to serve one request, is confined further as it begins. Where
anything cannot be had as told, it ends; there is no weaker form.

Source: Linux's Documentation/userspace-api/landlock.rst; include/uapi/linux/landlock.h, seccomp.h, prctl.h.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import runpy
import struct
import sys

CONFINED = "confined"
OUT_OF_MEMORY, UNUSABLE = 117, 118  # exit statuses; the second: the engine cannot use what it was given
GIVEN_FD = 5  # memory with the task's sections, in JSON; nothing of it where the task has none
SECTIONS = "/sections"  # where their files are: in memory, and to be read only
VARIABLES = ".variables.json"  # there; no section has a file of such a name

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_NO_NEW_PRIVS, _SET_DUMPABLE = 38, 4
_VERSION, _PATH_BENEATH, _FILTER, _ALL_THREADS = 1, 1, 1, 1

_READ_FILE, _READ_DIR, _WRITE_FILE, _TRUNCATE, _IOCTL_DEV, _REFER = 1 << 2, 1 << 3, 1 << 1, 1 << 14, 1 << 15, 1 << 13
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_ON_FILES = _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
_BIND_TCP, _CONNECT_TCP, _ABSTRACT_SOCKETS, _SIGNALS = 1, 2, 1, 2

_libc = ctypes.CDLL(None, use_errno=True)


def landlock_abi() -> int:
    """The kernel's Landlock ABI; 0 where it has none."""
    abi: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    return max(0, abi)


def main() -> None:
    """Confine this process as the first argument says, then run the program that the second names."""
    told = json.loads(sys.argv[1])
    for name, value in told["rlimits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    _check(_libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _check(_libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0), "dumpable")
    take_sections()
    if told["landlock"]["abi"]:
        restrict_files(told["landlock"])
    install_filter(bytes.fromhex(told["filter"]))
    request_filter, seconds = bytes.fromhex(told["request_filter"]), told["request_seconds"]
    os.register_at_fork(after_in_child=lambda: confine_request(request_filter, seconds))
    sys.path.append(told["packages"])
    program, sys.argv = sys.argv[2], sys.argv[2:]
    sys.stderr.write(f"{CONFINED}\n")
    sys.stderr.flush()
    nowhere = os.open("/dev/null", os.O_RDWR)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        runpy.run_path(program, run_name="__main__")
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # nothing more can be counted on, not even an orderly end


def take_sections() -> None:
    """Write the variables and the files that the task was given; where they came from, nothing is left.

    Variables go into a file as well, and never into the environment: there they would tell interpreters and libraries
    what else to load, and what runs is no section's to choose.
    """
    with open(GIVEN_FD, "rb") as handed:
        given = json.loads(handed.read() or b"{}")
        os.ftruncate(GIVEN_FD, 0)
    files = {path: bytes.fromhex(content) for path, content in given.get("files", {}).items()}
    for path, content in {VARIABLES: json.dumps(given.get("variables", {})).encode(), **files}.items():
        try:
            write_section(f"{SECTIONS}/{path}", content)
        except OSError as error:  # its own words have the path, which is a secret
            raise SystemExit(f"the sections' files cannot be written: {os.strerror(error.errno or 0)}") from None


def write_section(place: str, content: bytes) -> None:
    """A file that its reader cannot change."""
    os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120 - pathlib is slow to load
    with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:  # noqa: PTH123
        file.write(content)


def confine_request(program: bytes, seconds: int) -> None:
    """In a process that the engine has just forked, before it has read anything: it is alone, and leaves nothing."""
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        install_filter(program)
    except BaseException:  # noqa: BLE001 - Python would report it, and go on unconfined
        os._exit(1)


def restrict_files(rules: dict[str, object]) -> None:
    """Landlock of exactly the ABI told: an older kernel refuses it, a newer one is not asked for more."""
    abi = int(str(rules["abi"]))
    handled = (1 << 13) - 1  # ABI 1
    handled |= (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0) | (_IOCTL_DEV if abi >= 5 else 0)
    net = _BIND_TCP | _CONNECT_TCP if abi >= 4 else 0
    scoped = _ABSTRACT_SOCKETS | _SIGNALS if abi >= 6 else 0
    attributes = struct.pack("<QQQ", handled, net, scoped)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = _libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    _check(ruleset, f"Landlock ABI {abi}")
    reading = _READ_FILE | _READ_DIR
    writing = reading | _WRITE_FILE | _TRUNCATE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG
    for key, rights in (("read", reading), ("write", writing)):
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
