"""`cloister status`: what of the local system runs, and can serve, now."""

from __future__ import annotations

import asyncio

import click
import msgspec

from cloister.cli.chain import console
from cloister.cli.code_changes import changed_since, started_with
from cloister.cli.state_folder import StateFolder, state_option
from cloister.cli.system_record import RoleRecord, SystemRecord, running
from cloister.errors import Unavailable
from cloister.hosting.processes import lives
from cloister.hosting.readiness import NO_ANSWER, lacking, unreachable

SHOWN_FILES = 3
EPILOG = """\b
Examples:
  cloister status
  cloister status --json | jq '.roles[] | select(.ready | not)'

Every role is asked now. Exit code 0 when all of the system can serve, else 4.
"""


class Incomplete(Unavailable):
    """Something of the system is down."""


@click.command(epilog=EPILOG)
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
def status(state: StateFolder, *, as_json: bool) -> None:
    """Say what of the local system runs and can serve, and whether the code changed since it was started."""
    record = asyncio.run(as_it_is(running(state)))
    changed = changed_since(started_with(state))
    if as_json:
        shown = msgspec.to_builtins(record) | {"changed": changed}
        click.echo(msgspec.json.format(msgspec.json.encode(shown)).decode())
    else:
        _show(state, record, changed)
    missing = [role.name for role in record.roles if not role.ready]
    if missing or record.phase != "ready":
        what = f"not ready: {', '.join(missing)}" if missing else record.phase
        raise Incomplete(f"the system cannot serve yet ({what}); what ended is started again by itself")


async def as_it_is(record: SystemRecord) -> SystemRecord:
    """The record with the readiness of each role as it answers now."""
    return msgspec.structs.replace(record, roles=tuple(await asyncio.gather(*map(_asked, record.roles))))


async def _asked(role: RoleRecord) -> RoleRecord:
    if role.process is None or not lives(role.process):
        return msgspec.structs.replace(role, process=None, ready=False, missing=NO_ANSWER)
    missing = await (unreachable(role.port) if role.health_port is None else lacking(role.health_port))
    return msgspec.structs.replace(role, ready=not missing, missing=missing)


def _show(state: StateFolder, record: SystemRecord, changed: list[str]) -> None:
    out = console()
    out.print(f"{record.phase}: {record.base_url} (supervisor {record.supervisor.pid})")
    for role in record.roles:
        is_now = "down" if role.process is None else f"process {role.process.pid}"
        is_now += "" if role.ready or role.process is None else f", not ready: {role.missing}"
        again = f", started again {role.restarts} times" if role.restarts else ""
        out.print(f"  {role.name:<8} port {role.port:<6} {is_now}{again}  {role.log}")
    if changed:
        more = f" and {len(changed) - SHOWN_FILES} more" if len(changed) > SHOWN_FILES else ""
        out.print(
            f"the code changed since the start ({', '.join(changed[:SHOWN_FILES])}{more}): what runs is what was"
            " measured then, and a role that ends gets no key. To run the new code:"
            f" {state.command('down')}, then {state.command('up')}"
        )
