"""Decides, on this machine, the profile an engine is held in, and proves that the machine can hold it.

The same machine, user and tool give the same profile each time, so that the digest a contract names is the one the
gateway finds. Where the kernel refuses, nothing starts. What confines less than namespaces do is used only where the
operator names it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from msgspec import structs

from cloister.formats.contract import TIERS, Tier
from cloister.sandbox import cgroup, landlock_only
from cloister.sandbox.closure import Engine
from cloister.sandbox.devices import Devices, found
from cloister.sandbox.errors import BelowFloor, SandboxUnavailable
from cloister.sandbox.place import Place
from cloister.sandbox.profile import (
    USER_PLACEHOLDER,
    Confinement,
    HeldBy,
    Landlock,
    Limits,
    SandboxProfile,
    Starter,
    Tool,
    User,
)
from cloister.sandbox.seccomp import architecture, inner_filter, outer_filter, request_filter
from cloister.sandbox.second_stage import MODEL, SECTIONS, landlock_abi
from cloister.sandbox.sizes import Sizes
from cloister.sandbox.trial import tried

Choice = Literal["auto", "bwrap", "gvisor", "landlock"]
AUTOMATIC: Final[tuple[Tool, ...]] = ("bwrap", "gvisor")  # in this order; Landlock alone is never chosen for anybody

_SEARCH = "/usr/bin:/bin:/usr/local/bin"
SHELL, ENV = "/bin/sh", "/usr/bin/env"  # they put the engine into its control group
_NO_LANDLOCK = Landlock(abi=0, read=(), write=())  # gVisor's kernel has none


@dataclass(frozen=True, slots=True)
class Plan:
    """A profile this machine can hold, and the local paths that are not part of it."""

    profile: SandboxProfile
    starter: tuple[str, ...]  # drops to the sandbox's user, and becomes what confines
    parents: cgroup.Parents

    def command(self, stage: Path, place: Place, program: tuple[str, ...]) -> tuple[str, ...]:
        """The whole command line for `program` with the closure in `stage`; gVisor's bundle is written for it."""
        filled = tuple(place.filled(argument, stage) for argument in self.profile.arguments)
        starter = tuple(place.filled(argument, stage) for argument in self.starter)
        if self.profile.tool != "gvisor":
            return (*starter, *filled, *program)
        place.write_configuration(self.profile.configuration, stage, program)
        return (*starter, *filled)


def plan(
    sizes: Sizes | None = None,
    *,
    confinement: Confinement = "worker",
    devices: Devices = "none",
    tool: Choice = "auto",
    floor: Tier = TIERS[0],
    search: str = _SEARCH,
) -> Plan:
    """The profile for this machine and user; about 50 ms, most of it a trial start (gVisor: 300 ms).

    Args:
        sizes: what the engine may use, as it says itself (`Engine.sizes`), and its model's (`Sizes.holding`).
        confinement: what its program may do (`Engine.confinement`).
        devices: which of the machine's it is given, by bubblewrap alone.
        tool: what is to confine it; `auto` is the first of `AUTOMATIC` that can be had and reaches the floor.
        floor: the tier that its contract wants at least.
        search: where the programs that start it are looked for.

    Raises:
        BelowFloor: what can be had here denies less than the contract wants.
        SandboxUnavailable: a program is missing, the architecture unknown, or the kernel refuses; with what to do.
    """
    refusals = []
    for one in AUTOMATIC if tool == "auto" else (tool,):
        try:
            planned = _planned(one, sizes or Sizes(), confinement, found(devices), search)
            require_floor(planned.profile, floor)
        except SandboxUnavailable as error:
            refusals.append(error)
        else:
            return planned
    raise refusals[0]


def plan_for(
    engine: Engine,
    model: Iterable[tuple[str, int]] = (),
    *,
    devices: Devices = "none",
    tool: Choice = "auto",
    floor: Tier = TIERS[0],
) -> Plan:
    """The profile for `engine` and a model with these files, each with its size in bytes; as `plan`."""
    sizes, confinement = engine.sizes.holding(model), engine.confinement
    return plan(sizes, confinement=confinement, devices=devices, tool=tool, floor=floor)


def require_floor(profile: SandboxProfile, floor: Tier) -> None:
    """Hold a profile against the tier that a contract wants.

    Raises:
        BelowFloor: it is of a lower one.
    """
    if TIERS.index(profile.tier) < TIERS.index(floor):
        raise BelowFloor(
            f"{profile.tool} is of the tier {profile.tier} on this machine, and the contract wants {floor} at least:"
            " choose another with the setting `sandbox`, or a machine that can (docs/sandbox.md)"
        )


def _planned(tool: Tool, sizes: Sizes, confinement: Confinement, devices: tuple[str, ...], search: str) -> Plan:
    if devices and tool != "bwrap":
        raise SandboxUnavailable(f"devices are given to engines by bwrap alone, not by {tool}")
    if confinement != "worker" and tool == "landlock":
        raise SandboxUnavailable(
            f"Landlock alone holds no {confinement}: its unix sockets would be the machine's own. Run workers, or hold"
            " it with bwrap or gvisor"
        )
    where = architecture(platform.machine())
    parents = cgroup.find_parents()
    limits = _limits(sizes, parents.held_by)
    user: User = "dropped" if os.geteuid() == 0 else "own"
    starter = _starter(tool, user, search)
    arguments, configuration = tried(tool, starter, limits, dropped=user == "dropped", devices=devices)
    profile = SandboxProfile(
        tool=tool,
        confinement=confinement,
        devices=devices,
        user=user,
        starters=_measured(parents.held_by, starter),
        arguments=arguments,
        configuration=configuration,
        outer_filter=outer_filter(where, confinement) if tool == "bwrap" else b"",
        inner_filter=inner_filter(where, confinement),
        request_filter=request_filter(where) if confinement == "worker" else b"",
        landlock=structs.replace(_landlock(tool, confinement), use=devices),
        limits=limits,
    )
    return Plan(profile, starter, parents)


def _limits(sizes: Sizes, held_by: HeldBy) -> Limits:
    return Limits(
        held_by=held_by,
        memory_bytes=sizes.memory_bytes,
        tasks=sizes.tasks,
        open_files=sizes.open_files,
        file_bytes=sizes.scratch_bytes,
        scratch_bytes=sizes.scratch_bytes,
        model_bytes=sizes.model_bytes,
        request_seconds=sizes.request_seconds,
    )


def _landlock(tool: Tool, confinement: Confinement) -> Landlock:
    if tool == "gvisor":
        return _NO_LANDLOCK
    return landlock_only.rules(landlock_abi()) if tool == "landlock" else rules(landlock_abi(), confinement)


def rules(abi: int, confinement: Confinement) -> Landlock:
    """What an engine may do with files, by Landlock; a server's programs may look at themselves, and at the machine."""
    read = ("/app", "/usr", "/etc", "/dev/urandom", SECTIONS, MODEL)
    scratch, nowhere = "/tmp", "/dev/null"  # noqa: S108 - a mount
    if confinement == "worker":
        return Landlock(abi=abi, read=read, write=(scratch, nowhere))
    return Landlock(
        abi=abi,
        read=(*read, "/proc", "/dev/random", "/dev/zero"),
        write=(nowhere,),
        make=(scratch, "/dev/shm"),  # noqa: S108 - a mount
        execute=("/app", "/usr"),
        tcp=confinement == "loopback",
    )


def _starter(tool: Tool, user: User, search: str) -> tuple[str, ...]:
    package, program = {
        "bwrap": ("bubblewrap", "bwrap"),
        "gvisor": ("runsc", "runsc"),
        "landlock": ("coreutils", "env"),
    }[tool]
    last = _program(program, package, search)
    drop = ("--reuid", USER_PLACEHOLDER, "--regid", USER_PLACEHOLDER, "--clear-groups") if user == "dropped" else ()
    dies = ("--pdeathsig", "KILL") if tool != "bwrap" else ()  # with its launcher; bubblewrap sees to that itself
    if not drop and not dies:
        return (last,)
    return (_program("setpriv", "util-linux", search), *drop, "--no-new-privs", *dies, last)


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
