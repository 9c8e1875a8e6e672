"""`cloister key rotate` and `retire`: a party's word on root secrets."""

from __future__ import annotations

from pathlib import Path

import click

from cloister.cli.contract_log import json_option, key_option
from cloister.cli.line_access import LineAccess, line_access
from cloister.errors import UsageError
from cloister.formats.custody import Retirement, Rotation
from cloister.ledger.statements import sign_statement
from cloister.storage.key_file import read_signing_key

ROTATE_EPILOG = """\b
Examples:
  cloister key rotate --reason "a custodian left" --key vendor/sign.seed
  cloister secret put token.txt --asset api-token --key hospital/sign.seed      then deposit anew under it

The KMS makes the next root secret as soon as it sees this, and shares it as the contract in force says. What is sealed
under those before stays in use until it is deposited anew and they are retired. It also ends the wait for a root
secret that is lost for good: what was sealed under that one is lost with it.
"""
RETIRE_EPILOG = """\b
Examples:
  cloister key retire 1 --reason "all is deposited under root 2" --key vendor/sign.seed
  cloister key retire 1 --reason "it leaked" --key vendor/sign.seed --key hospital/sign.seed

GENERATION and those before it: what is still sealed under them is given out no more, so every owner of such a deposit
signs. cloister key list says whose they are.
"""
REASON = click.option("--reason", required=True, metavar="TEXT", help="Why; it is in the log for good.")


@click.command(epilog=ROTATE_EPILOG)
@REASON
@key_option
@json_option
@line_access
def rotate(line: LineAccess, *, reason: str, key: Path, as_json: bool) -> None:
    """Ask for another root secret of the contract, as one of its parties."""
    latest = line.of(line.fetched().replayed.state).custody.latest
    if latest is None:
        raise UsageError("the contract has no root secret yet: the KMS makes one when there is something to keep")
    generation = latest.root.generation
    said = Rotation(contract=line.digest, generation=generation, reason=reason)
    entry = sign_statement("rotation", said, (read_signing_key(key),))
    line.log(entry, f"root {generation} will be followed by root {generation + 1}", as_json=as_json)


@click.command(epilog=RETIRE_EPILOG)
@click.argument("generation", metavar="GENERATION", type=click.IntRange(1))
@REASON
@click.option(
    "--key",
    "keys",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    multiple=True,
    metavar="FILE",
    help="A party's seed, mode 600; again for each that signs.",
)
@json_option
@line_access
def retire(generation: int, line: LineAccess, *, reason: str, keys: tuple[Path, ...], as_json: bool) -> None:
    """Take root GENERATION, and those before it, out of use."""
    said = Retirement(contract=line.digest, generation=generation, reason=reason)
    entry = sign_statement("retirement", said, [read_signing_key(path) for path in keys])
    line.log(entry, f"roots up to {generation} are retired", as_json=as_json)
