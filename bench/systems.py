"""A whole local system for benches: `cloister up` in a folder of its own, its processes, and clients of it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from measured import started

from cloister.cli.state_folder import StateFolder
from cloister.cli.system_record import SystemRecord, read_record
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay
from cloister.client.session import Session
from cloister.client.trust_policy_file import read_trust_policy

START_SECONDS = 420.0  # with other work beside it, and a gigabyte of an engine to stage


@dataclass(frozen=True, slots=True)
class Running:
    """A system that is up."""

    state: StateFolder

    @property
    def record(self) -> SystemRecord:
        record = read_record(self.state)
        if record is None:
            raise SystemExit("the system has ended")
        return record

    def pid(self, role: str) -> int:
        """Its process now; 0 while it is down."""
        found = next(one.process for one in self.record.roles if one.name == role)
        return 0 if found is None else found.pid

    def session(self, name: str) -> Session:
        """A client of the system, with a memory of its own."""
        policy = read_trust_policy(self.state.trust_policy)
        memory = MemoryFile(self.state.root / f"memory-{name}", genesis=policy.constitution)
        return Session(policy, memory, Relay(self.record.relay_url))

    def restarts(self) -> int:
        """How often a service was started again."""
        return sum(role.restarts for role in self.record.roles)

    def logs(self) -> str:
        """The end of what the services said."""
        return "\n".join(f"{role.name}: {Path(role.log).read_text()[-2000:]}" for role in self.record.roles)


@contextlib.contextmanager
def system(engine: str, settings: str = "", *, model: Path | None = None) -> Iterator[Running]:
    """A system with this engine and these lines of `settings.toml`, ready; ended with the context.

    `model` is a sealed one that it serves, with its key beside it.
    """
    with tempfile.TemporaryDirectory(prefix="cloister-bench-") as folder:
        state = StateFolder(Path(folder) / "state")
        state.root.mkdir(mode=0o700)
        state.settings.write_text(settings)
        said = Path(folder) / "said"
        served = ["up"] if model is None else ["serve", str(model), "--model-key", f"{model}.key"]
        command = [sys.executable, "-m", "cloister", *served, "--state", str(state.root), "--engine", engine]
        with said.open("wb") as out, started(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL) as process:
            end = time.monotonic() + START_SECONDS
            while (record := read_record(state)) is None or record.phase != "ready":
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"the system did not come up:\n{said.read_text()}")
                time.sleep(0.1)
            yield Running(state)


def children(pid: int) -> list[int]:
    """The processes that `pid` started and that run."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def descendants(pid: int) -> list[int]:
    """They, and all that they started, the last ones last."""
    found = children(pid)
    return found + [one for child in found for one in descendants(child)]


def warm_engine(gateway: int) -> int:
    """The process of a gateway's engine that loaded the model and forks for each request; 0 while there is none.

    The sandbox has a process namespace of its own, whose first process is the launcher's: its only child is the engine.
    """
    for pid in descendants(gateway):
        if namespace_ids(pid)[1:] == [1]:
            return next(iter(children(pid)), 0)
    return 0


def namespace_ids(pid: int) -> list[int]:
    """A process's ids, in our namespace and in those below it; none if it ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(one) for one in status.split("NSpid:")[1].splitlines()[0].split()]


def resident_mib(pid: int) -> float:
    """The memory that a process has resident, in MiB; 0 if it ended.

    Without memory that it shares by a descriptor: that is a gateway's replay table and counts, of a fixed size, whose
    pages become resident one by one as requests fall on them.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    kib = {line.split()[0]: int(line.split()[1]) for line in status.splitlines() if line.startswith(("VmRSS", "RssSh"))}
    return (kib["VmRSS:"] - kib["RssShmem:"]) / 1024 if kib else 0.0
