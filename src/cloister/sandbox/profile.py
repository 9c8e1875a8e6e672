"""The whole profile of a sandbox as one record, and its digest, which contracts name.

A profile is made by `plan.plan`, which asks this machine what it can hold; here is only what it says.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from cloister.formats.canonical import Count, Digest, encode
from cloister.formats.contract import TIERS, Tier
from cloister.sandbox.second_stage import GIVEN_FD, LISTENER_FD, MODEL, MODEL_FD, SECTIONS, SOCKET

HeldBy = Literal["cgroup-v2", "cgroup-v1", "rlimits"]
Confinement = Literal["worker", "server", "loopback"]  # of the engine's program; docs/sandbox.md: what each may do
Tool = Literal["bwrap", "gvisor", "landlock"]  # what confines an engine beside seccomp
User = Literal["dropped", "own"]  # root drops to another for each start; anyone else stays who they are

SANDBOX_UID = 60001  # who an engine is in its namespace, and in gVisor's kernel
APP, FILTER_FD = "/app", 4
STAGE_PLACEHOLDER = "{stage}"  # the closure's folder
USER_PLACEHOLDER = "{user}"  # whom root drops to
PLACE_PLACEHOLDER, NAME_PLACEHOLDER = "{place}", "{name}"  # the folder of one start, and its last part

PAGE, MIB = 4096, 1024 * 1024
SECTIONS_BYTES = 8 * MIB  # of 16 sections: 1,024 files, each of a page at least
SOCKETS = "/sockets"  # under gVisor: where the engine's own is made
SENTRY_BYTES = 256 * MIB  # of memory, for gVisor's kernel and file server
SENTRY_TASKS = 512  # threads of theirs, and those by which they hold the engine's own
_TIER_ABIS = (1, 4, 6)  # from which of Landlock's on it denies files, TCP sockets, signals and abstract sockets


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Bytes, counts and seconds. `held_by` says what holds memory and tasks."""

    held_by: HeldBy
    memory_bytes: Count
    tasks: Count
    open_files: Count
    file_bytes: Count
    scratch_bytes: Count
    model_bytes: Count  # the place for a model that is filled in; part of the memory
    request_seconds: Count


class Landlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The rules of the second stage. What they deny follows from the ABI."""

    abi: Count
    read: tuple[str, ...]
    write: tuple[str, ...]
    make: tuple[str, ...] = ()  # as `write`; sockets, pipes and links besides
    execute: tuple[str, ...] = ()
    use: tuple[str, ...] = ()  # devices: read, written, and told what to do (ioctl)
    tcp: bool = False  # is allowed, in an empty network of the engine's own

    @property
    def denies(self) -> tuple[str, ...]:
        """In words, for people."""
        tiers = ((1, "files"), (3, "truncation"), (4, "TCP"), (5, "device ioctls"), (6, "signals and abstract sockets"))
        return tuple(what for abi, what in tiers if self.abi >= abi and not (what == "TCP" and self.tcp))


class Starter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A program that runs before the engine does and confines it: its name, and the SHA-256 of its file."""

    name: str
    digest: Digest


class SandboxProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that confines an engine: what starts it and with which arguments, seccomp, Landlock, limits, user."""

    version: Literal[2] = 2
    tool: Tool
    confinement: Confinement
    devices: tuple[str, ...] = ()  # of the machine's, that the engine is given
    user: User
    starters: tuple[Starter, ...]  # in the order in which they run
    arguments: tuple[str, ...]
    configuration: str  # gVisor's, in JSON; empty for the others
    outer_filter: bytes
    inner_filter: bytes
    request_filter: bytes
    landlock: Landlock
    limits: Limits

    @property
    def app(self) -> str:
        """Where the closure is for the engine."""
        return STAGE_PLACEHOLDER if self.tool == "landlock" else APP

    @property
    def given_fd(self) -> int:
        """The descriptor of what the second stage is given; gVisor passes none beyond the standard three."""
        return 0 if self.tool == "gvisor" else GIVEN_FD

    @property
    def model_fd(self) -> int:
        """The descriptor of its socket to the launcher, for a model."""
        return 1 if self.tool == "gvisor" else MODEL_FD

    @property
    def streamed(self) -> bool:
        """Whether a model's bytes are sent: gVisor's kernel lends none of its files to be filled."""
        return self.tool == "gvisor"

    @property
    def beside(self) -> tuple[int, int]:
        """Bytes of memory and tasks that the control group holds beside the engine's: those of gVisor's kernel."""
        return (SENTRY_BYTES, SENTRY_TASKS) if self.tool == "gvisor" else (0, 0)

    @property
    def unmarked(self) -> tuple[str, ...]:
        """The places in memory whose files may not tell when they were read; gVisor mounts its own so."""
        if self.tool == "gvisor":
            return ()
        if self.tool == "landlock":
            return tuple(f"{PLACE_PLACEHOLDER}/{name}" for name in ("scratch", "sections", "model"))
        return ("/tmp", "/dev/shm", SECTIONS, MODEL)  # noqa: S108 - mounts

    def told(self) -> dict[str, object]:
        """What the second stage is to do; paths have their placeholders."""
        limits, gvisor = self.limits, self.tool == "gvisor"
        # 1 byte is too little for any core file, and the one value for which nothing is piped to a program: core(5).
        rlimits = {"RLIMIT_CORE": 1, "RLIMIT_NOFILE": limits.open_files, "RLIMIT_FSIZE": limits.file_bytes}
        if gvisor or limits.held_by == "rlimits":  # gVisor's kernel counts; the machine's sees threads of another kind
            rlimits |= {"RLIMIT_AS": limits.memory_bytes, "RLIMIT_NPROC": limits.tasks}
        return {
            "listen": f"{SOCKETS}/{SOCKET}" if gvisor else None,
            "user": SANDBOX_UID if gvisor else None,
            "given_fd": self.given_fd,
            "model_fd": self.model_fd,
            "streamed": self.streamed,
            "sections": f"{PLACE_PLACEHOLDER}{SECTIONS}" if self.tool == "landlock" else SECTIONS,
            "model": f"{PLACE_PLACEHOLDER}{MODEL}" if self.tool == "landlock" else MODEL,
            "unmarked": self.unmarked,
            "rlimits": rlimits,
            "landlock": msgspec.to_builtins(self.landlock),
            "filter": self.inner_filter.hex(),
            "request_filter": self.request_filter.hex(),
            "request_seconds": limits.request_seconds,
        }

    @property
    def tier(self) -> Tier:
        """The tier that contracts ask for: what is denied, by whichever tool (docs/sandbox.md)."""
        if self.tool == "gvisor":
            return "kernel"
        if self.tool == "landlock":
            return "contents"
        return TIERS[TIERS.index("namespaces") + sum(self.landlock.abi >= abi for abi in _TIER_ABIS)]

    @property
    def digest(self) -> bytes:
        """32 bytes, SHA-256 over the record's deterministic CBOR. Paths of this machine are placeholders in it."""
        return hashlib.sha256(encode(self)).digest()


def bubblewrap_arguments(*, scratch_bytes: int, model_bytes: int, devices: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Bubblewrap's arguments without its own path and the program: no network, a read-only root, scratch in memory."""
    model = str(model_bytes or PAGE)  # a place without a size would have half of the machine's memory
    identity = str(SANDBOX_UID)
    return (
        *("--unshare-all", "--unshare-user", "--disable-userns", "--uid", identity, "--gid", identity),
        *("--hostname", "sandbox", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *("--clearenv", "--setenv", "PATH", "/usr/bin", "--setenv", "LISTEN_FD", str(LISTENER_FD)),
        *("--setenv", "LD_LIBRARY_PATH", f"{APP}/lib"),  # a libpython of the interpreter's own
        *("--ro-bind", "/usr", "/usr"),
        *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin"),
        *("--ro-bind", "/etc/ld.so.cache", "/etc/ld.so.cache", "--ro-bind", STAGE_PLACEHOLDER, APP),
        *("--proc", "/proc", "--dev", "/dev", "--size", str(MIB), "--tmpfs", "/dev/shm"),  # noqa: S108 - a mount
        *(argument for device in devices for argument in ("--dev-bind", device, device)),
        *("--size", str(scratch_bytes), "--perms", "0700", "--tmpfs", "/tmp"),  # noqa: S108 - a mount
        *("--setenv", "SECTIONS", SECTIONS, "--size", str(SECTIONS_BYTES), "--perms", "0700", "--tmpfs", SECTIONS),
        *("--setenv", "MODEL", MODEL, "--size", model, "--perms", "0700", "--tmpfs", MODEL),
        *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", "--seccomp", str(FILTER_FD), "--"),  # noqa: S108
    )
