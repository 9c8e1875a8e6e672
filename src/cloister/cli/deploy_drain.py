"""`cloister deploy drain`: a revision in which a node, or one process of it, is no more."""

from __future__ import annotations

import asyncio

import click
import msgspec

from cloister.cli.deploy_access import Access, Wish, machine_options, signing_options
from cloister.cli.deploy_rollout import next_revision, roll_out
from cloister.errors import UsageError
from cloister.formats.node_manifest import Node

EPILOG = """\b
Examples:
  cloister deploy drain gateway --machine http://127.0.0.1:7100 --key ops/sign.seed
  cloister deploy drain gateway/7104 --machine http://127.0.0.1:7100 --key ops/sign.seed

NODE is a node's name, or one process as cloister deploy status shows it. It takes no new requests, has its
drain_seconds for those that it has, and ends. That is a revision like any other, so that no restart brings it back:
apply a manifest to have it again.
"""
replace = msgspec.structs.replace


@click.command(epilog=EPILOG)
@click.argument("node", metavar="NODE")
@machine_options
@signing_options
def drain(node: str, access: Access, *, wish: Wish) -> None:
    """Let NODE finish what it has, end it, and keep it ended."""
    asyncio.run(drain_node(node, access, wish))


async def drain_node(name: str, access: Access, wish: Wish) -> None:
    """End a node, or one process of it, by a revision without it; raises as `roll_out`."""
    async with access.machines() as machines:
        head, in_force = await machines.head(wish.operators), await machines.in_force(wish.operators)
        manifest = next_revision(head, machines, without(in_force.nodes, name))
        await roll_out(machines, manifest, wish, made=f"revision {in_force.number} without {name}")


def without(nodes: tuple[Node, ...], name: str) -> tuple[Node, ...]:
    """The nodes with one drained, or one process of it: then its port is given up, too.

    Raises:
        UsageError: there is none of that name.
    """
    node_name, _, port = name.partition("/")
    known = [f"{node.name}/{one}" if port else node.name for node in nodes for one in (node.ports if port else (0,))]
    if name not in known:
        raise UsageError(f"{name} is not in the revision in force; there are: {', '.join(known) or 'none'}")
    return tuple(_less(node, port) if node.name == node_name else node for node in nodes)


def _less(node: Node, port: str) -> Node:
    if not port:
        return replace(node, replicas=0)
    left = [place for place, one in enumerate(node.ports) if str(one) != port]
    return replace(
        node,
        replicas=max(0, node.replicas - 1),
        ports=tuple(node.ports[place] for place in left),
        health_ports=tuple(node.health_ports[place] for place in left) if node.health_ports else (),
    )
