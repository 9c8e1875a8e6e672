"""Engines in real sandboxes for tests, in folders that the sandbox's own user can traverse."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from cloister.formats.binary_http import Request, Response
from cloister.sandbox.closure import Engine, StagedEngine, stage, staging_folder
from cloister.sandbox.plan import Choice, plan
from cloister.sandbox.profile import MIB
from cloister.sandbox.service import EngineService
from cloister.sandbox.sizes import Sizes

FAULTY = Engine("faulty", Path(__file__).with_name("faulty_engine.py"), ("httptools", "python-multipart"))
DEAF = Engine("deaf", Path(__file__).with_name("deaf_engine.py"), ("httptools", "python-multipart"))
_KEPT = Path(__file__).parents[2] / ".venv" / ".staged"
SMALL = Sizes(memory_bytes=256 * MIB, request_seconds=1)


@contextlib.contextmanager
def traversable_folder() -> Iterator[Path]:
    """pytest's own folders are closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="cloister-test-"))
    folder.chmod(0o755)
    (folder / "run").mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True)
class Staged:
    """One engine staged for a module's tests."""

    folder: Path
    engine: StagedEngine

    @contextlib.asynccontextmanager
    async def service(
        self, sizes: Sizes = SMALL, tool: Choice = "auto", **settings: object
    ) -> AsyncIterator[EngineService]:
        """The engine, served; ended afterwards."""
        service = EngineService(plan(sizes, tool=tool), self.engine, self.folder / "run", **settings)  # type: ignore[arg-type]
        await service.start()
        try:
            yield service
        finally:
            await service.stop()


@contextlib.contextmanager
def staged(engine: Engine, *, kept: bool = False) -> Iterator[Staged]:
    """`engine` staged in a folder of its own; `kept`: where it is found again, since there is a gigabyte of it."""
    with traversable_folder() as folder:
        yield Staged(folder, stage(engine, staging_folder(_KEPT) if kept else folder / "stage"))


async def post(service: EngineService, path: str, body: bytes = b"", *headers: tuple[str, str]) -> Response:
    """What the engine answers."""
    return await service.ask(Request("POST", "http", "engine", path, headers, body), seconds=600)


def processes_mentioning(text: str) -> list[int]:
    """The ids of all processes with `text` in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and text.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found
