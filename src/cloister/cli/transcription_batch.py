"""Sends several speech files, some at a time, and gives what became of each in the order in which they were named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloister.cli.transcript_files import Kept, Output, keep
from cloister.cli.transfer_progress import FileProgress, TransferProgress
from cloister.client.session import Answer, Session
from cloister.client.transcription import (
    MAXIMUM_FILE,
    ServiceBusy,
    Wishes,
    transcribed,
    transcribed_text,
    transcription_request,
)
from cloister.errors import CloisterError, TooLarge, UsageError

TRIES = 5  # of a request that the service had no room for


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
            answer = await self._ask(audio, progress)
        kept = None if self.receipts is None else keep(answer, self.receipts, file.name, self.wishes.response_format)
        body = transcribed(answer.response)
        text = transcribed_text(answer.response) if self.words_alone else body.decode(errors="replace")
        written = f"{text}\n".encode() if self.words_alone else body
        output = None if self.output is None else self.output.write(file, written)
        return Done(file, text, output, kept)

    async def _ask(self, audio: bytes, progress: FileProgress) -> Answer:
        """The proved answer; of a service that has no room, asked again when it says."""
        for left in reversed(range(TRIES)):
            answer = await self.session.send(transcription_request(audio, self.wishes), sent=progress.sent)
            try:
                transcribed(answer.response)
            except ServiceBusy as busy:
                if left:
                    progress.waits(busy.wait)
                    await asyncio.sleep(busy.wait)
                    continue
            except CloisterError:
                pass  # told when its receipt is kept: that an error came is proved, too
            break
        return answer


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
