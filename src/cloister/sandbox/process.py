"""One sandboxed engine as a process: started with exactly its descriptors, confined before it is trusted to run, ended.

The engine dies with the thread that started it (bubblewrap's --die-with-parent), so this belongs on the main thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import io
import json
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloister.contract.sections import NO_SECTIONS, VerifiedSections
from cloister.engines.ended import words_of
from cloister.sandbox import cgroup
from cloister.sandbox import place as places
from cloister.sandbox.closure import PACKAGES, StagedEngine
from cloister.sandbox.errors import SandboxUnavailable
from cloister.sandbox.model import ModelSource, fill, fitting
from cloister.sandbox.place import Place
from cloister.sandbox.plan import ENV, SHELL, Plan
from cloister.sandbox.profile import FILTER_FD
from cloister.sandbox.second_stage import BACKLOG, CONFINED, LISTENER_FD, OUT_OF_MEMORY, SOCKET, UNUSABLE

_START_SECONDS = 10
_ENDING_SECONDS = 1
_REMOVAL_TRIES = 500


@dataclass(slots=True, eq=False)
class RunningEngine:
    """A confined engine. `ended` is set when it is no more; `reason` then says why."""

    pid: int
    place: Place
    folder_fd: int
    group: cgroup.Cgroup
    memory_bytes: int
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    reason: str = ""
    served: int = 0
    proven: bool = False  # it did its work on its known sample: from now on it may have read clients' words

    @property
    def folder(self) -> Path:
        """Where its socket is."""
        return self.place.sockets

    @property
    def address(self) -> str:
        """Its socket's path, for this process only: by descriptor, since a unix socket's path has 107 bytes at most."""
        return address_in(self.folder_fd)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to it; it is taken up once the engine is ready."""
        return await asyncio.open_unix_connection(self.address)

    def kill(self, reason: str) -> None:
        """End it now, with all that runs in it; `ended` follows."""
        if not self.ended.is_set():
            self.reason = self.reason or reason
            os.kill(self.pid, signal.SIGKILL)

    async def end(self, reason: str) -> None:
        """Wait for it to end by itself, if it has begun to; otherwise end it, for `reason`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), _ENDING_SECONDS)
        self.kill(reason)
        await self.ended.wait()

    async def stop(self) -> None:
        """End it, and remove what is left of it."""
        self.kill("it was stopped")
        await self.ended.wait()
        for _ in range(_REMOVAL_TRIES):  # the kernel ends what was in the namespace after the one that we waited for
            self.group.kill()  # and where there is no namespace, whatever it left
            if self.group.remove():
                break
            await asyncio.sleep(0.01)
        if self.folder_fd >= 0:
            os.close(self.folder_fd)
            self.folder_fd = -1
            self.place.remove()


def address_in(folder: int) -> str:
    """The path of the socket in an engine's folder, for this process only."""
    return f"/proc/self/fd/{folder}/{SOCKET}"


async def start(
    plan: Plan,
    staged: StagedEngine,
    run_folder: Path,
    given: VerifiedSections = NO_SECTIONS,
    model: ModelSource | None = None,
) -> RunningEngine:
    """Start `staged` as `plan` says; returns when it is confined, its model in place, and its program still loading.

    Args:
        plan: from `plan.plan()`.
        staged: from `closure.stage()`, in a folder that the sandbox's user can traverse.
        run_folder: exists, ours alone; the socket's folder is made in it.
        given: what the task's sections hold. It goes from memory to memory: into no argument, environment or file that
            anybody else could see.
        model: what is opened into the engine's memory before its program begins.

    Raises:
        SandboxUnavailable: it could not be confined, or has no room for its model; nothing is left running.
        CloisterError: as the model's `open_into`; nothing is left running.
    """
    files = () if model is None else fitting(model, plan.profile.limits.model_bytes)
    channel, their_end = socket.socketpair()
    with channel:
        with their_end:
            engine, report = _launch(plan, staged, run_folder, _encoded(given, files), their_end if files else None)
        _watch(engine)
        try:
            with report:
                if model is not None and files:
                    with contextlib.suppress(ConnectionError, TimeoutError):  # it has ended, and its report says why
                        await fill(channel, model, files, streamed=plan.profile.streamed)
                await _confined(engine, report)
        except BaseException:
            await engine.stop()
            raise
    return engine


async def _confined(engine: RunningEngine, report: io.FileIO) -> None:
    """Wait until it says that it is confined.

    Raises:
        SandboxUnavailable: it says something else, or nothing.
    """
    said = await _report(report)
    if not said.endswith(f"{CONFINED}\n"):
        await engine.end("it did not confine itself in time")
        raise SandboxUnavailable(f"the engine could not be confined: {said.strip()[-300:] or engine.reason}")


def _launch(
    plan: Plan, staged: StagedEngine, run_folder: Path, handed: bytes, model: socket.socket | None
) -> tuple[RunningEngine, io.FileIO]:
    """The engine's first process, and what it says until it is confined."""
    profile = plan.profile
    place = places.make(profile, run_folder, staged.folder.parent)
    folder_fd = os.open(place.sockets, os.O_PATH | os.O_DIRECTORY)
    group = cgroup.make(plan.parents, profile.limits, beside=profile.beside)
    report, report_end = os.pipe2(os.O_CLOEXEC)
    with contextlib.ExitStack() as stack:
        descriptors = {2: report_end, profile.given_fd: stack.enter_context(_memory(handed))}
        if profile.tool == "bwrap":
            descriptors[FILTER_FD] = stack.enter_context(_memory(profile.outer_filter))
        if profile.tool != "gvisor":
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address_in(folder_fd))
            listener.listen(BACKLOG)
            descriptors[LISTENER_FD] = listener.fileno()
        if model is not None:
            descriptors[profile.model_fd] = model.fileno()
        pid = _spawn(_command(plan, staged, place, group), descriptors)
    os.close(report_end)
    engine = RunningEngine(pid, place, folder_fd, group, profile.limits.memory_bytes)
    return engine, io.FileIO(report, "rb")


def _command(plan: Plan, staged: StagedEngine, place: Place, group: cgroup.Cgroup) -> tuple[str, ...]:
    told = plan.profile.told() | {"packages": f"{plan.profile.app}/{PACKAGES}"}
    program = staged.command(json.dumps(told), app=plan.profile.app)
    filled = tuple(place.filled(argument, staged.folder) for argument in program)
    command = plan.command(staged.folder, place, filled)
    if not group.entries:
        return command
    # It enters its group before anything of it runs: a process moved later leaves behind what it has started.
    enter = "".join(f'echo $$ >"${n}" && ' for n in range(1, len(group.entries) + 1))
    script = f'{enter} shift {len(group.entries)} && exec {ENV} -i "$@"'
    return (SHELL, "-c", script, "sh", *map(str, group.entries), *command)


@contextlib.contextmanager
def _memory(content: bytes) -> Iterator[int]:
    """A file without a name, in memory, that holds `content`: its descriptor, which is closed with the context."""
    descriptor = os.memfd_create("cloister")
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _encoded(given: VerifiedSections, model: Sequence[tuple[str, int]]) -> bytes:
    """What the second stage takes; nothing where nothing was given."""
    if given == NO_SECTIONS and not model:
        return b""
    variables = {name: value.reveal().decode() for name, value in given.variables.items()}
    files = {path: content.reveal().hex() for path, content in given.files.items()}
    return json.dumps({"variables": variables, "files": files, "model": model}).encode()


def _spawn(command: tuple[str, ...], descriptors: Mapping[int, int]) -> int:
    """Start `command` with `descriptors`, each under the number that it is to have, and nothing else of ours."""
    _keep_inherited()
    # Out of the way of the numbers they are put on.
    high = {number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for number, fd in descriptors.items()}
    try:
        return os.posix_spawn(
            command[0],
            command,
            {},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
                *((os.POSIX_SPAWN_DUP2, fd, number) for number, fd in high.items()),
            ],
            setsid=True,  # a terminal's interrupt is for the supervisor, and no engine's to read
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD],
            setsigmask=[],
        )
    finally:
        for fd in high.values():
            os.close(fd)


def _keep_inherited() -> None:
    """What this process was itself started with, as by a shell, is no engine's."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - a number each
        with contextlib.suppress(OSError):
            os.set_inheritable(int(name), int(name) <= 2)


def _watch(engine: RunningEngine) -> None:
    """Note the engine's end when it comes."""
    loop = asyncio.get_running_loop()
    handle = os.pidfd_open(engine.pid)

    def note() -> None:
        loop.remove_reader(handle)
        os.close(handle)
        _, status = os.waitpid(engine.pid, 0)
        engine.reason = engine.reason or _reason(engine, os.waitstatus_to_exitcode(status))
        engine.ended.set()

    loop.add_reader(handle, note)


def _reason(engine: RunningEngine, code: int) -> str:
    if code == OUT_OF_MEMORY or engine.group.killed_for_memory():
        return f"it exceeded its {engine.memory_bytes // 2**20} MiB of memory"
    if engine.proven:  # its status or signal could be chosen to say what it has read
        return "by itself, or by a signal"
    if code == UNUSABLE:
        return "it cannot use what its sections hold (docs/formats/section.md says what it reads)"
    if (words := words_of(code)) is not None:
        return words
    if code < 0 or code > 128:
        return f"it was ended by signal {-code if code < 0 else code - 128}"
    return f"it ended with status {code}"


async def _report(report: io.FileIO) -> str:
    """What is said on standard error until the second stage has confined itself, or until the end; 4 KiB at most."""
    said = b""
    try:
        async with asyncio.timeout(_START_SECONDS):
            while not said.endswith(f"{CONFINED}\n".encode()) and len(said) < 4096 and (more := await _read(report)):
                said += more
    except TimeoutError:
        said = said or f"nothing was heard within {_START_SECONDS} s".encode()
    return said.decode(errors="replace")


async def _read(pipe: io.FileIO) -> bytes:
    """What there is to read, once there is any; empty at the end.

    No transport: uvloop's would close the number of `pipe` once more in a later turn, when it may be another file's.
    """
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(pipe, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(pipe)
    return pipe.read(4096)
