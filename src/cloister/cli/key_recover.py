"""`cloister key recover`: a custodian gives its share to a KMS instance that it examined."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from cloister.cli.contract_log import json_option, key_option
from cloister.cli.line_access import LineAccess, kms_access, say_logged
from cloister.cli.log_entry import log_entry
from cloister.client.custody import pass_share_on
from cloister.crypto.hpke import X_WING, KemPrivateKey
from cloister.crypto.signing import SigningKey
from cloister.errors import UsageError
from cloister.formats.contract import Contract
from cloister.storage.key_file import read_secret, read_signing_key

SEED = 32  # bytes of an X-Wing seed
EPILOG = """\b
Examples:
  cloister key recover --custodian "The Bank" --seal bank/seal.key --key bank/sign.seed
  cloister key recover --custodian "The Bank" --seal bank/seal.key --key bank/sign.seed --kms https://kms.example \\
      --ledger https://ledger.example --constitution constitution.entries --policy trust-policy.toml --tls ca me key

The share is in the log, sealed to the custodian. It is opened in memory, once every step of the KMS's bundle held,
sealed to that instance's key, and logged for all to see. With as many custodians as the contract says, the KMS has the
root secret again. Give it to one instance; the others get it from there.
"""


@click.command(epilog=EPILOG)
@click.option("--custodian", required=True, metavar="PARTY", help="The party, as the contract names it.")
@click.option(
    "--seal",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="The party's seal key, mode 600.",
)
@key_option
@json_option
@kms_access
def recover(line: LineAccess, *, custodian: str, seal: Path, key: Path, as_json: bool) -> None:
    """Give a custodian's share of the latest root secret to the KMS."""
    entry, index, given = asyncio.run(_recover(line, custodian, _seal_key(seal), read_signing_key(key)))
    say_logged(entry, index, given, as_json=as_json)


async def _recover(line: LineAccess, custodian: str, seal: KemPrivateKey, signer: SigningKey) -> tuple[bytes, int, str]:
    async with line.kms() as kms, line.ledger.client() as ledger:
        bundle = await line.examined(kms)
        latest = line.of((await line.ledger.fetched(ledger)).replayed.state).custody.latest
        if latest is None:
            raise UsageError("the contract has no root secret: there is nothing to recover")
        _require_party(bundle.contract, custodian)
        entry = pass_share_on(latest, custodian, seal, bundle.kms.keys, signer)
        index, log = await log_entry(line.ledger, ledger, entry)
    custody = line.of(log.replayed.state).custody
    given = sum(one.instance == bundle.kms.keys.sign for one in custody.recoveries)
    lacking = max(0, latest.root.threshold - given)
    more = f"{lacking} more are needed" if lacking else "the KMS has what it takes, if each is the right one"
    return entry, index, f"{given} of {latest.root.threshold} shares of root {latest.root.generation} given; {more}"


def _require_party(contract: Contract, custodian: str) -> None:
    if custodian not in contract.voters:
        raise UsageError(f"the contract in force has no party {custodian}; it has {', '.join(contract.voters)}")


def _seal_key(path: Path) -> KemPrivateKey:
    secret = read_secret(path, limit=SEED)
    if len(secret) != SEED:
        raise UsageError(f"{path} is no seal key: cloister contract party makes one, of {SEED} bytes")
    return KemPrivateKey.from_bytes(X_WING, secret)
