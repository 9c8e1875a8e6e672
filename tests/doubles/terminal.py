"""Runs `cloister` with a terminal for one of its streams, as a person has it."""

import asyncio
import contextlib
import os
import pty
import subprocess
import sys

from tests.doubles.command_line import environment


async def at_a_terminal(home, stream, *arguments, colours=False):
    """What a terminal has shown that is the `stream`, "stdout" or "stderr", of a command that has ended."""
    terminal, inside = pty.openpty()
    variables = environment(home, TERM="xterm-256color")
    if colours:
        del variables["NO_COLOR"]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | {stream: inside}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cloister", *map(str, arguments)),
        env=variables,
        cwd=home,
        stdin=subprocess.DEVNULL,
        **streams,
    )
    os.close(inside)
    shown = await asyncio.to_thread(_everything, terminal)
    await process.wait()
    return shown


def _everything(terminal):
    shown = b""
    with os.fdopen(terminal, "rb", buffering=0) as screen, contextlib.suppress(OSError):  # the other end is closed
        while piece := screen.read(65_536):
            shown += piece
    return shown.decode()
