"""`cloister section new`: a section to begin from, in a file that is its persona's alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

import click

from cloister.cli.section_files import PLAIN, read_file
from cloister.cli.terminal import say
from cloister.errors import UsageError
from cloister.formats.contract import SectionKind
from cloister.formats.section import MAXIMUM_SECTION, Section, encode_section
from cloister.formats.section_file import format_section_file, parse_section_file
from cloister.storage.key_file import write_secret

COMMENTS: Final = {
    "kind": "workload (a model owner's), environment (an operator's) or secrets (any party's).",
    "persona": "The party that writes it, as the contract calls it.",
    "variables": 'NAME = "value". No other section may define the same names.',
    "text_files": '"path/of/file" = """its text""". Paths are relative, and as much your own as names are.',
    "binary_files": '"path/of/file" = "hexadecimal digits".',
}
EPILOG = """\b
Examples:
  cloister section new workload --persona "Models Ltd" --out workload.toml
  cloister section new secrets --persona "The Hospital" --file tls/ca.pem=/etc/ssl/hospital.pem --out hospital.toml

The file is readable by its owner alone (mode 600), and stays on this machine: cloister section seal makes the one to
give away.
"""


@click.command(epilog=EPILOG)
@click.argument("kind", metavar="KIND", type=click.Choice(get_args(SectionKind)))
@click.option("--persona", required=True, metavar="PARTY", help="Whose section it is, as the contract calls it.")
@click.option("--file", "files", multiple=True, metavar="PATH=SOURCE", help="A file to put in; again for each.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where it goes; never over another file.  [default: KIND.toml]",
)
def new(kind: SectionKind, *, persona: str, files: tuple[str, ...], out: Path | None) -> None:
    """Write a section of KIND: workload, environment or secrets."""
    section = Section(kind=kind, persona=persona, variables={}, files=dict(map(_file, files)))
    encode_section(section)
    text = format_section_file(section, comment=comment_of)
    parse_section_file(text)  # whether the names and paths are ones
    target = Path(f"{kind}.toml") if out is None else out
    write_secret(target, text, what=PLAIN)
    say(f"{target}: fill it in, then cloister section seal {target} --key KEY")


def comment_of(path: Sequence[str]) -> str:
    """The words above a key of a new section."""
    return COMMENTS.get(path[0], "") if len(path) == 1 else ""


def _file(written: str) -> tuple[str, bytes]:
    path, equals, source = written.partition("=")
    if not equals:
        raise UsageError(f"--file {written}: the path in the section, =, and the file to take it from")
    return path, read_file(Path(source), limit=MAXIMUM_SECTION)
