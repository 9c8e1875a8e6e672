"""A folder of a model as what fills it into a sandbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloister.sandbox.model import FileTarget


@dataclass(frozen=True)
class FolderModel:
    """The files below a folder, in the clear: a `ModelSource` without a seal."""

    folder: Path

    @property
    def _paths(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    @property
    def files(self) -> Sequence[tuple[str, int]]:
        return [(str(path.relative_to(self.folder)), path.stat().st_size) for path in self._paths]

    def open_into(self, targets: Iterator[FileTarget]) -> None:
        for path, target in zip(self._paths, targets, strict=True):
            target.write(0, memoryview(path.read_bytes()))
            target.filled()
