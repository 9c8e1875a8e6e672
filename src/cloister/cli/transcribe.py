"""`cloister transcribe`: speech files to text, each through the whole chain."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import msgspec

from cloister.cli.at_file import TextOrFile
from cloister.cli.client_options import privacy_option, service, service_options
from cloister.cli.exit_codes import pointer, worst
from cloister.cli.failure import show
from cloister.cli.terminal import printable, say_result
from cloister.cli.transcript_files import SUFFIXES, Output
from cloister.cli.transcription_batch import Batch, Done, Failed, may_be_sent
from cloister.cli.transfer_progress import TransferProgress
from cloister.client.transcription import RESPONSE_FORMATS, ResponseFormat, Wishes
from cloister.errors import UsageError

EPILOG = """\b
Examples:
  cloister transcribe speech.wav
  cloister transcribe monday.mp3 tuesday.ogg > week.txt
  cloister transcribe --response-format srt --output-dir subtitles *.mp4
  cloister transcribe --prompt @names.txt --language en interview.m4a
  cloister transcribe --receipt-dir receipts speech.wav
  cloister receipt verify receipts/speech.wav.receipt \\
      --request speech.wav --response receipts/speech.wav.response.json

With --stream words are printed before the whole answer is proved: they count when the command ends with 0.

A file has at most 25 MiB and 30 minutes of speech; wav, mp3, ogg, flac, m4a and webm are read, among others. A text
is printed only when the receipt of the answer has been examined. A file that fails is named and does not stop the
others; texts come in the order of the files, and the exit code is that of the worst.
"""


def wishes_options(command: Any) -> Any:
    """The options that the API has by the same names."""
    options = (
        click.option("--model", default="whisper-1", show_default=True, metavar="NAME", help="The model."),
        click.option(
            "--response-format",
            type=click.Choice(RESPONSE_FORMATS),
            metavar="FORMAT",
            help="The answer as the API gives it: json, text, srt, vtt or verbose_json.  [default: the words alone]",
        ),
        click.option("--language", default="", metavar="CODE", help="The language spoken, as en."),
        click.option(
            "--prompt",
            type=TextOrFile(),
            default="",
            metavar="TEXT|@FILE",
            help="Words that are likely to come. Other users of this machine see TEXT, not what is in FILE.",
        ),
        click.option(
            "--temperature",
            type=click.FloatRange(0, 1),
            metavar="0..1",
            help="How freely the model may choose words.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def place_options(command: Any) -> Any:
    """The options that say what is kept, and where."""
    options = (
        click.option(
            "--output-dir",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="Write each text there, as NAME.txt, .srt, .vtt or .json, instead of printing it.",
        ),
        click.option("--force", is_flag=True, help="Replace files that are in the output folder already."),
        click.option("--receipts", is_flag=True, help="Keep each answer and its receipt in the state folder."),
        click.option(
            "--receipt-dir",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="Keep them there, as NAME.response.json and NAME.receipt; none is ever replaced.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(epilog=EPILOG)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@wishes_options
@place_options
@click.option("--stream", is_flag=True, help="Have the words as they are recognised, and print those of one file so.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 16),
    default=2,
    metavar="N",
    help="Files sent at the same time, 1 to 16.  [default: 2]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a file, a line each; errors, too.")
@privacy_option
@service_options
def transcribe(files: Sequence[Path], *, jobs: int, as_json: bool, **options: Any) -> int:
    """Turn speech into text: encrypted here, opened only in code that was examined first."""
    wishes, words_alone = _wishes(options)
    output = _output(files, options, "text" if words_alone else wishes.response_format)
    kept, state = options.pop("receipt_dir"), options["state"]
    receipts = state.receipts if options.pop("receipts") and kept is None else kept
    privacy = options.pop("privacy")
    target = replace(service(**options), privacy=privacy)
    printer = _Words() if wishes.stream and output is None and not as_json and len(files) == 1 else None
    show_one = _show_json if as_json else _Printed(len(files) > 1, words_alone, printer).show
    progress = TransferProgress(hidden=printer is not None)

    async def main() -> int:
        codes = []
        async with target.session() as session:
            if any(map(may_be_sent, files)):
                await session.hold()  # a service that is refused is so for all files: that is said once
            batch = Batch(session, wishes, words_alone, receipts, output, progress, printer)
            with progress.showing():
                async for one in batch.results(files, jobs=jobs):
                    with progress.aside():
                        show_one(one)
                    codes.append(one.error.exit_code if isinstance(one, Failed) else 0)
        return worst(codes)

    code = asyncio.run(main())
    if code:
        click.echo(f"  {pointer(code)}", err=True)
    return code


def _wishes(options: dict[str, Any]) -> tuple[Wishes, bool]:
    """What is wanted of the service, and whether only the words of it are shown."""
    chosen: ResponseFormat | None = options.pop("response_format")
    names = ("model", "language", "prompt", "temperature", "stream")
    if chosen is not None and options["stream"]:
        raise UsageError("--stream gives the words as they come; --response-format is for answers that come whole")
    return Wishes(response_format=chosen or "json", **{name: options.pop(name) for name in names}), chosen is None


def _output(files: Sequence[Path], options: dict[str, Any], response_format: ResponseFormat) -> Output | None:
    folder, force = options.pop("output_dir"), options.pop("force")
    if folder is None:
        return None
    output = Output(folder, SUFFIXES[response_format], force)
    output.check(files)
    return output


class _Words:
    """Prints words as they come."""

    def __init__(self) -> None:
        self.printed = False

    def sent(self, done: int, total: int) -> None:
        pass

    def waits(self, seconds: float) -> None:
        pass

    def reached(self, seconds: float, duration: float) -> None:
        pass

    def heard(self, words: str) -> None:
        self.printed = True
        click.echo(printable(words) if sys.stdout.isatty() else words, nl=False)


@dataclass(frozen=True, slots=True)
class _Printed:
    """Results for a person."""

    several: bool
    words_alone: bool
    printer: _Words | None

    def show(self, one: Done | Failed) -> None:
        printed = self.printer is not None and self.printer.printed
        if printed:
            click.echo()
        if isinstance(one, Failed):
            show(one.error, about=str(one.file))
            if printed:
                click.echo("  the words above are not proved: do not use them", err=True)
        elif one.output is not None:
            say_result(f"{one.file}: {one.output}")
        elif self.words_alone and not printed:
            say_result(f"{one.file}: {one.text}" if self.several else one.text)
        elif not self.words_alone:
            say_result(f"==> {one.file} <==\n{one.text.rstrip()}\n" if self.several else one.text.rstrip())


def _show_json(one: Done | Failed) -> None:
    line: dict[str, object] = {"file": str(one.file)}
    if isinstance(one, Failed):
        show(one.error, about=str(one.file))
        line |= {"error": str(one.error), "exit_code": one.error.exit_code, "retry": one.error.retry}
    else:
        line |= {"text": one.text, "output": None if one.output is None else str(one.output)}
        line |= {"receipt": None, "response": None}
        if one.kept is not None:
            line |= {"receipt": str(one.kept.receipt), "response": str(one.kept.response)}
    click.echo(msgspec.json.encode(line).decode())
