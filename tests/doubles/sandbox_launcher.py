"""Starts the faulty engine in its sandbox as whoever runs this, and prints what happened, a line of JSON each.

Arguments: the folders to import from, as JSON; a folder for its state; `hold` (then it waits to be killed) or `faults`.
"""

import sys

if __name__ == "__main__":
    import json

    sys.path[:0] = json.loads(sys.argv[1])

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from importlib import metadata
from pathlib import Path

from tests.doubles.sandboxes import FAULTY, Staged, post

from cloister.errors import CloisterError
from cloister.sandbox.closure import Engine, stage
from cloister.sandbox.escapes.suite import attempts, try_all
from cloister.sandbox.service import EngineService

NOBODY = "65534"
ROOT = Path(__file__).parents[2]


def launched(
    folder: Path, command: list[str], *, mode: str = "faults", under: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    """This module as a program: by `command`, or by this interpreter where that is empty; started by `under`."""
    imports = [str(folder / "code"), str(folder / "packages")] if command else [str(ROOT), *sys.path]
    script = (folder / "code" if command else ROOT) / "tests" / "doubles" / "sandbox_launcher.py"
    arguments = ["-I", "-B", str(script), json.dumps(imports), str(folder), mode]
    return subprocess.Popen(
        [*under, *(command or [sys.executable]), *arguments], stdout=subprocess.PIPE, text=True, cwd="/"
    )


@contextlib.contextmanager
def ordinary_user(folder: Path) -> Iterator[list[str]]:
    """The command prefix that makes an ordinary user of root, with an interpreter and code that this user can read."""
    if os.geteuid() != 0:
        yield []
        return
    distributions = ("httptools", "python-multipart", "msgspec", "cbor2", "packaging")
    closure = stage(Engine("ordinary", FAULTY.program, distributions), folder / "interpreter").folder
    shutil.copytree(closure, folder, dirs_exist_ok=True)
    for name in distributions:  # what is staged says nothing of its installer, and there it is to be staged again
        record = next(entry for entry in metadata.files(name) or () if entry.name == "RECORD")
        shutil.copyfile(record.locate(), folder / "packages" / record)
    for part in ("src/cloister", "tests"):
        shutil.copytree(ROOT / part, folder / "code" / Path(part).name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(folder)], check=True)
    drop = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]
    yield [*drop, "env", "-i", f"LD_LIBRARY_PATH={folder}/lib", str(folder / "bin" / "python"), "-S"]


def say(**what: object) -> None:
    sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()


async def main(folder: Path, mode: str) -> None:
    """Start, answer, and hold or go through the faults."""
    ready = Staged(folder, stage(FAULTY, folder / "stage"))
    async with ready.service() as service:
        profile = service.plan.profile
        uid = (await post(service, "/run", b"import os; result = os.getuid()")).body.decode()
        answer = (await post(service, "/", b"12345")).body.decode()
        say(answer=answer, user=profile.user, held_by=profile.limits.held_by, uid=uid.removeprefix("did it: "))
        if mode == "hold":
            await asyncio.sleep(60)
        async for fault in _faults(service):
            say(**fault)
        (folder / "escapes").mkdir(mode=0o755)
        outcomes = [outcome async for outcome in try_all(service.plan, folder / "escapes", attempts())]
        escaped = [outcome.name for outcome in outcomes if not outcome.held]
        say(**{"tried": len(outcomes), "not held": escaped})


async def _faults(service: EngineService) -> AsyncIterator[dict[str, str]]:
    for path in ("/hang", "/exit", "/memory"):
        try:
            await post(service, path)
        except CloisterError as error:
            following = (await post(service, "/", b"again")).body.decode()
            yield {"path": path, "error": type(error).__name__, "why": str(error), "next": following}


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[2]), sys.argv[3]))
