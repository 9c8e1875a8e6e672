"""Environments as the users of other people's clients make them: from PyPI and npm, one for each client."""

import asyncio
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

from tests.doubles.command_line import SOURCE

INSTALL_SECONDS = 240


class NotInstalled(NamedTuple):
    """Why a client is not there."""

    reason: str


class Environment(NamedTuple):
    """What runs a client's programs."""

    folder: Path  # in it, `bin` is on the path of what runs there
    program: Path


async def python_environment(folder, *requirements):
    """A virtual environment with `requirements`, and with this tree's code beneath them."""
    made = await _run(sys.executable, "-m", "venv", "--without-pip", folder)
    assert made == "", made
    program = folder / "bin" / "python"
    library = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (library / "tree.pth").write_text(f"{SOURCE}\n{sysconfig.get_path('purelib')}\n")
    uv = Path(sysconfig.get_path("scripts")) / "uv"  # a quarter of pip's time
    said = await _run(uv, "pip", "install", "--quiet", "--python", program, *requirements)
    return NotInstalled(f"uv cannot install {requirements}: {said}") if said else Environment(folder, program)


async def node_environment(folder, *packages):
    """A folder with `packages` of npm."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        return NotInstalled("node and npm are not there: apt-get install nodejs npm")
    folder.mkdir()
    (folder / "package.json").write_text("{}")
    said = await _run(npm, "install", "--no-audit", "--no-fund", "--loglevel=error", *packages, folder=folder)
    return NotInstalled(f"npm cannot install {packages}: {said}") if said else Environment(folder, Path(node))


async def _run(*command, folder=None):
    """Nothing, or the last words of a command that failed."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(INSTALL_SECONDS):
        out, _ = await process.communicate()
    return "" if process.returncode == 0 else (out.decode().strip().splitlines() or ["without a word"])[-1]
