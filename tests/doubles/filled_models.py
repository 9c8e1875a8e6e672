"""Models that are filled into sandboxes: whole ones, and ones whose opening goes wrong in the middle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cloister.sandbox.model import FileTarget


@dataclass(frozen=True)
class MemoryModel:
    """A model of these files; `midway` is called when the first half of its files is written."""

    contents: Mapping[str, bytes]
    midway: Callable[[], object] = lambda: None
    opened: threading.Event = field(default_factory=threading.Event)

    @property
    def files(self) -> Sequence[tuple[str, int]]:
        return [(path, len(content)) for path, content in self.contents.items()]

    def open_into(self, targets: Iterator[FileTarget]) -> None:
        half = (len(self.contents) + 1) // 2
        for number, (content, target) in enumerate(zip(self.contents.values(), targets, strict=True), 1):
            target.write(0, memoryview(content))
            target.filled()
            if number == half:
                self.opened.set()
                self.midway()
