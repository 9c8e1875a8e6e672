"""`cloister secret list`: what is deposited, granted and used, as the log has it."""

from __future__ import annotations

import time

import click
import msgspec

from cloister.cli.contract_log import json_option
from cloister.cli.explained.contract_words import moment
from cloister.cli.line_access import LineAccess, line_access
from cloister.cli.terminal import say, say_json
from cloister.contract.custody_records import DepositRecord
from cloister.contract.state import ContractLine
from cloister.formats.contract import Asset

EPILOG = """\b
Examples:
  cloister secret list
  cloister secret list --json | jq -r '.[] | select(.standing != "deposited") | .asset'

The log is fetched whole and examined as a KMS examines it. No secret is in it, nor its length.
"""


class SaidSecret(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints of each asset."""

    asset: str
    kind: str
    owner: str
    recovery: str
    standing: str  # deposited, or why nothing can be given
    number: int
    root: int
    expires: str
    used: int
    granted: int | str  # uses, or none


@click.command(name="list", epilog=EPILOG)
@json_option
@line_access
def list_(line: LineAccess, *, as_json: bool) -> None:
    """Say of every asset of the contract in force whether it is deposited, until when, and how often it was used."""
    now = int(time.time())  # noqa: TID251 - a person asks now
    held = line.of(line.fetched().replayed.state)
    said = [_said(held, asset, now) for asset in held.current.assets]
    if as_json:
        say_json(said)
        return
    for one in said:
        until = f", until {one.expires}" if one.expires else ""
        say(f"{one.asset} ({one.kind} of {one.owner}): {one.standing}{until}")
        say(f"  used {one.used} times, {one.granted} granted; recovered by {one.recovery}")


def _said(line: ContractLine, asset: Asset, now: int) -> SaidSecret:
    deposit = line.custody.deposits.get(asset.name)
    task = line.current.serving.name
    grant = next((one for one in line.current.grants if (one.asset, one.task) == (asset.name, task)), None)
    return SaidSecret(
        asset=asset.name,
        kind=asset.kind,
        owner=asset.owner,
        recovery=asset.recovery,
        standing=_standing(line, deposit, now),
        number=deposit.deposit.terms.number if deposit else 0,
        root=deposit.deposit.terms.generation if deposit else 0,
        expires=moment(deposit.deposit.terms.expires) if deposit else "",
        used=line.custody.uses.get((asset.name, task), 0),
        granted=grant.uses if grant else "none",
    )


def _standing(line: ContractLine, deposit: DepositRecord | None, now: int) -> str:
    if deposit is None:
        return "not deposited"
    terms = deposit.deposit.terms
    if deposit.placed.digest in line.revoked:
        return "revoked"
    if terms.generation <= line.custody.retired:
        return f"root {terms.generation} is retired"
    if terms.under != "line" and line.digest not in terms.under:
        return "deposited for another version of the contract"
    return "expired" if terms.expires <= now else "deposited"
