"""Opens a sealed model into an engine's sandbox as a gateway does, and says how far it has come.

Arguments: the folders to import from, as JSON; a folder with `sealed`, the artifact; the tool; the confinement. On
standard input: the artifact's key, in hexadecimal; then a line for each step it is to take. On standard output: a line
when it waits for one, `midway` (a part of the first file is written), `ready` (with the engine's process id), `ended`.
Processes that its own leave behind become its own, so that whoever looks below it sees them all.
"""

import sys

if __name__ == "__main__":
    import json

    sys.path[:0] = json.loads(sys.argv[1])

import asyncio
import ctypes
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.doubles.sandboxes import FAULTY, SMALL, post

from cloister.hosting.core_dumps import forbid_core_dumps
from cloister.sandbox.model import FileTarget
from cloister.sandbox.plan import plan
from cloister.sandbox.service import EngineService
from cloister.sealing.artifact import SealedSource, open_artifact
from cloister.secret import SecretBytes
from cloister.services.gateway.engine_choice import ChosenEngine

SET_CHILD_SUBREAPER = 36  # prctl(2)
HOLD = b"""
import mmap, os, time
with open(os.environ["MODEL"] + "/first", "rb") as file: mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
kept = bytes(mapped)
time.sleep(60)
"""


@dataclass
class Watched:
    """The sealed model's own source; it waits for a word when the first part of it is written."""

    source: SealedSource

    @property
    def files(self) -> Sequence[tuple[str, int]]:
        """What the artifact holds."""
        return self.source.files

    def open_into(self, targets: Iterator[FileTarget]) -> None:
        """Open all of it to where it is to be."""
        self.source.open_into(WatchedTarget(target, at_first=not number) for number, target in enumerate(targets))


@dataclass
class WatchedTarget:
    """A target that stops where it has taken its first part."""

    target: FileTarget
    at_first: bool

    def write(self, at: int, data: memoryview) -> None:
        """Write it, and wait."""
        self.target.write(at, data)
        if self.at_first:
            self.at_first = False
            wait("midway")

    def filled(self) -> None:
        """It is whole."""
        self.target.filled()


def wait(where: str) -> None:
    """Say where it is, and go on when told to."""
    sys.stdout.write(f"{where}\n")
    sys.stdout.flush()
    sys.stdin.readline()


async def main(folder: Path, tool: Any, confinement: Any) -> None:
    """Fill an engine, have a request read its model, and end."""
    forbid_core_dumps()
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    key = SecretBytes(bytes.fromhex(sys.stdin.readline()))
    artifact = open_artifact(folder / "sealed")
    sizes = SMALL.holding((file.path, file.size) for file in artifact.manifest.files)
    planned = plan(replace(sizes, request_seconds=60), confinement=confinement, tool=tool)
    chosen = ChosenEngine(FAULTY, planned, artifact)
    model = Watched(artifact.source(key, threads=1))
    service = EngineService(chosen.plan, chosen.staged(folder / "stage"), folder / "run", model=model)
    await service.start()
    (seat,) = service._seats
    holding = asyncio.create_task(post(service, "/run", HOLD))
    await asyncio.to_thread(wait, f"ready {seat.engine.pid}")
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    await service.stop()
    await asyncio.to_thread(wait, "ended")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[2]), sys.argv[3], sys.argv[4]))
