"""The other half of `cloister node identity -- PROGRAM`: the program, with this process's environment and signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cloister.cli.passed_signals import PassedSignals
from cloister.errors import Unavailable, UsageError
from cloister.node.identity_files import AUTHORITY, CERTIFICATE, KEY

SIGNALS: Final = ("HUP", "USR1", "USR2", "TERM")
SIGNALLED: Final = 128  # and the signal's number: what a shell says of a program that a signal ended


async def run_beside(
    keeper: Sequence[str], environ: Mapping[str, str], program: Sequence[str], folder: Path, sent: signal.Signals
) -> int:
    """Run `program` once the `keeper` has the first certificate; its exit code.

    Raises:
        UsageError: it cannot be started.
        Unavailable: the keeper ended without a certificate; it has said why.
    """
    kept = await asyncio.create_subprocess_exec(
        *keeper, env=environ, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert kept.stdout is not None
    assert kept.stdin is not None
    try:
        with PassedSignals() as signals:
            if not await kept.stdout.readline():
                raise Unavailable("there is no certificate: see what was said before")
            process = await _start(program, folder)
            signals.go_to(process)
            telling = asyncio.create_task(_tell(kept.stdout, process, sent))
            code = await process.wait()
            telling.cancel()
    finally:
        kept.stdin.close()
        await kept.wait()
    return code if code >= 0 else SIGNALLED - code


async def _start(program: Sequence[str], folder: Path) -> asyncio.subprocess.Process:
    own = os.environ  # noqa: TID251 - it is handed on
    named = {"CERTIFICATE": CERTIFICATE, "KEY": KEY, "AUTHORITY": AUTHORITY}
    environ = {**own, **{f"CLOISTER_IDENTITY_{name}": str(folder / file) for name, file in named.items()}}
    try:
        return await asyncio.create_subprocess_exec(*program, env=environ)
    except OSError as error:
        raise UsageError(f"{program[0]} cannot be run: {error.strerror}") from error


async def _tell(lines: asyncio.StreamReader, process: asyncio.subprocess.Process, sent: signal.Signals) -> None:
    """A signal for each certificate; the last line comes when the keeper ends, and the program goes with it."""
    while await lines.readline():
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(sent)
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
