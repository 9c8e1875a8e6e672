"""`cloister status`: what of the local system runs."""

from __future__ import annotations

import click
import msgspec

from cloister.cli.chain import console
from cloister.cli.processes import lives
from cloister.cli.state_folder import StateFolder, state_option
from cloister.cli.system_record import RoleRecord, SystemRecord, running
from cloister.errors import Unavailable


class Incomplete(Unavailable):
    """Something of the system is down."""


@click.command()
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
def status(state: StateFolder, *, as_json: bool) -> None:
    """Say what of the local system runs. Exit code 0 when all of it does, else 4."""
    record = running(state)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(record)).decode())
    else:
        _show(record)
    missing = [role.name for role in record.roles if not _up(role)]
    if missing or record.phase != "ready":
        what = f"not up: {', '.join(missing)}" if missing else record.phase
        raise Incomplete(f"the system is not ready ({what}); its supervisor starts what is down again")


def _show(record: SystemRecord) -> None:
    out = console()
    out.print(f"{record.phase}: {record.base_url} (supervisor {record.supervisor.pid})")
    for role in record.roles:
        state = "down" if role.process is None or not lives(role.process) else f"process {role.process.pid}"
        state += "" if role.ready or state == "down" else f", not ready: {role.missing}"
        again = f", started again {role.restarts} times" if role.restarts else ""
        out.print(f"  {role.name:<8} port {role.port:<6} {state}{again}  {role.log}")


def _up(role: RoleRecord) -> bool:
    return role.ready and role.process is not None and lives(role.process)
