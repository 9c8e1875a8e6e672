"""Where `cloister transcribe` writes: transcripts into one folder, answers with their receipts into another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloister.cli.asked import Proved
from cloister.client.durable import create_file, replace_file
from cloister.client.receipts import keep_answer
from cloister.client.transcription import ResponseFormat
from cloister.errors import UsageError

SUFFIXES: Final[Mapping[ResponseFormat, str]] = {
    "json": ".json",
    "text": ".txt",
    "srt": ".srt",
    "vtt": ".vtt",
    "verbose_json": ".json",
}
STREAMED: Final = ".events"  # an answer that came as events


@dataclass(frozen=True, slots=True)
class Kept:
    """Where an answer and its receipt were kept."""

    receipt: Path
    response: Path


@dataclass(frozen=True, slots=True)
class Output:
    """The folder for transcripts, and whether files there may be replaced."""

    folder: Path
    suffix: str
    force: bool

    def path(self, file: Path) -> Path:
        """Where the transcript of `file` goes."""
        return self.folder / (file.stem + self.suffix)

    def check(self, files: Sequence[Path]) -> None:
        """Refuse, before anything is sent, what would end in a file that is there or in one twice.

        Raises:
            UsageError: names the files.
        """
        if not self.folder.is_dir():
            raise UsageError(f"there is no folder {self.folder}: make it, or name another with --output-dir")
        twice = [path for path, times in Counter(map(self.path, files)).items() if times > 1]
        if twice:
            both = ", ".join(str(file) for file in files if self.path(file) == twice[0])
            raise UsageError(f"{both} would all be written to {twice[0]}: rename them, or transcribe them apart")
        there = [] if self.force else [path for path in map(self.path, files) if path.exists()]
        if there:
            raise UsageError(f"{there[0]} is there already: --force replaces it, or name another --output-dir")

    def write(self, file: Path, text: bytes) -> Path:
        """Write the transcript of `file`, whole or not at all.

        Raises:
            UsageError: it cannot be written, or is there by now.
        """
        path = self.path(file)
        try:
            (replace_file if self.force else create_file)(path, text)
        except FileExistsError as error:
            raise UsageError(f"{path} was made by another meanwhile; it was left as it is") from error
        except OSError as error:
            raise UsageError(f"the transcript cannot be written to {path}: {error.strerror}") from error
        return path


def keep(proved: Proved, folder: Path, name: str, suffix: str) -> Kept:
    """Keep the answer's bytes and its receipt, which is verified against them later.

    Raises:
        UsageError: the folder cannot be written.
    """
    return Kept(*keep_answer(folder, proved.receipt, proved.response.body, name=name, suffix=f".response{suffix}"))
