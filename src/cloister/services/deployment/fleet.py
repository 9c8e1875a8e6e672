"""The processes of this machine's nodes: started, watched, started again when they die, drained, found again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from cloister.client.durable import replace_file
from cloister.errors import CloisterError, Unavailable
from cloister.formats.node_manifest import MEASURED, Node
from cloister.hosting.loopback import LOOPBACK
from cloister.hosting.processes import ProcessName
from cloister.hosting.readiness import NO_ANSWER
from cloister.hosting.restarts import backoff_seconds, failures_after
from cloister.hosting.tls import PeerTls
from cloister.services.deployment.node_health import lacking, measured
from cloister.services.deployment.node_process import NodeProcess, find
from cloister.services.deployment.node_settings import health_url, rendered
from cloister.services.deployment.plan import Present
from cloister.services.places import command_of
from cloister.storage.deployment_store import DeploymentStore, KeptProcess

LOOK_SECONDS = 2.0  # between looks at how a process is
START_LOOK_SECONDS = 0.1  # while it starts
END_SECONDS = 5.0  # beside the time for requests in flight; then it is cut off
KILLED_SECONDS = 5.0

Say = Callable[[str], None]


class NotReady(Unavailable):
    """A process that was started did not become ready; the sentence says why not."""


@dataclass(slots=True, eq=False)
class Member:
    """One process of a node, or the place of one that is down."""

    node: Node  # as it was when this was started
    port: int
    revision: int  # that it was started for
    url: str  # where it tells how it is
    process: NodeProcess | None = None
    restarts: int = 0
    missing: str = NO_ANSWER  # empty when it is ready
    since: int = 0
    measured: bytes = b""  # what it said that it measured; empty before it said so
    leaving: bool = False  # it was told to end, or is about to be
    keeper: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """NODE/PORT."""
        return f"{self.node.name}/{self.port}"

    @property
    def other(self) -> str:
        """What is wrong with the workload that it measured, which waiting does not change; empty where nothing is."""
        wanted = self.node.workload
        if not wanted or not self.measured or self.measured == wanted:
            return ""
        return f"it measured the workload {self.measured.hex()}, and the manifest expects {wanted.hex()}"

    def present(self) -> Present:
        """As the plan has it."""
        leaving = self.leaving or self.keeper is None  # one whose start was broken off is started anew
        return Present(self.node.name, self.port, self.node.health_port(self.port), self.node.spec(), leaving)


@dataclass(slots=True)
class Fleet:
    """All of them, by name.

    Args:
        folder: its folders `run` and `logs` hold what the processes read and say; absolute.
        store: remembers them.
        peers: how nodes that speak TLS are known, and what is shown to them.
        clock: seconds since 1970.
        say: told in a sentence what happens.
    """

    folder: Path
    store: DeploymentStore
    peers: PeerTls | None
    clock: Callable[[], int]
    say: Say
    members: dict[str, Member] = field(default_factory=dict)

    async def adopt(self, kept: KeptProcess) -> bool:
        """Whether the process that was started before still runs; it is watched from now on."""
        member = Member(kept.node, kept.port, kept.revision, self._url(kept.node, kept.port), restarts=kept.restarts)
        process = None
        if kept.process is not None:
            pid, started, boot = kept.process
            process = NodeProcess.found(ProcessName(pid=pid, started=started, boot=boot), log=self._log(member))
        if process is None and (named := find(self._config(member))) is not None:
            process = NodeProcess.found(named, log=self._log(member))  # its start was not written down any more
        if process is None:
            await self.store.forget(kept.name)
            return False
        member.process, member.since = process, self.clock()
        member.leaving = self._announces(member).exists() and process.was_told()
        self.members[member.name] = member
        await self._keep_in_store(member)
        self.keep(member)
        return True

    async def start(self, node: Node, port: int, *, revision: int, keep: bool) -> Member:
        """Start a process; unless `keep` is set, it is not started again when it ends before `keep` is called.

        Raises:
            Unavailable: this machine cannot start it now.
        """
        member = Member(node, port, revision, self._url(node, port), since=self.clock())
        self.members[member.name] = member
        try:
            await self._spawn(member)
        finally:
            if keep:
                self.keep(member)
        return member

    def named(self, node: str) -> list[Member]:
        """The processes of a node, those that are to be replaced too."""
        return [member for member in self.members.values() if member.node.name == node]

    def of(self, node: Node) -> list[Member]:
        """The processes that are as `node` says now."""
        return [member for member in self.members.values() if member.node.spec() == node.spec()]

    async def until_ready(self, member: Member, *, seconds: float) -> None:
        """Wait until the process can serve.

        Raises:
            NotReady: it ended, measured something else than it should, or cannot in time.
        """
        deadline = monotonic() + seconds
        while True:
            process = member.process
            if process is None or process.ended.is_set():
                raise NotReady(f"{member.name} did not start: {process.how() if process else member.missing}")
            await self._look(member)
            if not member.missing:
                return
            if member.other:
                raise NotReady(f"{member.name} is not what it should be: {member.other}")
            if monotonic() > deadline:
                raise NotReady(f"{member.name} was not ready in {seconds:g} s: {member.missing}")
            await process.wait(START_LOOK_SECONDS)

    def keep(self, member: Member) -> None:
        """Start it again from now on each time it ends by itself."""
        if member.keeper is None:
            member.keeper = asyncio.create_task(self._keep(member))

    async def end(self, member: Member) -> None:
        """Drain a process and forget it: it takes nothing new, has its time for what it has, and is then cut off."""
        member.leaving, process = True, member.process
        if process is not None:
            if not (self._announces(member).exists() and process.was_told()):
                process.tell_to_end()
            if not await process.wait(member.node.drain_seconds + END_SECONDS):
                self.say(f"{member.name} did not end within its {member.node.drain_seconds} s, and is cut off")
                process.kill()
                await process.wait(KILLED_SECONDS)
        if member.keeper is not None:
            member.keeper.cancel()
            await asyncio.gather(member.keeper, return_exceptions=True)
        if member.process is not None and member.process is not process:  # the keeper was just starting it again
            member.process.kill()
            await member.process.wait(KILLED_SECONDS)
        with contextlib.suppress(Unavailable, OSError):  # no room: the next start finds that it runs no more
            await self.store.forget(member.name)
            for path in (self._config(member), self._announces(member)):
                path.unlink(missing_ok=True)
        del self.members[member.name]

    async def leave(self) -> None:
        """Watch them no longer; they go on."""
        keepers = [member.keeper for member in self.members.values() if member.keeper is not None]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        for member in self.members.values():
            if member.process is not None:
                member.process.leave()

    async def _keep(self, member: Member) -> None:
        failures, began = 0, monotonic()
        while True:
            if member.process is not None:
                await self._look(member)
                while not await member.process.wait(LOOK_SECONDS):
                    await self._look(member)
            if member.leaving:
                return
            how = member.missing if member.process is None else member.process.how()
            failures = failures_after(failures, lived_seconds=monotonic() - began)
            wait = backoff_seconds(failures)
            self._stands(member, f"it ended: {how}")
            member.process = None
            self.say(f"{member.name} ended ({how}); it is started again in {wait:g} s")
            await asyncio.sleep(wait)
            member.restarts, began = member.restarts + 1, monotonic()
            try:
                await self._spawn(member)
            except CloisterError as error:
                member.missing = str(error)

    async def _spawn(self, member: Member) -> None:
        announces = self._announces(member)
        try:
            announces.unlink(missing_ok=True)
            replace_file(self._config(member), rendered(member.node, member.port, ready=announces))
        except OSError as error:
            raise Unavailable(f"{error.filename} cannot be written: {error.strerror}") from error
        member.process, member.measured = None, b""
        await self._keep_in_store(member)  # before it runs: who is killed in between finds it by its settings file
        command = command_of(member.node.role, "--config", str(self._config(member)))
        member.process = NodeProcess.start(command, log=self._log(member))
        await self._keep_in_store(member)

    async def _keep_in_store(self, member: Member) -> None:
        named = None if member.process is None else member.process.named
        process = None if named is None else (named.pid, named.started, named.boot)
        await self.store.keep(KeptProcess(member.node, member.port, member.revision, member.restarts, process))

    async def _look(self, member: Member) -> None:
        announced = self._announces(member).exists()
        missing = await lacking(member.url, self.peers) if announced else NO_ANSWER
        if announced and member.node.role in MEASURED and not member.measured:
            member.measured = await measured(member.url, self.peers)
            if member.node.workload and not member.measured:
                missing = missing or "it does not say what it measured"
        self._stands(member, member.other or missing)

    def _stands(self, member: Member, missing: str) -> None:
        if (not missing) != (not member.missing):
            member.since = self.clock()
            if not missing and member.restarts:
                self.say(f"{member.name} is ready again")
        member.missing = missing

    @staticmethod
    def _url(node: Node, port: int) -> str:
        try:
            return health_url(node, port)
        except CloisterError:  # settings that another version took
            return f"http://{LOOPBACK}:{port}"

    def _config(self, member: Member) -> Path:
        return self.folder / "run" / f"{member.node.name}-{member.port}.toml"

    def _announces(self, member: Member) -> Path:
        return self.folder / "run" / f"{member.node.name}-{member.port}.ready"

    def _log(self, member: Member) -> Path:
        return self.folder / "logs" / f"{member.node.name}-{member.port}.log"
