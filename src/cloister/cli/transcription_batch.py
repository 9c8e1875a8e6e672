"""Sends several speech files, some at a time, and gives what became of each in the order in which they were named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloister.cli.asked import Watcher, ask
from cloister.cli.transcript_files import STREAMED, SUFFIXES, Kept, Output, keep
from cloister.cli.transfer_progress import TransferProgress
from cloister.client.session import Session
from cloister.client.transcription import MAXIMUM_FILE, Wishes, transcribed
from cloister.errors import CloisterError, TooLarge, UsageError


@dataclass(frozen=True, slots=True)
class Done:
    """A file's transcript, proved, and where it was put."""

    file: Path
    text: str  # as it is shown: the words alone, or the answer in the format that was asked for
    output: Path | None
    kept: Kept | None


@dataclass(frozen=True, slots=True)
class Failed:
    """A file that was not transcribed, and why."""

    file: Path
    error: CloisterError


@dataclass(frozen=True, slots=True)
class Batch:
    """How all files are handled.

    Args:
        words_alone: show the text of the answer, whose format then is `json`.
        receipts: the folder that answers and receipts are kept in; None keeps none.
        output: where transcripts are written; None writes none.
    """

    session: Session
    wishes: Wishes
    words_alone: bool
    receipts: Path | None
    output: Output | None
    progress: TransferProgress
    printer: Watcher | None = None  # of the words of one file, as they come; then there is no progress to show

    async def results(self, files: Sequence[Path], *, jobs: int) -> AsyncIterator[Done | Failed]:
        """What became of each, in order; `jobs` at a time are read and sent."""
        slots = asyncio.Semaphore(jobs)
        tasks = [asyncio.create_task(self._one(file, slots)) for file in files]
        try:
            for task in tasks:
                yield await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, file: Path, slots: asyncio.Semaphore) -> Done | Failed:
        async with slots:
            try:
                return await self._transcribed(file)
            except CloisterError as error:
                return Failed(file, error)

    async def _transcribed(self, file: Path) -> Done:
        audio = audio_in(file)
        with self.progress.of(file.name, len(audio)) as progress:
            proved = await ask(self.session, audio, self.wishes, self.printer or progress)
        suffix = STREAMED if self.wishes.stream else SUFFIXES[self.wishes.response_format]
        kept = None if self.receipts is None else keep(proved, self.receipts, file.name, suffix)
        text = proved.text() if self.words_alone else transcribed(proved.response).decode(errors="replace")
        written = f"{text}\n".encode() if self.words_alone else proved.response.body
        output = None if self.output is None else self.output.write(file, written)
        return Done(file, text, output, kept)


def may_be_sent(file: Path) -> bool:
    """Whether a file is there and not too large; what stands against it is said when its turn comes."""
    try:
        return 0 < file.stat().st_size <= MAXIMUM_FILE and not file.is_dir()
    except OSError:
        return False


def audio_in(file: Path) -> bytes:
    """The bytes of a file of at most 25 MiB; a larger one is not read.

    Raises:
        TooLarge: it is larger.
        UsageError: it cannot be read, or is empty.
    """
    try:
        size = file.stat().st_size
        if size > MAXIMUM_FILE:
            raise TooLarge(f"it has {size} bytes, at most {MAXIMUM_FILE} (25 MiB) are taken: cut or compress it")
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(f"it cannot be read: {error.strerror}") from error
    if not data:
        raise UsageError("it is empty")
    return data
