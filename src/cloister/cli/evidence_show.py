"""`cloister evidence show`: every field of a piece of evidence, explained, for a person or a program to read."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.text import Text

from cloister.cli.chain import console
from cloister.cli.evidence_file import read_evidence
from cloister.cli.explained.formats import FORMATS, MAXIMUM_FILE, UnknownFormat, explain
from cloister.cli.explained.page import Page, Part
from cloister.cli.terminal import printable

NOT_VERIFIED: Final = "not verified: this is what the file says; cloister evidence verify finds out whether it is true"
UNSIGNED: Final = "NOT SIGNED: anyone can have written this"
_FORMATS: Final = "\n".join(f"  {one.what}" for one in FORMATS)
EPILOG: Final = f"""\b
Examples:
  cloister evidence show report.bin
  cat /sys/kernel/config/tsm/report/r0/outblob | cloister evidence show -
  cloister evidence show --json quote.bin | jq -r '.parts[].fields[] | select(.name == "mr_td").value'

\b
Formats, found out by what is in the file:
{_FORMATS}

Names of fields in the JSON are stable; sentences may be reworded. Bytes are hexadecimal, as policies have them.
"""


@click.command(epilog=EPILOG, short_help="Say what a file of evidence says; nothing of it is checked.")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show(path: Path, *, as_json: bool) -> None:
    """Show every field of the evidence in FILE (- for standard input), each with a sentence about it.

    Who signs a part stands above it, and what nobody signs is marked. Nothing is verified and nothing is fetched.
    """
    data = read_evidence(path, limit=MAXIMUM_FILE)
    try:
        page = explain(data)
    except UnknownFormat as error:
        raise UnknownFormat(f"{path}: {error}") from error
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report(page))).decode())
        return
    show_page(console(), page)


def report(page: Page) -> dict[str, object]:
    """The page as JSON has it."""
    return {"format": page.format, "title": page.title, "verified": False, "parts": page.parts}


def show_page(out: Console, page: Page) -> None:
    """The page for a person."""
    out.print(Text(page.title, style="bold"))
    out.print(NOT_VERIFIED)
    for part in page.parts:
        _show_part(out, part)


def _show_part(out: Console, part: Part) -> None:
    out.print(Text(f"\n{printable(part.title)}", style="bold"))
    if part.signed_by is None:
        out.print(Text(f"  {UNSIGNED}", style="bold red"))
    else:
        out.print(f"  signed by {printable(part.signed_by)}")
    width = max((len(field.name) for field in part.fields), default=0)
    for field in part.fields:
        out.print(Text(f"  {printable(field.name):<{width}}  {_shown(field.value)}"))
        out.print(Text(f"  {'':<{width}}  {printable(field.says)}", style="dim"))


def _shown(value: str | int | bool | None) -> str:
    """The value in a line; nothing is a word of its own, since emptiness would be overlooked."""
    if value is None:
        return "not said"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value)) or "empty"
