"""Starts services as processes, waits until they serve, starts again what ends, and ends them all.

Every service is a process group of its own, so that a ctrl-C at the terminal reaches the supervisor alone. Each dies
with the supervisor, however that dies: the kernel sees to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloister.cli.local.orphans import adopt_orphans, children, end_orphans
from cloister.errors import CloisterError, Unavailable
from cloister.hosting.last_words import last_words
from cloister.hosting.processes import ProcessName, name_of
from cloister.hosting.readiness import NO_ANSWER, lacking
from cloister.hosting.restarts import backoff_seconds, failures_after
from cloister.services.gateway.task_assets import OF_PARTIES

START_SECONDS = 180.0  # a role that ends is told of at once; this is for machines that have other work
PATIENT_SECONDS = 10.0  # then it is said what a service lacks
STOP_SECONDS = 3.2  # then what still runs is killed, so that all has ended in five
_POLL_SECONDS = 0.05
_PARTY_SECONDS = 1.0  # between looks at what waits for people
_MAXIMUM_LOG = 8 * 1024 * 1024  # bytes; a larger one is put aside at the next start

Say = Callable[[str], None]


class RoleFailed(CloisterError):
    """A service did not start; the sentence ends with its own last words."""

    exit_code = 1


class RoleSlow(Unavailable):
    """A service did not become ready in its time."""


@dataclass(slots=True)
class Role:
    """One service: how it is started, and the process that it is now."""

    name: str
    command: Sequence[str]
    port: int
    log: Path
    announces: Path  # it writes its port there when it serves
    health_port: int | None  # where it has the route /ready; `None` if nowhere
    start_seconds: float = START_SECONDS  # that it may take to be ready
    restarts: int = 0
    process: asyncio.subprocess.Process | None = None
    named: ProcessName | None = None
    started_at: float = 0.0
    log_start: int = 0
    ready: bool = False
    missing: str = NO_ANSWER  # before it can serve, in its own words; empty when it is ready


@dataclass(slots=True)
class Supervisor:
    """The services of one system.

    Args:
        environment: all that a service gets of it.
        say: told in a sentence what happens.
        changed: called after every change of `roles`.
    """

    environment: Mapping[str, str]
    say: Say
    changed: Callable[[], None]
    roles: list[Role] = field(default_factory=list)
    _keepers: list[asyncio.Task[None]] = field(default_factory=list)
    _others: frozenset[int] = frozenset()  # children that this process had before: not ours to end
    _spawning: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def start(self, roles: Sequence[Role]) -> None:
        """Start `roles` and wait until all are ready; from then on they are kept running.

        Raises:
            RoleFailed, RoleSlow: one did not come up. Call `stop` then, too.
        """
        if not self.roles:
            adopt_orphans(True)
            self._others = frozenset(children())
        self.roles += roles
        for role in roles:
            await self._spawn(role)
        for role in roles:
            await self._until_ready(role)
            if role.ready:
                self.say(f"  {role.name:<8} ready")
            else:
                self.say(f"  {role.name:<8} waits: {role.missing}")
        waiting = [self._tell_when_ready(role) for role in roles if not role.ready]
        self._keepers += [asyncio.create_task(task) for task in (*waiting, *map(self._keep, roles))]

    async def stop(self) -> None:
        """End all, in under five seconds."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        alive = [role.process for role in self.roles if role.process is not None and _runs(role)]
        for process in alive:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        waits = [asyncio.create_task(process.wait()) for process in alive]
        if waits:
            await asyncio.wait(waits, timeout=STOP_SECONDS)
        for process in alive:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await asyncio.gather(*waits)
        await self._end_orphans()
        adopt_orphans(False)

    async def _keep(self, role: Role) -> None:
        """Start `role` again each time it ends, later each time it ends soon."""
        failures = 0
        while role.process is not None:
            code = await role.process.wait()
            failures = failures_after(failures, lived_seconds=time.monotonic() - role.started_at)
            wait = backoff_seconds(failures)
            self.say(f"{role.name} ended ({_how(code, role)}); starting it again in {wait:g} s")
            await self._end_orphans()
            role.named, role.ready = None, False
            self.changed()
            await asyncio.sleep(wait)
            role.restarts += 1
            await self._spawn(role)
            try:
                await self._until_ready(role)
            except RoleFailed:
                continue  # told of above, when its end is collected
            except RoleSlow as error:
                self.say(str(error))
            else:
                self.say(f"{role.name} is ready again" if role.ready else f"{role.name} waits: {role.missing}")

    async def _spawn(self, role: Role) -> None:
        role.announces.unlink(missing_ok=True)
        if role.log.exists() and role.log.stat().st_size > _MAXIMUM_LOG:
            role.log.replace(role.log.with_suffix(".log.1"))
        with role.log.open("ab") as log:
            role.log_start = log.tell()
            async with self._spawning:
                role.process = await asyncio.create_subprocess_exec(
                    *_dies_with_parent(),
                    *role.command,
                    env=dict(self.environment),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    process_group=0,
                )
        role.started_at, role.ready, role.missing = time.monotonic(), False, NO_ANSWER
        role.named = name_of(role.process.pid)
        self.changed()

    async def _until_ready(self, role: Role) -> None:
        """Wait until `role` serves, or waits for what its contract's parties have yet to give it.

        Raises:
            RoleFailed: it ended.
            RoleSlow: it does not in time.
        """
        told = ""
        while time.monotonic() < role.started_at + role.start_seconds:
            if role.process is None or role.process.returncode is not None:
                code = None if role.process is None else role.process.returncode
                raise RoleFailed(f"{role.name} did not start ({_how(code, role)}); its log: {role.log}")
            if role.announces.exists():
                role.missing = "" if role.health_port is None else await lacking(role.health_port)
                if not role.missing:
                    role.ready = True
                    self.changed()
                    return
                if OF_PARTIES in role.missing:
                    self.changed()
                    return
            if role.missing != told and time.monotonic() > role.started_at + PATIENT_SECONDS:
                told = role.missing
                self.changed()
                self.say(f"{role.name} is not ready yet: {told}")
            await asyncio.sleep(_POLL_SECONDS)
        raise RoleSlow(f"{role.name} was not ready in {role.start_seconds:.0f} s ({role.missing}); its log: {role.log}")

    async def _tell_when_ready(self, role: Role) -> None:
        """Say it when the parties have given `role` what it waits for, however long that takes."""
        while role.health_port is not None and (missing := await lacking(role.health_port)):
            if missing not in (role.missing, NO_ANSWER):
                role.missing = missing
                self.changed()
                self.say(f"{role.name} is not ready yet: {missing}")
            await asyncio.sleep(_PARTY_SECONDS)
        role.missing, role.ready = "", True
        self.changed()
        self.say(f"{role.name} is ready")

    async def _end_orphans(self) -> None:
        """End what services that have ended left behind; no service is just being started meanwhile."""
        async with self._spawning:
            own = {role.process.pid for role in self.roles if role.process is not None and _runs(role)}
            end_orphans(own | self._others)


def _runs(role: Role) -> bool:
    return role.process is not None and role.process.returncode is None


def _dies_with_parent() -> tuple[str, ...]:
    """A start that has the kernel kill the service when its supervisor ends, however it ends."""
    path = shutil.which("setpriv", path="/usr/bin:/bin")
    if path is None:
        raise Unavailable("setpriv is missing; install it with: apt-get install util-linux")
    return (path, "--pdeathsig", "KILL", "--")


def _how(code: int | None, role: Role) -> str:
    """How a process ended, and its last words."""
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return last_words(role.log, since=role.log_start) or f"exit code {code}"
