"""`cloister transcribe`: speech files to text, each through the whole chain."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from cloister.cli.client_options import service, service_options
from cloister.cli.state_folder import StateFolder
from cloister.cli.terminal import say_result
from cloister.client.durable import replace_file
from cloister.client.receipts import SUFFIX, store_receipt
from cloister.client.session import Answer, Session
from cloister.client.transcription import MAXIMUM_FILE, transcribed_text, transcription_request
from cloister.errors import TooLarge, UsageError

RESPONSE_SUFFIX = ".response.json"
EPILOG = """\b
Examples:
  cloister transcribe speech.wav
  cloister transcribe --receipt-dir receipts monday.mp3 tuesday.ogg
  cloister receipt verify receipts/monday.mp3.receipt \\
      --request monday.mp3 --response receipts/monday.mp3.response.json

A file has at most 25 MiB and 30 minutes of speech; wav, mp3, ogg, flac, m4a and webm are read, among others. The text
is printed only when the receipt of the answer has been examined.
"""


@click.command(epilog=EPILOG)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--receipt-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep each answer and its receipt there, as NAME.response.json and NAME.receipt.",
)
@click.option("--model", default="whisper-1", show_default=True, metavar="NAME", help="The model, by the API's name.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a file, a line each.")
@service_options
def transcribe(
    files: Sequence[Path], *, receipt_dir: Path | None, model: str, as_json: bool, **options: Path | StateFolder | None
) -> None:
    """Turn speech into text: encrypted here, opened only in code that was examined first."""
    target = service(**options)  # type: ignore[arg-type]  # click gives each its own type

    async def main() -> None:
        async with target.session() as session:
            for file in files:
                await _one(session, file, model=model, receipts=receipt_dir, as_json=as_json, named=len(files) > 1)

    asyncio.run(main())


async def _one(session: Session, file: Path, *, model: str, receipts: Path | None, as_json: bool, named: bool) -> None:
    answer = await session.send(transcription_request(audio_in(file), model=model))
    kept = None if receipts is None else keep(answer, receipts, file.name)
    text = transcribed_text(answer.response)
    if as_json:
        line = {"file": str(file), "text": text, "receipt": None if kept is None else str(kept)}
        click.echo(msgspec.json.encode(line).decode())
    else:
        say_result(f"{file}: {text}" if named else text)


def audio_in(file: Path) -> bytes:
    """The bytes of a file of at most 25 MiB; a larger one is not read.

    Raises:
        TooLarge: it is larger.
        UsageError: it cannot be read.
    """
    try:
        size = file.stat().st_size
        if size > MAXIMUM_FILE:
            raise TooLarge(f"{file} has {size} bytes, at most {MAXIMUM_FILE} (25 MiB) are taken: cut or compress it")
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error


def keep(answer: Answer, folder: Path, name: str) -> Path:
    """Keep the answer's bytes and its receipt, which is verified against them later; the receipt's path.

    Raises:
        UsageError: the folder cannot be written.
    """
    name = _unused(folder, name)
    path = store_receipt(folder, answer.receipt, name=name)
    try:
        replace_file(folder / (name + RESPONSE_SUFFIX), answer.response.body)
    except OSError as error:
        raise UsageError(f"the answer cannot be kept in {folder}: {error.strerror}") from error
    return path


def _unused(folder: Path, name: str) -> str:
    """`name`, or with a number behind it: a receipt kept before is never replaced."""
    names = itertools.chain((name,), (f"{name}-{number}" for number in itertools.count(2)))
    return next(one for one in names if not (folder / (one + SUFFIX)).exists())
