"""`cloister deploy status`: what runs on each machine, of which revision, ready or why not, and since when."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import click
import msgspec

from cloister.cli.chain import console
from cloister.cli.deploy_access import Access, machine_options
from cloister.cli.explained.contract_words import moment
from cloister.cli.terminal import printable
from cloister.errors import CloisterError, Unavailable
from cloister.formats.deployment_state import DeploymentState, NodeState, RevisionState
from cloister.peers.deployment import DeploymentClient

SHOWN_REVISIONS = 5
EPILOG = """\b
Examples:
  cloister deploy status --machine http://127.0.0.1:7100
  cloister deploy status --machine http://127.0.0.1:7100 --json | jq '.[].nodes[] | select(.phase != "ready")'

Exit code 0 when every machine answers, is done, and all of its nodes are ready; else 4.
"""


class NotServing(Unavailable):
    """A machine does not answer, works, or has a node that is not ready."""


class Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `--json` prints of one machine."""

    url: str
    error: str = ""
    state: DeploymentState | None = None


@click.command(epilog=EPILOG)
@machine_options
@click.option("--json", "as_json", is_flag=True, help="Print a list with each machine's state as JSON.")
def status(access: Access, *, as_json: bool) -> None:
    """Say what runs on each machine: node, role, revision, process, whether it is ready and why not, since when."""
    told = asyncio.run(_asked(access))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode([_plain(one) for one in told])).decode())
    else:
        for one in told:
            _show(one)
    missing = [name for one in told for name in _missing(one)]
    if missing:
        raise NotServing(f"not all of it serves now: {', '.join(missing)}")


async def _asked(access: Access) -> Sequence[Told]:
    async with access.clients() as clients:
        return await asyncio.gather(*map(_one, clients))


async def _one(client: DeploymentClient) -> Told:
    try:
        return Told(url=client.url, state=await client.state())
    except CloisterError as error:
        return Told(url=client.url, error=str(error))


def _plain(one: Told) -> dict[str, object]:
    state = {} if one.state is None else msgspec.to_builtins(one.state)
    return {"url": one.url, "error": one.error} | state


def _missing(one: Told) -> list[str]:
    if one.state is None:
        return [one.url]
    working = [f"{one.state.machine} is at work"] if one.state.working else []
    return [*working, *(f"{node.name} of {one.state.machine}" for node in one.state.nodes if node.phase != "ready")]


def _show(one: Told) -> None:
    out = console()
    if one.state is None:
        out.print(printable(f"{one.url}: {one.error}"))
        return
    state = one.state
    at_work = ", at work" if state.working else ""
    in_force = "no revision" if state.in_force is None else f"revision {state.in_force.number}"
    out.print(printable(f"{state.machine} ({one.url}): {state.deployment}, {in_force} in force{at_work}"))
    rows = [("NODE", "ROLE", "REVISION", "PROCESS", "IS", "SINCE"), *map(_row, state.nodes)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows if state.nodes else []:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        out.print(printable("  " + "  ".join([*cells, row[5]])))
    for node in state.nodes:
        if node.phase in ("not ready", "down"):
            out.print(printable(f"  {node.name}: {node.missing}"))
    for shown in state.revisions[-SHOWN_REVISIONS:]:
        out.print(printable(f"  {_revision(shown)}"))


def _row(node: NodeState) -> tuple[str, ...]:
    again = f", started again {node.restarts} times" if node.restarts else ""
    return node.name, node.role, str(node.revision), str(node.pid or "-"), node.phase, f"{moment(node.since)}{again}"


def _revision(shown: RevisionState) -> str:
    restores = f", brought back {shown.restores}" if shown.restores else ""
    said = f": {shown.said}" if shown.said else ""
    by = f"signed by {shown.signer[:16]}…"
    return f"revision {shown.number}{restores}, {by}, {shown.standing} since {moment(shown.at)}{said}"
