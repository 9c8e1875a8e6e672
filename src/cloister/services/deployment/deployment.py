"""A machine's deployment: takes revisions, rolls them out one process at a time, and goes back where one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from cloister.errors import CloisterError, Unavailable
from cloister.examination import Examination
from cloister.formats.deployment_state import SHOWN_REVISIONS, DeploymentState, NodeState, RevisionState
from cloister.formats.node_manifest import Node, NodeManifest
from cloister.services.deployment.examination import AcceptedManifest, Standing, examine_manifest
from cloister.services.deployment.fleet import Fleet, Member
from cloister.services.deployment.history import History, Said
from cloister.services.deployment.node_settings import require_allowed
from cloister.services.deployment.plan import End, Start, plan
from cloister.services.deployment.settings import DeploymentSettings

WRITE_AGAIN_SECONDS = 5.0
# Callers leave a port that took no connection alone for up to four seconds (hosting/breaker.py). Who is ready on one is
# found by all of them before the one whose place it takes is told to end.
FOUND_SECONDS = 5.0


@dataclass(slots=True)
class Deployment:
    """One machine's part of a deployment. `open` it within a running loop, and `leave` it there."""

    settings: DeploymentSettings
    fleet: Fleet
    history: History
    say: Said
    _task: asyncio.Task[None] | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    async def open(cls, settings: DeploymentSettings, fleet: Fleet, say: Said) -> Deployment:
        """Take up what the machine was at: find the processes that still run, go on with what was not done.

        Raises:
            CorruptStore: what was kept is not what was written.
        """
        store = fleet.store
        deployment = cls(settings, fleet, History.of(await store.revisions()), say)
        for kept in await store.processes():
            if await fleet.adopt(kept):
                say(f"{kept.name} still runs")
        deployment._task = asyncio.create_task(deployment._resume())
        return deployment

    @property
    def working(self) -> bool:
        """Whether something is being started or ended."""
        return self._task is not None and not self._task.done()

    async def take(self, revisions: Sequence[bytes]) -> int:
        """Keep signed revisions, and begin to roll out the last of them; its number.

        Raises:
            ManifestRefused: names the first step that one of them fails; none was taken.
            Unavailable: they cannot be written down.
        """
        async with self._turn:
            accepted = self.examine(revisions)
            await self._cancel()
            try:
                await self._halt(accepted[-1].manifest.number)
                await self._keep(accepted)
            finally:
                self._task = asyncio.create_task(self._resume())
        return accepted[-1].manifest.number

    def examine(self, revisions: Sequence[bytes]) -> list[AcceptedManifest]:
        """Hold revisions against what this machine has, each against those before it too; raises as `take`."""
        settings, accepted = self.settings, list[AcceptedManifest]()
        standing = Standing(
            settings.deployment,
            settings.machine,
            frozenset(map(bytes.fromhex, settings.operators)),
            frozenset(settings.roles),
            settings.first,
            self.history.taken,
        )
        for place, data in enumerate(revisions, start=1):
            one = self._examined(data, standing, starts=place == len(revisions)).require()
            accepted.append(one)
            standing = replace(standing, taken={**standing.taken, one.manifest.number: one.manifest})
        return accepted

    def state(self) -> DeploymentState:
        """All of it, for people and monitors."""
        numbers = sorted(self.history.kept)[-SHOWN_REVISIONS:]
        return DeploymentState(
            deployment=self.settings.deployment,
            machine=self.settings.machine,
            first=self.settings.first,
            working=self.working,
            revisions=tuple(map(self._revision_state, numbers)),
            nodes=tuple(_node_state(member) for _, member in sorted(self.fleet.members.items())),
            events=tuple(self.say.events),
        )

    async def leave(self) -> None:
        """Stop working and watching. The processes go on."""
        await self._cancel()
        await self.fleet.leave()

    def _examined(self, data: bytes, standing: Standing, *, starts: bool) -> Examination[AcceptedManifest]:
        def require(node: Node) -> None:
            require_allowed(node, self.settings.folders, own=self.settings.folder)

        return examine_manifest(data, standing, require_settings=require if starts else None)

    async def _keep(self, accepted: Sequence[AcceptedManifest]) -> None:
        """On disk first: what was answered is never forgotten."""
        numbered = [(one.manifest.number, one.signed.signed) for one in accepted]
        await self.fleet.store.take(numbered, at=self.say.clock())
        self.history.signed.update({one.manifest.number: one.signed for one in accepted})
        await self._stand()

    async def _halt(self, number: int) -> None:
        """A newer revision takes the place of one that is still being rolled out, from where that came to."""
        rolling = self.history.rolling
        if rolling is not None:
            said = f"revision {number} took its place before it was rolled out"
            await self.fleet.store.failed(rolling.number, said, at=self.say.clock())
            await self._stand()

    async def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _resume(self) -> None:
        """Go on where the last life of this API ended."""
        rolling = self.history.rolling
        if rolling is None:
            await self._become(self.history.in_force, strict=False)
        else:
            await self._roll_out(rolling)

    async def _roll_out(self, manifest: NodeManifest) -> None:
        before, number = self.history.in_force, manifest.number
        self.say(f"revision {number}: begins")
        try:
            await self._become(manifest, strict=True)
            await self._require_ready(self._own(manifest), () if before is None else self._own(before))
        except CloisterError as error:
            back = "nothing" if before is None else f"revision {before.number}"
            self.say(f"revision {number} failed, back to {back}: {error}")
            await self._written(partial(self.fleet.store.failed, number, str(error), at=self.say.clock()))
            await self._become(before, strict=False)
            self.say(f"revision {number} failed; {back} is in force")
            return
        await self._written(partial(self.fleet.store.in_force, number, at=self.say.clock()))
        self.say(f"revision {number} is in force")

    async def _written(self, write: Callable[[], Awaitable[None]]) -> None:
        """Have a standing on disk, however long there is no room for it: the next start goes by what is there."""
        while True:
            try:
                await write()
                return await self._stand()
            except Unavailable as error:
                self.say(f"{error}; it is tried again")
                await asyncio.sleep(WRITE_AGAIN_SECONDS)

    async def _become(self, manifest: NodeManifest | None, *, strict: bool) -> None:
        """Have what a manifest says, or nothing; where not `strict`, what does not come up is tried again and again.

        Raises:
            NotReady, Unavailable: `strict`, and a process did not come up; it was ended.
        """
        present = [member.present() for member in self.fleet.members.values()]
        for step in plan(present, () if manifest is None else self._own(manifest)):
            if isinstance(step, End):
                await self._end(step)
            elif manifest is not None:
                await self._start(step, revision=manifest.number, strict=strict)

    async def _end(self, step: End) -> None:
        self.say(f"{step.name}: told to end ({step.why})")
        await self.fleet.end(self.fleet.members[step.name])
        self.say(f"{step.name}: ended")

    async def _start(self, step: Start, *, revision: int, strict: bool) -> None:
        self.say(f"{step.name}: starts")
        try:
            member = await self.fleet.start(step.node, step.port, revision=revision, keep=not strict)
            await self.fleet.until_ready(member, seconds=step.node.ready_seconds)
        except CloisterError as error:
            found = self.fleet.members.get(step.name)
            if strict:
                if found is not None:
                    await self.fleet.end(found)
                raise
            self.say(f"{error}; it is tried again" if found else str(error))
        else:
            self.fleet.keep(member)
            self.say(f"{step.name}: ready")
            if len(self.fleet.named(step.node.name)) > step.node.replicas:
                await asyncio.sleep(FOUND_SECONDS)

    async def _require_ready(self, nodes: Sequence[Node], before: Sequence[Node]) -> None:
        """Wait for processes of new or changed nodes that were found running, and not started by `_become`.

        Raises:
            NotReady: one is not ready in its time.
        """
        known = {node.spec() for node in before}
        for node in nodes:
            for member in self.fleet.of(node) if node.spec() not in known else ():
                await self.fleet.until_ready(member, seconds=node.ready_seconds)

    def _own(self, manifest: NodeManifest) -> tuple[Node, ...]:
        return manifest.of(self.settings.machine)

    async def _stand(self) -> None:
        self.history.stands(await self.fleet.store.revisions())

    def _revision_state(self, number: int) -> RevisionState:
        kept, signed = self.history.kept[number], self.history.signed[number]
        return RevisionState(
            number=number,
            digest=signed.manifest.digest().hex(),
            signer=signed.signer.hex(),
            restores=signed.manifest.restores,
            standing=kept.standing,
            at=kept.at,
            said=kept.said[:4096],
        )


def _node_state(member: Member) -> NodeState:
    process = member.process
    lives = process is not None and not process.ended.is_set()
    return NodeState(
        name=member.name,
        node=member.node.name,
        role=member.node.role,
        port=member.port,
        health_port=member.node.health_port(member.port),
        spec=member.node.spec().hex(),
        workload=member.measured.hex(),
        revision=member.revision,
        pid=process.named.pid if process is not None and lives else None,
        phase="down" if not lives else "draining" if member.leaving else "not ready" if member.missing else "ready",
        missing=member.missing[:4096],
        since=member.since,
        restarts=member.restarts,
    )
