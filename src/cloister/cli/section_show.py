"""`cloister section show`: what is in a section, or what a sealed one is for; names and sizes, no values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import click
import msgspec

from cloister.cli.contract_log import json_option
from cloister.cli.section_files import is_sealed, read_sealed, read_section
from cloister.cli.terminal import say, say_json
from cloister.formats.section import encode_section

EPILOG = """\b
Examples:
  cloister section show workload.toml          checks it as well; names and sizes, no values
  cloister section show workload.sealed        what it is for, and by which key; nobody here can open it

Exit code 2 for a file that is neither, with the line of the key that is wrong.
"""


class PlainSaid(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints of a section in the clear."""

    kind: str
    persona: str
    bytes: int  # sealed, without what the seal adds
    variables: Mapping[str, int]  # characters
    files: Mapping[str, int]  # bytes


class SealedSaid(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints of a sealed one."""

    contract: str  # the line
    asset: str
    number: int
    root: int
    task: str
    workloads: tuple[str, ...] | Literal["task"]
    under: tuple[str, ...] | Literal["line"]
    expires: int
    signed: str  # by which key


@click.command(epilog=EPILOG)
@click.argument("path", metavar="SECTION", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def show(path: Path, *, as_json: bool) -> None:
    """Check SECTION and say what is in it, or what it is for where it is sealed."""
    said = sealed_said(path) if is_sealed(path) else plain_said(path)
    if as_json:
        say_json(said)
    elif isinstance(said, PlainSaid):
        _show_plain(said)
    else:
        _show_sealed(said)


def plain_said(path: Path) -> PlainSaid:
    """A section in the clear, without its values; raises as `read_section`."""
    section = read_section(path)
    return PlainSaid(
        kind=section.kind,
        persona=section.persona,
        bytes=len(encode_section(section)),
        variables={name: len(value) for name, value in section.variables.items()},
        files={name: len(content) for name, content in section.files.items()},
    )


def sealed_said(path: Path) -> SealedSaid:
    """The terms of a sealed one; raises as `read_sealed`."""
    _, deposit, statement = read_sealed(path)
    terms = deposit.terms
    return SealedSaid(
        contract=terms.contract.hex(),
        asset=terms.asset,
        number=terms.number,
        root=terms.generation,
        task=terms.task,
        workloads="task" if terms.workloads == "task" else tuple(one.hex() for one in terms.workloads),
        under="line" if terms.under == "line" else tuple(one.hex() for one in terms.under),
        expires=terms.expires,
        signed=", ".join(sorted(key.hex() for key in statement.signers)),
    )


def _show_plain(said: PlainSaid) -> None:
    say(f"a {said.kind} section of {said.persona}, {said.bytes} bytes")
    for name, size in said.variables.items():
        say(f"  variable {name}: {size} characters")
    for name, size in said.files.items():
        say(f"  file {name}: {size} bytes")


def _show_sealed(said: SealedSaid) -> None:
    versions = "every version of it" if said.under == "line" else ", ".join(said.under)
    code = "any that the contract names" if said.workloads == "task" else ", ".join(said.workloads)
    say(f"{said.asset}, number {said.number}, sealed under root {said.root}")
    say(f"  contract line {said.contract}, under {versions}")
    say(f"  task {said.task}, workloads {code}")
    say(f"  until {datetime.fromtimestamp(said.expires, UTC):%Y-%m-%d %H:%M} UTC, signed by {said.signed}")
