"""`cloister down`: ends the local system, and never a process that is not its own."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import click

from cloister.cli.state_folder import StateFolder, state_option
from cloister.cli.system_record import record_path, recorded_processes
from cloister.errors import CloisterError
from cloister.hosting.processes import ProcessName, send, wait_for_end

STOP_SECONDS = 8.0  # the supervisor takes at most five
KILL_SECONDS = 3.0


EPILOG = """\b
Examples:
  cloister down
  cloister down --state ./try

Processes are known by their start time, too: a number that another process has got since is left alone. A system that
another version of Cloister started is ended as well.
"""


class StillRunning(CloisterError):
    """A process did not end."""


@click.command(epilog=EPILOG)
@state_option
def down(state: StateFolder) -> None:
    """End the local system, and wait until it has ended. Keys, log and receipts stay in the state folder."""
    if not stop(recorded_processes(state)):
        click.echo(f"no Cloister system runs in {state.root}")
        return
    record_path(state).unlink(missing_ok=True)
    click.echo("ended")


def stop(processes: Sequence[ProcessName]) -> bool:
    """End all of `processes`, the supervisor first, which ends the others; False where none of them ran.

    Raises:
        StillRunning: something did not end.
    """
    if not wait_for_end(processes, seconds=0):
        return False
    send(processes[0], signal.SIGTERM)
    for name in wait_for_end(processes, seconds=STOP_SECONDS):
        send(name, signal.SIGKILL)
    left = wait_for_end(processes, seconds=KILL_SECONDS)
    if left:
        raise StillRunning(f"process {left[0].pid} does not end; look at it with: ps -fp {left[0].pid}")
    return True
