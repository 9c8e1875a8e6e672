"""`cloister down`: ends the local system, and never a process that is not its own."""

from __future__ import annotations

import signal

import click

from cloister.cli.processes import send, wait_for_end
from cloister.cli.state_folder import StateFolder, state_option
from cloister.cli.system_record import SystemRecord, read_record, record_path
from cloister.errors import CloisterError

STOP_SECONDS = 8.0  # the supervisor takes at most five
KILL_SECONDS = 3.0


class StillRunning(CloisterError):
    """A process did not end."""


@click.command()
@state_option
def down(state: StateFolder) -> None:
    """End the local system, and wait until it has ended. Keys, log and receipts stay in the state folder.

    Processes are known by their start time, too: a number that another process has got since is left alone.
    """
    record = read_record(state)
    if record is None or not stop(record):
        click.echo(f"no Cloister system runs in {state.root}")
        return
    record_path(state).unlink(missing_ok=True)
    click.echo("ended")


def stop(record: SystemRecord) -> bool:
    """End everything that the record names; False where nothing of it ran.

    Raises:
        StillRunning: something did not end.
    """
    everything = [record.supervisor, *(role.process for role in record.roles if role.process is not None)]
    if not wait_for_end(everything, seconds=0):
        return False
    send(record.supervisor, signal.SIGTERM)
    for name in wait_for_end(everything, seconds=STOP_SECONDS):
        send(name, signal.SIGKILL)
    left = wait_for_end(everything, seconds=KILL_SECONDS)
    if left:
        raise StillRunning(f"process {left[0].pid} does not end; look at it with: ps -fp {left[0].pid}")
    return True
