"""`cloister deploy rollback`: a revision with the nodes of an older one, which it names."""

from __future__ import annotations

import asyncio

import click
import msgspec

from cloister.cli.deploy_access import Access, Machines, Wish, machine_options, signing_options
from cloister.cli.deploy_rollout import next_revision, roll_out
from cloister.errors import UsageError
from cloister.formats.deployment_state import RevisionState

EPILOG = """\b
Examples:
  cloister deploy rollback --machine http://127.0.0.1:7100 --key ops/sign.seed
  cloister deploy rollback --to 4 --machine http://127.0.0.1:7100 --key ops/sign.seed

The nodes come back as they were, as a new revision: numbers only rise, and an older manifest played again is refused.
cloister deploy status lists the revisions. A machine on which a node did not become ready goes back by itself; this is
for the others, and for second thoughts.
"""


@click.command(epilog=EPILOG)
@click.option("--to", "number", type=click.IntRange(min=1), metavar="NUMBER", help="[default: the one in force before]")
@machine_options
@signing_options
def rollback(number: int | None, access: Access, *, wish: Wish) -> None:
    """Bring back the nodes of an older revision, as a new one."""
    asyncio.run(roll_back(number, access, wish))


async def roll_back(number: int | None, access: Access, wish: Wish) -> None:
    """Bring back the nodes of a revision, by default of the one in force before; raises as `roll_out`."""
    async with access.machines() as machines:
        head = await machines.head(wish.operators)
        chosen = await machines.leader.revision(_chosen(machines, number), wish.operators)
        manifest = msgspec.structs.replace(next_revision(head, machines, chosen.nodes), restores=chosen.number)
        await roll_out(machines, manifest, wish, made=f"which brings back revision {chosen.number}")


def _chosen(machines: Machines, number: int | None) -> RevisionState:
    shown = machines.leader.state.revisions
    if number is None:
        before = [one for one in shown if one.standing == "past"]
        if not before:
            raise UsageError("no revision was in force before: name one with --to NUMBER, or apply a manifest")
        return before[-1]
    found = next((one for one in shown if one.number == number), None)
    if found is None:
        known = f"{shown[0].number} to {shown[-1].number}" if shown else "none"
        raise UsageError(f"{machines.leader.name} has no revision {number} at hand; it has {known}")
    return found
