"""What starts and what ends, in which order, so that a machine has what a manifest names. Pure: it only says so.

One process at a time. Where a node has a port to spare, a new process is started, and only when it is ready an old one
is drained; where it has none, an old one makes room first. Nodes come in the manifest's order, and what it no longer
names ends last, unless something needs its port.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cloister.formats.node_manifest import Node


@dataclass(frozen=True, slots=True)
class Present:
    """A process that runs."""

    node: str
    port: int
    health_port: int
    spec: bytes  # of the node that it was started for: `Node.spec`
    leaving: bool = False  # it was told to end

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.node}/{self.port}"

    @property
    def taken(self) -> frozenset[int]:
        """The ports that nobody else can have meanwhile."""
        return frozenset({self.port, self.health_port})


@dataclass(frozen=True, slots=True)
class Start:
    """A process is started, and has to become ready."""

    node: Node
    port: int

    @property
    def name(self) -> str:
        """What it will be called."""
        return f"{self.node.name}/{self.port}"


@dataclass(frozen=True, slots=True)
class End:
    """A process is drained and ends."""

    name: str
    why: str


Step = Start | End


def plan(present: Sequence[Present], nodes: Sequence[Node]) -> tuple[Step, ...]:
    """The steps from what is `present` to what `nodes`, all of one machine, say."""
    planning = _Planning(list(present))
    steps = [step for node in nodes for step in planning.node(node)]
    named = {node.name for node in nodes}
    return (*steps, *[planning.end(one, "no longer named") for one in list(planning.now) if one.node not in named])


@dataclass(slots=True)
class _Planning:
    """What would run after the steps so far."""

    now: list[Present]

    def end(self, one: Present, why: str) -> End:
        self.now.remove(one)
        return End(one.name, "told to end before" if one.leaving else why)

    def node(self, node: Node) -> Iterator[Step]:
        own = [one for one in self.now if one.node == node.name]
        good = [one for one in own if _is(one, node)][: node.replicas]
        old = [one for one in own if one not in good]
        for _ in range(node.replicas - len(good)):
            while (port := self._free(node)) is None:
                blocking = self._blocking(node, old, good)
                old = [one for one in old if one != blocking]
                yield self.end(blocking, "makes room")
            started = Present(node.name, port, node.health_port(port), node.spec())
            self.now.append(started)
            good.append(started)
            yield Start(node, port)
            if old and len(good) + len(old) > node.replicas:
                yield self.end(old.pop(0), "replaced")
        for one in old:
            yield self.end(one, "drained" if _is(one, node) else "replaced")

    def _free(self, node: Node) -> int | None:
        taken = frozenset[int]().union(*(one.taken for one in self.now))
        return next((port for port in node.ports if taken.isdisjoint({port, node.health_port(port)})), None)

    def _blocking(self, node: Node, old: Sequence[Present], good: Sequence[Present]) -> Present:
        """Who has a port that the node could use: an old process of its own rather than another node's."""
        used = {one.port for one in good}
        wanted = [{port, node.health_port(port)} for port in node.ports if port not in used]
        holders = [one for ports in wanted for one in self.now if not one.taken.isdisjoint(ports)]
        return next((one for one in holders if one in old), holders[0])


def _is(one: Present, node: Node) -> bool:
    """Whether a process is what the node says now."""
    listens = one.port in node.ports and node.health_port(one.port) == one.health_port
    return listens and one.spec == node.spec() and not one.leaving
