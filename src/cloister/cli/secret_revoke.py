"""`cloister secret revoke`: an owner takes its deposit back."""

from __future__ import annotations

from pathlib import Path

import click

from cloister.cli.contract_log import json_option, key_option
from cloister.cli.line_access import LineAccess, line_access
from cloister.errors import UsageError
from cloister.formats.release import Revocation
from cloister.ledger.statements import sign_statement
from cloister.storage.key_file import read_signing_key

EPILOG = """\b
Examples:
  cloister secret revoke api-token --reason "it was in a screenshot" --key hospital/sign.seed
  cloister secret put new.txt --asset api-token --key hospital/sign.seed      and the next takes its place

No node is given it from here on. What nodes hold already they keep until they end: change the secret where it is used,
too.
"""


@click.command(epilog=EPILOG)
@click.argument("asset", metavar="ASSET")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is in the log for good.")
@key_option
@json_option
@line_access
def revoke(asset: str, line: LineAccess, *, reason: str, key: Path, as_json: bool) -> None:
    """Take back what is deposited as ASSET."""
    found = line.of(line.fetched().replayed.state).custody.deposits.get(asset)
    if found is None:
        raise UsageError(f"nothing is deposited as {asset}: cloister secret list says what is")
    said = Revocation(contract=line.digest, target=found.placed.digest, reason=reason)
    entry = sign_statement("revocation", said, (read_signing_key(key),))
    line.log(entry, f"{asset}, number {found.deposit.terms.number}, is given to no node again", as_json=as_json)
