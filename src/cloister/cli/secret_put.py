"""`cloister secret put`: seals a secret, or a model's or dataset's key, to a KMS that was examined first."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cloister.cli.contract_log import json_option, key_option
from cloister.cli.line_access import LineAccess, kms_access, say_logged
from cloister.cli.log_entry import log_entry
from cloister.client.custody import Meant, SealedDeposit, seal_deposit
from cloister.contract.custody_records import asset_named
from cloister.contract.state import ContractLine
from cloister.crypto.signing import SigningKey
from cloister.errors import UsageError
from cloister.formats.canonical import Measurement
from cloister.formats.contract import Contract
from cloister.formats.custody import DATA_KEY, MAXIMUM_VALUE
from cloister.secret import SecretBytes
from cloister.storage.key_file import read_signing_key
from cloister.trust.intake import examine_intake

DAY = 86_400
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


@dataclass(frozen=True, slots=True)
class Wish:
    """What the options ask for."""

    asset: str
    days: int
    any_workload: bool
    any_version: bool


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
        # 1. The KMS and its key, before anything of the secret is touched.
        bundle = await line.examined(kms)
        intake = examine_intake(await kms.intake(line.digest), bundle, line=line.digest).require()
        # 2. Whether the deposit would count: better said here than by an entry without effect.
        before = line.of((await line.ledger.fetched(ledger)).replayed.state)
        meant = _meant(before, bundle.contract, value, wish, owner)
        # 3. The sealed bytes first, then the word on them.
        deposit = seal_deposit(intake, value, meant, owner)
        await ledger.put_blob(deposit.blob)
        index, _ = await log_entry(line.ledger, ledger, deposit.entry)
        return deposit, index


def _meant(line: ContractLine, contract: Contract, value: SecretBytes, wish: Wish, owner: SigningKey) -> Meant:
    asset = asset_named(contract, wish.asset)
    if asset is None:
        names = ", ".join(one.name for one in contract.assets) or "none"
        raise UsageError(f"the contract in force has no asset {wish.asset}; it has {names}")
    if owner.public not in contract.voters[asset.owner]:
        raise UsageError(f"the key is not one of {asset.owner}, who owns {asset.name}")
    if asset.kind != "secret" and len(value) != DATA_KEY:
        raise UsageError(f"{asset.name} is a {asset.kind}: its key has {DATA_KEY} bytes, not {len(value)}")
    latest = line.custody.deposits.get(asset.name)
    return Meant(
        asset=asset.name,
        number=latest.deposit.terms.number + 1 if latest else 1,
        task=contract.serving.name,
        workloads=None if wish.any_workload else _workloads(contract),
        under=None if wish.any_version else (contract.digest(),),
        expires=int(time.time()) + wish.days * DAY,  # noqa: TID251 - a person deposits it now
    )


def _workloads(contract: Contract) -> tuple[Measurement, ...]:
    named = {workload for node in contract.serving.nodes for workload in node.workloads}
    if not named:
        raise UsageError("the contract in force names no workload for its task: nothing could have the secret")
    return tuple(sorted(named))


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
