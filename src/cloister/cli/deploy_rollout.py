"""Makes the next revision, says what it will do, has each machine take it in turn, and watches."""

from __future__ import annotations

import asyncio
from time import monotonic

import msgspec

from cloister.cli.deploy_access import Machine, Machines, Wish
from cloister.cli.terminal import say, say_json
from cloister.errors import CloisterError, Unavailable
from cloister.formats.deployment_state import DeploymentState
from cloister.formats.node_manifest import Node, NodeManifest
from cloister.services.deployment.plan import End, Present, Step, plan
from cloister.services.deployment.signed_manifest import sign_node_manifest

LOOK_SECONDS = 0.2
SILENT_SECONDS = 30.0  # that a machine may not answer meanwhile, as when its API is started anew
SPARE_SECONDS = 15  # for each process, beside what the manifest gives it


class RolloutFailed(CloisterError):
    """A node did not come up; its machine has the revision before again."""


class PlannedStep(msgspec.Struct, frozen=True, kw_only=True):
    """What is started, or ended."""

    does: str  # start, end
    process: str
    why: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints of one machine."""

    machine: str
    steps: tuple[PlannedStep, ...]
    standing: str  # of the revision there: planned, in force


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    deployment: str
    revision: int
    machines: tuple[Outcome, ...]


def next_revision(head: NodeManifest | None, machines: Machines, nodes: tuple[Node, ...]) -> NodeManifest:
    """The revision with these nodes that follows what the machines have."""
    number = max(machine.state.first for machine in machines.all) if head is None else head.number + 1
    unknown = b"" if number == 1 else bytes(32)  # machines that begin later than with number 1 have nothing to follow
    return NodeManifest(
        deployment=machines.deployment,
        number=number,
        previous=unknown if head is None else head.digest(),
        restores=0,
        nodes=nodes,
    )


async def roll_out(machines: Machines, manifest: NodeManifest, wish: Wish, *, made: str = "") -> None:
    """Show the plan, and have each machine take the revision, one after the other; `made` says of what it was made.

    Raises:
        ManifestRefused, Refused: a machine does not take it; it says by which check.
        RolloutFailed: a node did not come up. The machines after that one were not told.
        Unavailable: a machine does not answer, or is not done in time.
    """
    planned = {machine.name: plan(present(machine.state), manifest.of(machine.name)) for machine in machines.all}
    _tell_plan(machines, manifest, planned, wish, made=made)
    if wish.key is None:
        _tell_result(manifest, machines, planned, wish, standing="planned")
        return
    await _send(machines, manifest, sign_node_manifest(manifest, wish.key), wish)
    _tell_result(manifest, machines, planned, wish, standing="in force")


async def catch_up(machines: Machines, manifest: NodeManifest, wish: Wish) -> None:
    """Have machines that missed it take a revision that others have already; raises as `roll_out`."""
    behind = [machine for machine in machines.all if machine.head < manifest.number]
    if not behind and not wish.as_json:
        say(f"nothing changes: all have revision {manifest.number}, which says the same")
        return
    planned = {machine.name: plan(present(machine.state), manifest.of(machine.name)) for machine in behind}
    _tell_plan(Machines(behind), manifest, planned, wish)
    if wish.key is not None:
        for machine in behind:
            seen = _last_event(machine.state)
            await machine.client.send(await machines.missed(machine))
            await _watch(machine, manifest, wish, seen)
    _tell_result(manifest, Machines(behind), planned, wish, standing="planned" if wish.key is None else "in force")


def present(state: DeploymentState) -> list[Present]:
    """The processes of a machine, as a plan has them."""
    return [
        Present(one.node, one.port, one.health_port, bytes.fromhex(one.spec), one.phase == "draining")
        for one in state.nodes
    ]


async def _send(machines: Machines, manifest: NodeManifest, signed: bytes, wish: Wish) -> None:
    missed = [await machines.missed(machine) for machine in machines.all]  # before any has the new one
    done: list[str] = []
    for machine, before in zip(machines.all, missed, strict=True):
        try:
            seen = _last_event(machine.state)
            await machine.client.send([*before, signed])
            await _watch(machine, manifest, wish, seen)
        except CloisterError as error:
            if not done:
                raise
            has = f"{', '.join(done)} {'has' if len(done) == 1 else 'have'} revision {manifest.number} in force"
            raise type(error)(*_with(error, f"; {has}: cloister deploy rollback takes it back there")) from error
        done.append(machine.name)


def _with(error: CloisterError, more: str) -> tuple[str, ...]:
    """What an error of this kind is made of, with more said."""
    check, shortfall = getattr(error, "check", None), getattr(error, "shortfall", "")
    return (f"{error}{more}",) if check is None else (check, f"{shortfall}{more}")


async def _watch(machine: Machine, manifest: NodeManifest, wish: Wish, seen: int) -> None:
    """Tell what the machine does until it is done."""
    deadline = monotonic() + _longest(machine, manifest)
    heard = monotonic()
    while monotonic() < deadline:
        try:
            machine.state = await machine.client.state()
        except Unavailable:
            if monotonic() > heard + SILENT_SECONDS:
                raise
            await asyncio.sleep(LOOK_SECONDS)
            continue
        heard = monotonic()
        for event in machine.state.events:
            if event.number > seen:
                wish.tell(f"  {machine.name}  {event.says}")
                seen = event.number
        standing = next((one for one in machine.state.revisions if one.number == manifest.number), None)
        if standing is not None and standing.standing == "in force":
            return
        if standing is not None and standing.standing == "failed" and not machine.state.working:
            raise RolloutFailed(f"revision {manifest.number} failed on {machine.name}: {standing.said}")
        await asyncio.sleep(LOOK_SECONDS)
    raise Unavailable(
        f"{machine.name} is not done with revision {manifest.number} yet; it goes on by itself, and"
        f" cloister deploy status --machine {machine.client.url} says how far it is"
    )


def _longest(machine: Machine, manifest: NodeManifest) -> float:
    """Seconds that a rollout may take, its way back included."""
    own = manifest.of(machine.name)
    each = [node.ready_seconds + node.drain_seconds + SPARE_SECONDS for node in own for _ in node.ports]
    ending = [SPARE_SECONDS + 3600 for one in machine.state.nodes if one.node not in {node.name for node in own}]
    return 60.0 + 2 * sum(each) + sum(ending)


def _last_event(state: DeploymentState) -> int:
    return state.events[-1].number if state.events else 0


def _tell_plan(
    machines: Machines, manifest: NodeManifest, planned: dict[str, tuple[Step, ...]], wish: Wish, *, made: str = ""
) -> None:
    wish.tell(f"revision {manifest.number} of {manifest.deployment}{made and f', {made}'}")
    for machine in machines.all:
        steps = [_step(step) for step in planned[machine.name]]
        wish.tell(f"  {machine.name}" if steps else f"  {machine.name}: nothing changes")
        for step in steps:
            wish.tell(f"    {step.does:<5}  {step.process}  {step.why}")
    elsewhere = sorted({node.machine for node in manifest.nodes} - {machine.name for machine in machines.all})
    if elsewhere:
        wish.tell(f"  {', '.join(elsewhere)}: not named with --machine, and left as it is")


def _tell_result(
    manifest: NodeManifest, machines: Machines, planned: dict[str, tuple[Step, ...]], wish: Wish, *, standing: str
) -> None:
    if wish.as_json:
        outcomes = tuple(
            Outcome(machine=machine.name, steps=tuple(map(_step, planned[machine.name])), standing=standing)
            for machine in machines.all
        )
        say_json(Result(deployment=manifest.deployment, revision=manifest.number, machines=outcomes))
    elif wish.key is None:
        say("nothing was sent")
    else:
        names = ", ".join(machine.name for machine in machines.all)
        say(f"revision {manifest.number} is in force on {names}")


def _step(step: Step) -> PlannedStep:
    if isinstance(step, End):
        return PlannedStep(does="end", process=step.name, why=step.why)
    return PlannedStep(does="start", process=step.name, why=step.node.role)
