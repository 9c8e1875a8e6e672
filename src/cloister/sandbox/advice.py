"""Says what on this machine refuses user namespaces, without which no engine is confined, and what allows them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

# Settings of the kernel (sysctl), with the value that refuses and one that allows.
_SWITCHES: Final = {
    "kernel/unprivileged_userns_clone": ("0", "1"),
    "kernel/apparmor_restrict_unprivileged_userns": ("1", "0"),
    "user/max_user_namespaces": ("0", "15000"),
}
_FILTERED = "Seccomp:\t2"  # proc(5): a filter is on the process


def advice(settings: Path = Path("/proc/sys"), process: Path = Path("/proc/self")) -> str:
    """The first cause that can be seen, and what to do about it.

    Args:
        settings: where the kernel shows its settings.
        process: where it shows this process.
    """
    for name, (refusing, allowing) in _SWITCHES.items():
        path = settings / name
        if path.is_file() and path.read_text(encoding="ascii").strip() == refusing:
            key = name.replace("/", ".")
            return (
                f"{key} is {refusing}, which refuses user namespaces: as root, sysctl -w {key}={allowing} allows them"
                f" until the next start of the machine, the line {key}={allowing} in /etc/sysctl.d/ for good"
            )
    if not (process / "ns" / "user").exists():
        return "This kernel has no user namespaces (CONFIG_USER_NS): start one that has, as the distributions' own do"
    if _FILTERED in (process / "status").read_text(encoding="utf-8", errors="replace"):
        return (
            "A seccomp filter is on this process, as in a container, and may refuse namespaces: start the container"
            " with --security-opt seccomp=unconfined (docker, podman), or with a profile that allows clone, unshare,"
            " mount and pivot_root"
        )
    return (
        "None of the kernel's settings for user namespaces refuses them. Try by hand: unshare --user --map-root-user"
        " true; where that is refused, a security module or the container around this machine does so"
    )
