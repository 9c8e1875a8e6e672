"""`cloister secret grant`: the successor of a contract that lets its task use a secret. Grants are contract terms."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import click
import msgspec

from cloister.cli.contract_files import contract_argument, read_contract, require_form
from cloister.contract.custody_records import asset_named
from cloister.contract.draft import successor_of
from cloister.errors import UsageError
from cloister.formats.contract import Asset, Contract, Grant, SectionKind
from cloister.formats.contract_file import format_contract_file
from cloister.formats.record_file import no_comment

DAY = 86_400
EPILOG = """\b
Examples:
  cloister secret grant contract.signed --asset api-token --owner "The Hospital" --uses 100 >next.toml
  cloister secret grant contract.signed --asset api-token --uses unlimited --policy 'gpus.count == 0' >next.toml

CONTRACT is the one in force. What it prints differs in the grant, and in the asset where --owner brings a new one; it
is signed and logged like every successor (cloister contract sign, submit, vote), and in force by the rules of change.
Uses count on through all contracts of a line: 100 is 100 in all. To take a grant away, amend it out of the contract.
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options ask for."""

    asset: str
    owner: str | None
    section: SectionKind | Literal["none"]
    uses: int | Literal["unlimited"]
    until: int
    policy: tuple[str, ...]


@click.command(epilog=EPILOG)
@contract_argument
@click.option("--asset", required=True, metavar="NAME", help="The asset.")
@click.option("--owner", metavar="PARTY", help="Makes it a new secret of this party's.  [default: it is there already]")
@click.option(
    "--section",
    type=click.Choice(["none", *get_args(SectionKind)]),
    default="none",
    show_default=True,
    help="With --owner: it is this section of the task's.",
)
@click.option(
    "--uses",
    callback=lambda _context, _option, value: _uses(value),
    required=True,
    metavar="N|unlimited",
    help="Releases to nodes, in all.",
)
@click.option("--days", type=click.IntRange(1, 3660), default=365, show_default=True, help="That the grant holds.")
@click.option("--policy", multiple=True, metavar="EXPRESSION", help="What has to hold of the node's evidence; again.")
def grant(path: Path, *, days: int, **wanted: Any) -> None:
    """Print the successor of CONTRACT in which its task may use an asset."""
    until = int(time.time()) + days * DAY  # noqa: TID251 - a person grants it now
    contract = successor_of(read_contract(path).contract)
    granted = _granted(contract, Wanted(until=min(until, contract.not_after), **wanted))
    require_form(granted)
    click.echo(format_contract_file(granted, comment=no_comment), nl=False)


def _granted(contract: Contract, wanted: Wanted) -> Contract:
    assets = contract.assets
    if wanted.owner is not None:
        recovery: Literal["none", "custodians"] = "none" if contract.custody == "none" else "custodians"
        new = Asset(
            name=wanted.asset,
            kind="secret",
            digest=b"",
            owner=wanted.owner,
            recovery=recovery,
            section=wanted.section,
        )
        assets = (*assets, new)
    elif asset_named(contract, wanted.asset) is None:
        raise UsageError(f"the contract has no asset {wanted.asset}; --owner PARTY makes it a new secret of a party's")
    task = contract.serving.name
    grant = Grant(asset=wanted.asset, task=task, uses=wanted.uses, not_after=wanted.until, policy=wanted.policy)
    others = tuple(one for one in contract.grants if (one.asset, one.task) != (wanted.asset, task))
    return msgspec.structs.replace(contract, assets=assets, grants=(*others, grant))


def _uses(text: str) -> int | Literal["unlimited"]:
    if text == "unlimited":
        return "unlimited"
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--uses {text} is neither a number from 1 nor `unlimited`")
    return int(text)
