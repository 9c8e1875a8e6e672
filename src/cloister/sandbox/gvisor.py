"""What runsc is told: a kernel of gVisor's own between the engine and the machine's, no network, nothing else shared.

runsc is started as a user of this start's own, rootless: no part of it ever has root's rights. Inside, the second stage
makes the engine's socket through gVisor's file server, the one thing that is made outside, and becomes 60001 then, whom
that kernel alone knows: the server can give files to no other user than the one that it has itself.

Source: opencontainers/runtime-spec config.md; gVisor's runsc/config/flags.go (release 20221219).
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from cloister.sandbox.profile import (
    APP,
    MIB,
    NAME_PLACEHOLDER,
    PAGE,
    PLACE_PLACEHOLDER,
    SANDBOX_UID,
    SECTIONS_BYTES,
    SOCKETS,
    STAGE_PLACEHOLDER,
    Limits,
)
from cloister.sandbox.second_stage import LISTENER_FD, MODEL, SECTIONS

Platform = Literal["systrap", "ptrace"]  # how it takes the engine's system calls; the first that a runsc has is better
PLATFORMS: Final[tuple[Platform, ...]] = ("systrap", "ptrace")
_CAPABILITIES = ("CAP_SETGID", "CAP_SETUID")  # inside, to become the sandbox's user; gone with that


def arguments(platform: Platform) -> tuple[str, ...]:
    """Runsc's arguments without its own path."""
    return (
        *("--root", f"{PLACE_PLACEHOLDER}/state", "--rootless", "--ignore-cgroups"),
        *("--platform", platform, "--network", "none", "--host-uds", "create", "--host-fifo", "none"),
        *("--overlay2", "none", "--file-access", "exclusive", "--file-access-mounts", "exclusive"),
        *("run", "--bundle", PLACE_PLACEHOLDER, NAME_PLACEHOLDER),
    )


def configuration(limits: Limits) -> str:
    """The bundle's config.json, with placeholders for the machine's paths, and no program yet."""
    tmpfs = {"/dev/shm": MIB, "/tmp": limits.scratch_bytes, SECTIONS: SECTIONS_BYTES, MODEL: limits.model_bytes or PAGE}  # noqa: S108
    told = {
        "ociVersion": "1.0.0",
        "hostname": "sandbox",
        "root": {"path": f"{PLACE_PLACEHOLDER}/root", "readonly": True},
        "process": {
            "user": {"uid": 0, "gid": 0},
            "env": [
                "PATH=/usr/bin",
                f"LISTEN_FD={LISTENER_FD}",
                f"LD_LIBRARY_PATH={APP}/lib",
                f"SECTIONS={SECTIONS}",
                f"MODEL={MODEL}",
            ],
            "cwd": "/",
            "noNewPrivileges": True,
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES),
        },
        "mounts": [
            _kernels("/proc", "proc"),
            _kernels("/sys", "sysfs", "ro"),
            _kernels("/dev", "dev"),
            _bound("/usr", "/usr"),
            _bound(STAGE_PLACEHOLDER, APP),
            _bound(f"{PLACE_PLACEHOLDER}/sockets", SOCKETS, "rw"),
            *(_memory(place, size) for place, size in tmpfs.items()),
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]},
    }
    return json.dumps(told, separators=(",", ":"))


def _kernels(destination: str, kind: str, *options: str) -> dict[str, Any]:
    """One of those that its kernel makes in any case; what is read there would be known by its time, as in memory."""
    return {
        "destination": destination,
        "type": kind,
        "source": kind,
        "options": [*options, "nosuid", "noexec", "nodev", "noatime"],
    }


def _bound(source: str, destination: str, access: str = "ro") -> dict[str, Any]:
    return {
        "destination": destination,
        "type": "bind",
        "source": source,
        "options": [access, "rbind", "nosuid", "nodev", "noatime"],
    }


def _memory(destination: str, size: int) -> dict[str, Any]:
    options = [f"size={size}", "mode=0700", f"uid={SANDBOX_UID}", f"gid={SANDBOX_UID}", "nosuid", "nodev", "noexec"]
    options.append("noatime")
    return {"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options}
