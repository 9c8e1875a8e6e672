"""How much an engine may use: what a profile's limits are made from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from cloister.sandbox.profile import MIB

_GRAIN = 64 * 1024  # bytes; no machine has larger pages, and a file takes whole ones


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes, counts, seconds. `memory_bytes` is the cap for all, `model_bytes` and `scratch_bytes` included."""

    memory_bytes: int = 1024 * MIB
    tasks: int = 32
    open_files: int = 64  # of each process
    scratch_bytes: int = 64 * MIB
    model_bytes: int = 0  # the place for a model's files, at /model
    model_copies: int = 0  # how often an engine has a model's weights in memory, beside the files
    request_seconds: int = 600  # how long one request may take

    def holding(self, files: Iterable[tuple[str, int]]) -> Sizes:
        """These, and the place and the memory for a model's files, each with its size in bytes."""
        needed = room_for(files)
        return replace(self, model_bytes=needed, memory_bytes=self.memory_bytes + needed * (1 + self.model_copies))


def room_for(files: Iterable[tuple[str, int]]) -> int:
    """How many bytes of memory hold `files`: whole pages for each, and whole MiB in all."""
    return -(-sum(-(-size // _GRAIN) * _GRAIN for _, size in files) // MIB) * MIB
