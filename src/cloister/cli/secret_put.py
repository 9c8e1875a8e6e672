"""`cloister secret put`: seals a secret, or a model's or dataset's key, to a KMS that was examined first."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from cloister.cli.contract_log import json_option, key_option
from cloister.cli.deposits import Wish, log_deposit, terms_of
from cloister.cli.line_access import LineAccess, kms_access, say_logged
from cloister.client.custody import SealedDeposit
from cloister.crypto.signing import SigningKey
from cloister.errors import UsageError
from cloister.formats.custody import MAXIMUM_VALUE
from cloister.secret import SecretBytes
from cloister.storage.key_file import read_signing_key

EPILOG = """\b
Examples:
  cloister secret put token.txt --asset api-token --key hospital/sign.seed
  pass show api-token | cloister secret put - --asset api-token --key hospital/sign.seed --days 30
  cloister secret put model.key --asset screening-model --key vendor/sign.seed --any-version --any-workload

SOURCE is a file, or - for standard input: the bytes as they are, a last line feed too (printf '%s' adds none). It is
read into memory, sealed to the KMS's intake key once every step of its bundle and of that key held, signed, and logged;
nothing of it is written to a disk in the clear. By itself it is for the code and the contract in force now: when these
change, its owner looks, and puts it again. Exit code 3 names the check that failed.
"""


@click.command(epilog=EPILOG)
@click.argument("source", metavar="SOURCE", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--asset", required=True, metavar="NAME", help="The asset of the contract that it is.")
@click.option("--days", type=click.IntRange(1, 3660), default=365, show_default=True, help="That it may be given out.")
@click.option(
    "--any-workload",
    is_flag=True,
    help="Also for code that a successor of the contract names.  [default: what it names now]",
)
@click.option(
    "--any-version",
    is_flag=True,
    help="Also under successors of the contract.  [default: under the one in force now]",
)
@key_option
@json_option
@kms_access
def put(source: Path, line: LineAccess, *, key: Path, as_json: bool, **wished: Any) -> None:
    """Seal SOURCE as an asset of the contract, for the task that its contract serves, and log that for its owner."""
    value, owner = _read(source), read_signing_key(key)
    deposit, index = asyncio.run(_put(line, value, Wish(**wished), owner))
    terms = deposit.terms
    effect = f"{terms.asset} is deposited as number {terms.number}, sealed under root {terms.generation}"
    say_logged(deposit.entry, index, effect, as_json=as_json)


async def _put(line: LineAccess, value: SecretBytes, wish: Wish, owner: SigningKey) -> tuple[SealedDeposit, int]:
    async with line.kms() as kms, line.ledger.client() as ledger:
        deposit = (await terms_of(line, kms, ledger)).sealed(value, wish, owner)
        return deposit, await log_deposit(line, ledger, deposit.entry, deposit.blob)


def _read(source: Path) -> SecretBytes:
    try:
        if str(source) == "-":
            value = sys.stdin.buffer.read(MAXIMUM_VALUE + 1)
        else:
            with source.open("rb") as file:
                value = file.read(MAXIMUM_VALUE + 1)
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror}") from error
    if not 1 <= len(value) <= MAXIMUM_VALUE:
        size = "empty" if not value else f"over {MAXIMUM_VALUE} bytes"
        raise UsageError(f"{source} is {size}: a secret has 1 to {MAXIMUM_VALUE} bytes")
    return SecretBytes(value)
