"""Runs a how-to page as its reader does: every `sh` and `console` block, from the top, in one shell.

In `console` blocks the lines after `$ ` are commands, the others what they print; `…` there stands for anything, within
a line or as a line of its own. Blocks of other languages are to be read; one with a name behind its language is the
file that its reader saves. A block without a language is an error: a command in it would be executed by nobody.
A page that needs programs which not every machine has names them: `<!-- needs: npm -->`; `unswapped` is a machine that
swaps nothing out.
"""

import asyncio
import contextlib
import os
import re
import shlex
import shutil
import signal
import sys
from pathlib import Path
from typing import NamedTuple

from tests.doubles.command_line import cloister_command
from tests.doubles.users_environment import users_environment

RUN = ("sh", "console")
READ = ("toml", "json", "text", "ini", "python", "js", "yaml")
PAGE_SECONDS = 400  # a page takes some 20 s, and many times that on a machine that is busy with other things
_FENCE = re.compile(r"^```(\S*)(?: +(\S+))?\s*$")
_NEEDS = re.compile(r"^<!-- needs: (.*) -->$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block."""

    line: int  # of its first line
    language: str
    text: str
    name: str | None = None  # of the file that it is


class Step(NamedTuple):
    """A script to run, and what it prints, where the page says it."""

    line: int
    script: str
    prints: str | None


def blocks(page):
    """The fenced blocks of the markdown `page`."""
    found, opened, lines = [], None, []
    for number, line in enumerate(page.splitlines(), start=1):
        fence = _FENCE.match(line)
        if fence is None:
            lines.append(line)
        elif opened is None:
            opened, lines = Block(number + 1, fence.group(1), "", fence.group(2)), []
        else:
            found.append(opened._replace(text="\n".join(lines) + "\n"))
            opened = None
    assert opened is None, f"the block from line {opened.line} has no end"
    for block in found:
        assert block.language in RUN + READ, f"line {block.line}: say the block's language, one of {RUN + READ}"
    return found


def missing(page):
    """The programs that `page` needs and this machine lacks."""
    named = _NEEDS.search(page)
    return [program for program in (named.group(1).split() if named else ()) if not _is_here(program)]


def _is_here(program):
    if program == "unswapped":
        return len(Path("/proc/swaps").read_text().splitlines()) < 2
    return shutil.which(program) is not None


def steps(page):
    """What of `page` is run."""
    for block in blocks(page):
        if block.language == "sh":
            yield Step(block.line, block.text, None)
        elif block.language == "console":
            yield from _console(block)


def _console(block):
    found = []
    for number, line in enumerate(block.text.splitlines(), start=block.line):
        if line.startswith("$ "):
            found.append(Step(number, line[2:] + "\n", ""))
        else:
            assert found, f"line {number}: a console block begins with a command"
            found[-1] = found[-1]._replace(prints=found[-1].prints + line + "\n")
    return found


def matches(prints, printed):
    """Whether `printed` is what the page says, where `…` is anything."""
    lines = (".*" if line == "…" else re.escape(line).replace("…", "[^\n]*") for line in prints.strip().splitlines())
    return re.fullmatch("\n".join(lines), printed.strip(), re.DOTALL) is not None


async def follow(path, folder, **variables):
    """Run the page at `path` in `folder`, a home of its own with `cloister` on its PATH; all ends with the page."""
    page = path.read_text(encoding="utf-8")
    todo = list(steps(page))
    assert todo, f"{path.name} has nothing to run"
    for block in blocks(page):
        if block.name is not None:
            (folder / block.name).write_text(block.text)
    script = folder / ".page.sh"
    script.write_text(_script(folder, todo))
    process = await asyncio.create_subprocess_exec(
        *("bash", str(script)),
        cwd=folder,
        env=_environment(folder) | variables,
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(PAGE_SECONDS):
            await process.wait()
    finally:
        await _end(process)
        for record in folder.rglob("run/system.json"):
            await cloister_command("down", "--state", record.parents[1], home=folder)
    for step, out in zip(todo, _outputs(folder, todo), strict=True):
        where = f"{path.name}, line {step.line}: {step.script}"
        assert out is not None, f"{where}was not reached"
        assert (folder / f".done-{step.line}").exists(), f"{where}failed:\n{out}"
        assert step.prints is None or matches(step.prints, out), f"{where}printed:\n{out}instead of:\n{step.prints}"


def _script(folder, todo):
    """Each step sourced, so that variables and folders carry over, and its output kept."""
    lines = ["set -eu -o pipefail"]
    for step in todo:
        part = folder / f".step-{step.line}.sh"
        part.write_text(step.script)
        out, done = (shlex.quote(str(folder / f".{name}-{step.line}")) for name in ("out", "done"))
        lines.append(f"source {shlex.quote(str(part))} >{out} 2>&1")
        lines.append(f": >{done}")
    return "\n".join(lines) + "\n"


def _outputs(folder, todo):
    for step in todo:
        out = folder / f".out-{step.line}"
        yield out.read_text(errors="replace") if out.exists() else None


def _environment(folder):
    path = f"{users_environment() / 'commands'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {"HOME": str(folder), "PATH": path, "LANG": "C.UTF-8", "NO_COLOR": "1", "COLUMNS": "120"}


async def _end(process):
    """End what the page started and left running, in its session."""
    for number, seconds in ((signal.SIGTERM, 8), (signal.SIGKILL, 8)):
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            os.killpg(process.pid, number)
            async with asyncio.timeout(seconds):
                while _lives(process.pid):  # noqa: ASYNC110 - other processes set no event
                    await asyncio.sleep(0.05)
    await process.wait()


def _lives(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
