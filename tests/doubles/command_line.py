"""Runs `cloister` as its users do, as a process of its own, from this tree."""

import asyncio
import os
import sys
from pathlib import Path
from typing import NamedTuple

import cloister

SOURCE = Path(cloister.__file__).parents[1]


class Ran(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


def environment(home, **variables):
    """A clean environment with its home in `home`."""
    fixed = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(SOURCE),
        "COLUMNS": "80",
        "LANG": "C.UTF-8",
    }
    return fixed | {"NO_COLOR": "1"} | variables


async def cloister_command(*arguments, home, **variables):
    """Run `cloister` with `arguments` to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cloister", *map(str, arguments)),
        env=environment(home, **variables),
        cwd=home,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())
