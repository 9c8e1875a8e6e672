"""The whole profile of a sandbox as one record, and its digest, which contracts name.

A profile is made by `plan.plan`, which asks this machine what it can hold; here is only what it says.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from cloister.formats.canonical import Count, Digest, encode
from cloister.formats.contract import TIERS, Tier
from cloister.sandbox.second_stage import SECTIONS

HeldBy = Literal["cgroup-v2", "cgroup-v1", "rlimits"]
User = Literal["dropped", "own"]  # root drops to DROPPED_UID; anyone else stays who they are, in a namespace of its own

DROPPED_UID = 60001
APP, LISTENER_FD, FILTER_FD = "/app", 3, 4
STAGE_PLACEHOLDER = "{stage}"

MIB = 1024 * 1024
SECTIONS_BYTES = 8 * MIB  # of 16 sections: 1,024 files, each of a page at least
_TIER_ABIS = (1, 4, 6)  # from which of Landlock's on it denies files, TCP sockets, signals and abstract sockets


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Bytes, counts and seconds. `held_by` says what holds memory and tasks."""

    held_by: HeldBy
    memory_bytes: Count
    tasks: Count
    open_files: Count
    file_bytes: Count
    scratch_bytes: Count
    request_seconds: Count


class Landlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The rules of the second stage. What they deny follows from the ABI."""

    abi: Count
    read: tuple[str, ...]
    write: tuple[str, ...]

    @property
    def denies(self) -> tuple[str, ...]:
        """In words, for people."""
        tiers = ((1, "files"), (3, "truncation"), (4, "TCP"), (5, "device ioctls"), (6, "signals and abstract sockets"))
        return tuple(what for abi, what in tiers if self.abi >= abi)


class Starter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A program that runs before the engine does and confines it: its name, and the SHA-256 of its file."""

    name: str
    digest: Digest


class SandboxProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that confines an engine: what starts it, bubblewrap's arguments, seccomp, Landlock, limits, user."""

    version: Literal[1] = 1
    user: User
    starters: tuple[Starter, ...]  # in the order in which they run
    arguments: tuple[str, ...]
    outer_filter: bytes
    inner_filter: bytes
    request_filter: bytes
    landlock: Landlock
    limits: Limits

    @property
    def tier(self) -> Tier:
        """The tier that contracts ask for: what Landlock denies beside namespaces and seccomp (docs/sandbox.md)."""
        return TIERS[sum(self.landlock.abi >= abi for abi in _TIER_ABIS)]

    @property
    def digest(self) -> bytes:
        """32 bytes, SHA-256 over the record's deterministic CBOR. The stage's path is a placeholder in it."""
        return hashlib.sha256(encode(self)).digest()


def bubblewrap_arguments(*, scratch_bytes: int) -> tuple[str, ...]:
    """Bubblewrap's arguments without its own path and the program: no network, a read-only root, scratch in memory."""
    identity = str(DROPPED_UID)
    return (
        *("--unshare-all", "--unshare-user", "--disable-userns", "--uid", identity, "--gid", identity),
        *("--hostname", "sandbox", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *("--clearenv", "--setenv", "PATH", "/usr/bin", "--setenv", "LISTEN_FD", str(LISTENER_FD)),
        *("--setenv", "LD_LIBRARY_PATH", f"{APP}/lib"),  # a libpython of the interpreter's own
        *("--ro-bind", "/usr", "/usr"),
        *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin"),
        *("--ro-bind", "/etc/ld.so.cache", "/etc/ld.so.cache", "--ro-bind", STAGE_PLACEHOLDER, APP),
        *("--proc", "/proc", "--dev", "/dev", "--size", str(MIB), "--tmpfs", "/dev/shm"),  # noqa: S108 - a mount
        *("--size", str(scratch_bytes), "--perms", "0700", "--tmpfs", "/tmp"),  # noqa: S108 - a mount
        *("--setenv", "SECTIONS", SECTIONS, "--size", str(SECTIONS_BYTES), "--perms", "0700", "--tmpfs", SECTIONS),
        *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", "--seccomp", str(FILTER_FD), "--"),  # noqa: S108
    )
