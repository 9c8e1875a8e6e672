"""An installation of this tree's code that a test may change, and local systems that run from it."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import msgspec
from tests.doubles.command_line import SOURCE, Ran
from tests.doubles.users_environment import link_libraries, make_environment

from cloister.cli.system_record import SystemRecord
from cloister.hosting.processes import name_of, wait_for_end

READY_SECONDS = 240  # beside another system that starts, with torch among what is measured
SERVED_SECONDS = 300  # an engine of a gigabyte is staged, where it was not before


class Installation:
    """A virtual environment with a copy of this tree's code, over the libraries of the running one."""

    def __init__(self, folder, *, interpreter=sys.executable, user=None, own=()):
        """`user` is the numeric id to run as, if not our own; the packages `own` are copied, too."""
        self.folder = folder
        self.user = user
        source = folder / "source"
        shutil.copytree(SOURCE / "cloister", source / "cloister", ignore=shutil.ignore_patterns("__pycache__"))
        libraries = link_libraries(folder / "libraries", copied=own)
        make_environment(folder / "venv", source, libraries, interpreter=interpreter)
        self.python = folder / "venv" / "bin" / "python"

    def module(self, name):
        """The file of a module of ours."""
        return self.folder / "source" / "cloister" / name

    async def run(self, *arguments, seconds=READY_SECONDS):
        """Run `cloister` to its end."""
        process = await self.start(*arguments, out=asyncio.subprocess.PIPE)
        async with asyncio.timeout(seconds):
            out, err = await process.communicate()
        return Ran(process.returncode, out.decode(), err.decode())

    async def start(self, *arguments, out):
        """Start `cloister`."""
        return await asyncio.create_subprocess_exec(
            str(self.python),
            *("-I", "-m", "cloister", *map(str, arguments)),
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "NO_COLOR": "1", "LANG": "C.UTF-8"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )


class LocalSystem:
    """A `cloister up` in the foreground."""

    def __init__(self, installation, state, process, said):
        self.installation = installation
        self.state = state
        self.process = process
        self._said = said

    @property
    def said(self):
        """Everything that it printed."""
        return self._said.read_text()

    @property
    def record(self):
        return msgspec.json.decode((self.state / "run" / "system.json").read_bytes(), type=SystemRecord)

    @property
    def headers(self):
        return {"Authorization": f"Bearer {(self.state / 'token').read_text().strip()}"}

    def role(self, name):
        return next(role for role in self.record.roles if role.name == name)

    def processes(self):
        """The names of all processes of the system."""
        found, queue = [], [self.process.pid]
        parents = parents_of_all()
        while queue:
            parent = queue.pop()
            found.append(name_of(parent))
            queue += [pid for pid, its in parents.items() if its == parent]
        return [name for name in found if name is not None]

    def engine(self):
        """The process ids of what runs in the sandbox."""
        pids = {name.pid for name in self.processes()}
        return {pid for pid in pids if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"/app/")}

    def outside_the_engine(self):
        """Every process of the system but the engine's, by what it is."""
        inside, roles = self.engine(), {role.process.pid: role.name for role in self.record.roles}
        assert inside
        outside = {name.pid for name in self.processes()} - inside
        return {pid: roles.get(pid, "supervisor or sandbox") for pid in outside}

    async def says(self, sentence, seconds=READY_SECONDS):
        """Wait until it has said `sentence`."""
        async with asyncio.timeout(seconds):
            while sentence not in self.said:
                assert self.process.returncode is None, self.said + self.logged()
                await asyncio.sleep(0.05)

    def logged(self):
        """What its services said last."""
        logs = sorted((self.state / "logs").glob("*.log"))
        return "".join(f"\n--- {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in logs)

    async def cloister(self, *arguments):
        """Run a command against this system."""
        return await self.installation.run(*arguments, "--state", self.state)

    async def stop(self, number=signal.SIGTERM):
        """End it; how long that took, and what still runs."""
        before, started = self.processes(), time.monotonic()
        if self.process.returncode is None:
            self.process.send_signal(number)
        await self.process.wait()
        seconds = time.monotonic() - started
        return seconds, wait_for_end(before, seconds=1)


@contextlib.asynccontextmanager
async def local_system(installation, state, *arguments, command=("up",)):
    """A system that is ready; ended whatever becomes of the test. `command` may be `serve` with its artifact."""
    said = state.with_name(f"{state.name}.said")
    with said.open("wb") as out:
        process = await installation.start(*command, "--state", state, *arguments, out=out)
    system = LocalSystem(installation, state, process, said)
    try:
        await system.says("ready in", SERVED_SECONDS if command[0] == "serve" else READY_SECONDS)
        yield system
    finally:
        _, left = await system.stop()
        for name in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(name.pid, signal.SIGKILL)
    assert left == []


def parents_of_all():
    """Every process's parent."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    return parents
