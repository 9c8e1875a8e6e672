"""No engine's first process has memory that all its requests could write to: a library's own files are such."""

import mmap
import os
from pathlib import Path

import pytest
from tests.doubles.model_folders import FolderModel
from tests.doubles.sandboxes import staged
from tests.doubles.tiny_models import tiny_model

from cloister.sandbox.closure import SPEECH, TRANSFORMERS, WHISPER
from cloister.sandbox.escapes.launcher import descendants

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root sees the maps of a process that no dump may hold")


def shared_and_writable(process):
    try:
        maps = Path(f"/proc/{process}/maps").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # what served its last request has just ended
        return []
    return [line for line in maps if line.split()[1][1::2] == "ws"]


@pytest.mark.parametrize(("engine", "model"), [(SPEECH, None), (WHISPER, "whisper"), (TRANSFORMERS, "llama")])
async def test_an_engine_shares_no_memory_with_its_requests_that_they_could_write_to(engine, model):
    files = None if model is None else FolderModel(tiny_model(model))
    sizes = engine.sizes if files is None else engine.sizes.holding(files.files)
    with staged(engine, kept=True) as ready:
        async with ready.service(sizes, model=files) as service:
            (seat,) = service._seats
            processes = descendants(seat.engine.pid)
            assert len(processes) >= 2  # bubblewrap's within, and the engine
            assert [line for process in processes for line in shared_and_writable(process)] == []


def test_shared_memory_is_found_where_there_is_some():
    before = len(shared_and_writable("self"))
    with mmap.mmap(-1, mmap.PAGESIZE):
        assert len(shared_and_writable("self")) == before + 1
