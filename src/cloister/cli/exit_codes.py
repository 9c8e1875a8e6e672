"""What each exit code means, and where its page is. The codes themselves stand at the errors (cloister.errors)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

INTERRUPTED: Final = 130
FOLDER: Final = "docs/exit-codes"


class ExitCode(NamedTuple):
    """One code, in a word and a sentence."""

    code: int
    name: str
    says: str

    @property
    def page(self) -> str:
        """The file that explains it."""
        return f"{FOLDER}/{self.code}-{self.name}.md"


EXIT_CODES: Final = (
    ExitCode(0, "done", "done"),
    ExitCode(1, "fault", "a fault of ours, or of this machine"),
    ExitCode(2, "usage", "wrong usage: the sentence says what would be right"),
    ExitCode(3, "refused", "refused by a check: it names the check"),
    ExitCode(4, "unavailable", "something that is needed does not answer now: try again"),
    ExitCode(INTERRUPTED, "interrupted", "ended by ctrl-C"),
)
_WORSE: Final = (0, 4, 2, 1, 3)


def table() -> str:
    """The codes as lines of help."""
    return "\n".join(f"  {one.code:<5}{one.says}" for one in EXIT_CODES)


def worst(codes: Iterable[int]) -> int:
    """Of several codes the one that counts: a refusal before a fault of ours, wrong usage, what may be tried again."""
    return max(codes, key=_WORSE.index, default=0)


def pointer(code: int) -> str:
    """The line under an error that names the page of its exit code."""
    one = next(one for one in EXIT_CODES if one.code == code)
    return f"exit code {one.code}, {one.name}: {one.page}"
