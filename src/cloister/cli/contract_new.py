"""`cloister contract new` and `amend`: a contract to begin from, and the successor of one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click

from cloister.cli.contract_files import contract_argument, read_contract, read_file
from cloister.cli.contract_model import model_option, with_model
from cloister.cli.state_folder import StateFolder, state_option
from cloister.contract.draft import DraftTerms, comment_of, draft_contract, successor_of
from cloister.errors import MalformedInput, UsageError
from cloister.formats.constitution import parse_constitution
from cloister.formats.contract import Party
from cloister.formats.contract_file import format_contract_file, parse_party_file
from cloister.formats.record_file import no_comment
from cloister.ledger.statements import open_statement
from cloister.node.entries_file import read_entries
from cloister.sealing.artifact import open_artifact

DAY = 86_400
NEW_EPILOG = """\b
Examples:
  cloister contract new --party hospital/party.toml --party vendor/party.toml >contract.toml
  cloister contract new --constitution constitution.entries --name "Screening" --party … >contract.toml
  cloister contract new --model ./sealed --party … >contract.toml      names the sealed model that it is about

It denies by default: nothing is granted, no code is named, and what is empty is filled in by its owner. cloister
contract check says what is still open.
"""
AMEND_EPILOG = """\b
Examples:
  cloister contract amend contract.signed >next.toml       change what is to change, then sign it
  cloister contract sign next.toml --key vendor/sign.seed

CONTRACT is the one in force. Its successor is a proposal with the first signature of a party that has a say, and in
force by the rules of change of the one before.
"""


@click.command(epilog=NEW_EPILOG)
@click.option("--name", default="a contract", show_default=True, metavar="TEXT", help="What people call it.")
@click.option(
    "--party",
    "party_files",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    required=True,
    metavar="FILE",
    help="A party's file; again for each.",
)
@click.option(
    "--constitution",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The entries of the KMS's constitution.  [default: the local system's]",
)
@click.option("--days", type=click.IntRange(1, 3660), default=365, show_default=True, help="That it is in force.")
@model_option
@state_option
def new(
    name: str,
    party_files: tuple[Path, ...],
    *,
    constitution: Path | None,
    days: int,
    model: Path | None,
    state: StateFolder,
) -> None:
    """Print a contract among these parties, commented, in which everything is still to be granted."""
    now = int(time.time())  # noqa: TID251 - a person writes it now
    terms = DraftTerms(
        name=name,
        constitution=_genesis(constitution, state),
        parties=tuple(_parties(party_files)),
        not_before=now - now % DAY,
        not_after=now - now % DAY + days * DAY,
    )
    draft = draft_contract(terms)
    if model is not None:
        draft = with_model(draft, open_artifact(model))
    click.echo(format_contract_file(draft, comment=comment_of), nl=False)


@click.command(epilog=AMEND_EPILOG)
@contract_argument
def amend(path: Path) -> None:
    """Print the successor of CONTRACT, the same but for its number and what it follows."""
    click.echo(format_contract_file(successor_of(read_contract(path).contract), comment=no_comment), nl=False)


def _parties(files: Sequence[Path]) -> list[Party]:
    found: list[Party] = []
    for path in files:
        try:
            found += parse_party_file(read_file(path)).parties
        except MalformedInput as error:
            raise MalformedInput(f"{path}: {error}") from error
    names = [one.name for one in found]
    if len(set(names)) != len(names):
        raise UsageError(f"two parties have one name: {', '.join(sorted(names))}")
    return found


def _genesis(path: Path | None, state: StateFolder) -> bytes:
    """The digest of the first constitution, 32 bytes."""
    named = state.constitutions if path is None else path
    if path is None and not named.exists():
        raise UsageError(
            "name the KMS by its constitution: --constitution FILE, the entries that its operator gives out"
        )
    statement = open_statement(read_entries(named)[0])
    if statement.kind != "constitution":
        raise UsageError(f"{named} begins with a {statement.kind}, not with a constitution")
    return parse_constitution(statement.payload).digest()
