"""Decides, on this machine, the profile an engine is held in, and proves that the machine can hold it.

The same machine and user give the same profile each time, so that the digest a contract names is the one the gateway
finds. Where the kernel refuses, nothing starts; there is no weaker form to fall back to.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cloister.sandbox import cgroup
from cloister.sandbox.advice import advice
from cloister.sandbox.errors import SandboxUnavailable
from cloister.sandbox.profile import (
    DROPPED_UID,
    MIB,
    STAGE_PLACEHOLDER,
    HeldBy,
    Landlock,
    Limits,
    SandboxProfile,
    Starter,
    User,
    bubblewrap_arguments,
)
from cloister.sandbox.seccomp import architecture, inner_filter, outer_filter, request_filter
from cloister.sandbox.second_stage import SECTIONS, landlock_abi

_SEARCH = "/usr/bin:/bin:/usr/local/bin"
SHELL, ENV = "/bin/sh", "/usr/bin/env"  # they put the engine into its control group
_PROBE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Sizes:
    """What an engine may use; `request_seconds` is how long one request may take."""

    memory_bytes: int = 1024 * MIB
    tasks: int = 32
    scratch_bytes: int = 64 * MIB
    request_seconds: int = 600


@dataclass(frozen=True, slots=True)
class Plan:
    """A profile this machine can hold, and the local paths that are not part of it."""

    profile: SandboxProfile
    starter: tuple[str, ...]  # drops to the sandbox's user, and becomes bubblewrap
    parents: cgroup.Parents

    def command(self, stage: Path, program: tuple[str, ...]) -> tuple[str, ...]:
        """The whole command line for `program` with `stage` bound at /app."""
        filled = (str(stage) if argument == STAGE_PLACEHOLDER else argument for argument in self.profile.arguments)
        return (*self.starter, *filled, *program)


def plan(sizes: Sizes | None = None, *, search: str = _SEARCH) -> Plan:
    """The profile for this machine and user; about 50 ms, most of it a trial start.

    Raises:
        SandboxUnavailable: a program is missing, the architecture unknown, or the kernel refuses; with what to do.
    """
    sizes = sizes or Sizes()
    where = architecture(platform.machine())
    parents = cgroup.find_parents()
    user: User = "dropped" if os.geteuid() == 0 else "own"
    starter = _starter(user, search)
    arguments = bubblewrap_arguments(scratch_bytes=sizes.scratch_bytes)
    _try(starter, arguments)
    profile = SandboxProfile(
        user=user,
        starters=_measured(parents.held_by, starter),
        arguments=arguments,
        outer_filter=outer_filter(where),
        inner_filter=inner_filter(where),
        request_filter=request_filter(where),
        landlock=Landlock(
            abi=landlock_abi(),
            read=("/app", "/usr", "/etc", "/dev/urandom", SECTIONS),
            write=("/tmp", "/dev/null"),  # noqa: S108
        ),
        limits=Limits(
            held_by=parents.held_by,
            memory_bytes=sizes.memory_bytes,
            tasks=sizes.tasks,
            open_files=64,
            file_bytes=sizes.scratch_bytes,
            scratch_bytes=sizes.scratch_bytes,
            request_seconds=sizes.request_seconds,
        ),
    )
    return Plan(profile, starter, parents)


def _starter(user: User, search: str) -> tuple[str, ...]:
    bubblewrap = _program("bwrap", "bubblewrap", search)
    if user == "own":
        return (bubblewrap,)
    identity = str(DROPPED_UID)
    drop = ("--reuid", identity, "--regid", identity, "--clear-groups", "--no-new-privs")
    return (_program("setpriv", "util-linux", search), *drop, bubblewrap)


def _program(name: str, package: str, search: str) -> str:
    path = shutil.which(name, path=search)
    if path is None:
        raise SandboxUnavailable(f"{name} is missing; install it with: apt-get install {package}")
    return path


def _measured(held_by: HeldBy, starter: tuple[str, ...]) -> tuple[Starter, ...]:
    """Every program between the gateway and the second stage; a path is followed to the file that it reaches."""
    entering = () if held_by == "rlimits" else (SHELL, ENV)
    paths = (*map(Path, entering), *(Path(argument) for argument in starter if argument.startswith("/")))
    return tuple(Starter(name=path.name, digest=hashlib.sha256(path.read_bytes()).digest()) for path in paths)


def _try(starter: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    """Start `true` with the profile's own arguments, less the descriptors and the stage."""
    with_stage = ["/usr" if argument == STAGE_PLACEHOLDER else argument for argument in arguments]
    trial = with_stage[: with_stage.index("--seccomp")]
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            [*starter, *trial, "--", "/usr/bin/true"], env={}, capture_output=True, timeout=_PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SandboxUnavailable(f"bubblewrap did not start within {_PROBE_SECONDS} s") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-300:]
        raise SandboxUnavailable(f"this machine cannot hold the sandbox: {said or 'no reason given'}. {advice()}")
