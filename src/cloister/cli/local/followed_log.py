"""What a system says that starts in the background, said here too, as it comes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cloister.cli.terminal import say

_ENDS = (b"ready in ", b"started in ", b"cloister: ")  # what is said from there on, the caller says in its own way


@dataclass(slots=True)
class FollowedLog:
    """The log in `path`, of which `at` bytes were said."""

    path: Path
    at: int = 0

    def follow(self) -> None:
        """Say each whole line that is new, up to the one by which it is started, or has failed."""
        for line in self._unsaid().splitlines(keepends=True):
            if line.startswith(_ENDS) or not line.endswith(b"\n"):
                return
            say(line.decode(errors="replace").rstrip("\n"))
            self.at += len(line)

    def rest(self) -> str:
        """All that was not said."""
        return self._unsaid().decode(errors="replace")

    def _unsaid(self) -> bytes:
        with self.path.open("rb") as log:
            log.seek(self.at)
            return log.read()
