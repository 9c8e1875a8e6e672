"""`cloister contract show` and `check`: what a contract says, and whether it is one."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.text import Text

from cloister.cli.chain import console
from cloister.cli.contract_files import ReadContract, contract_argument, read_contract, require_form
from cloister.cli.contract_model import model_option
from cloister.cli.explained.contract_words import PARTS, SaidContract, SaidLine, differences, explain_contract
from cloister.cli.terminal import printable, say_json
from cloister.contract.draft import still_open
from cloister.contract.task_assets import wanted_assets
from cloister.formats.appraisal_policy import named_verifiers
from cloister.formats.contract import Contract
from cloister.formats.contract_verifier import title_of
from cloister.sealing.artifact import open_artifact

MARKS = {"agreed": (" ", ""), "enforced": ("✓", "green"), "promise": ("~", "yellow")}
SHOW_EPILOG = """\b
Examples:
  cloister contract show contract.toml
  cloister contract show contract.signed --json | jq .terms
  cloister contract show next.toml --since contract.signed

CONTRACT is TOML, a signed contract, or the entries of a whole line, of which it is the last. ✓ stands before what is
enforced by checks, ~ before what is promised and nothing enforces.
"""
CHECK_EPILOG = """\b
Examples:
  cloister contract check contract.toml
  cloister contract check contract.signed --json | jq -r '.open[]'
  cloister contract check contract.signed --model ./sealed      and that its task may use this sealed model

Exit code 2 for a file that is no contract, with the key and its line; 3 for one that breaks a rule of its form, or
whose task may not use the model. What is
still open is said, and is no error: a contract that leaves it open lets nothing be done.
"""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What `check --json` prints."""

    name: str
    digest: str
    open: tuple[str, ...]
    promises: tuple[str, ...]
    unsafe: tuple[str, ...]
    verifiers: tuple[str, ...]  # whose word counts in place of evidence
    not_signed_by: tuple[str, ...]


@click.command(epilog=SHOW_EPILOG)
@contract_argument
@click.option(
    "--since",
    "before",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="BEFORE",
    help="Say what is otherwise than in this contract.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show(path: Path, before: Path | None, *, as_json: bool) -> None:
    """Say in sentences what CONTRACT says."""
    found = read_contract(path)
    said = explain_contract(found.contract)
    if before is not None:
        _show_differences(differences(explain_contract(read_contract(before).contract), said), as_json=as_json)
    elif as_json:
        say_json(said)
    else:
        _show(console(), said, found)


@click.command(epilog=CHECK_EPILOG)
@contract_argument
@model_option
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def check(path: Path, *, model: Path | None, as_json: bool) -> None:
    """Check that CONTRACT is well-formed, and say what it leaves open, promises and excepts."""
    found = read_contract(path)
    require_form(found.contract)
    if model is not None:
        wanted_assets(found.contract, found.contract.serving.name, open_artifact(model).digest)
    said = _checked(found.contract, found)
    if as_json:
        say_json(said)
        return
    out = console()
    out.print(f"{printable(said.name)} is well-formed; its digest is {said.digest}")
    rows = {
        "still open": said.open,
        "a promise, which nothing enforces": said.promises,
        "an exception": said.unsafe,
        "whose word counts in place of evidence": said.verifiers,
        "not signed by": said.not_signed_by,
    }
    for what, ones in rows.items():
        for one in ones:
            out.print(f"  {what}: {printable(one)}")


def _checked(contract: Contract, found: ReadContract) -> Checked:
    return Checked(
        name=contract.name,
        digest=contract.digest().hex(),
        open=tuple(still_open(contract)),
        promises=tuple(term.text for term in contract.terms if not term.checks),
        unsafe=tuple(contract.appraisal.unsafe),
        verifiers=tuple(map(title_of, named_verifiers(contract.appraisal))),
        not_signed_by=tuple(found.unsigned),
    )


def _show(out: Console, said: SaidContract, found: ReadContract) -> None:
    number = "the first of its line" if said.sequence == 0 else f"number {said.sequence} of its line"
    out.print(Text(printable(said.name), style="bold") + Text(f", {number}"))
    out.print(f"  in force {said.validity}" + (", on one machine alone" if said.local else ""))
    out.print(f"  digest {said.digest}\n  under the KMS whose first constitution is {said.constitution}")
    for flag in said.unsafe:
        out.print(Text(f"  ! {flag}", style="bold red"))
    for one in said.verifiers:
        out.print(Text(f"  ! the word of {printable(one)} counts in place of evidence", style="bold red"))
    for part in PARTS:
        lines: tuple[SaidLine, ...] = getattr(said, part)
        out.print(Text(f"\n{part.capitalize()}", style="bold"))
        _lines(out, lines)
        if not lines:
            out.print("    none")
    unsigned = printable(", ".join(found.unsigned))
    out.print(f"\nnot signed yet by {unsigned}" if unsigned else "\nsigned by every party of its own")


def _show_differences(lines: tuple[SaidLine, ...], *, as_json: bool) -> None:
    if as_json:
        say_json(lines)
        return
    out = console()
    _lines(out, lines)
    if not lines:
        out.print("nothing of what people agree on is otherwise")


def _lines(out: Console, lines: tuple[SaidLine, ...]) -> None:
    for line in lines:
        mark, style = MARKS[line.held]
        out.print(Text("  ") + Text(mark, style=style) + Text(f" {printable(line.subject)}: {printable(line.says)}"))
