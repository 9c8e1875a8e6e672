"""The local model owner's part: the key of its sealed model, given into custody before the node asks for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cloister.cli.deposits import Terms, Wish, log_deposit, terms_of
from cloister.cli.line_access import LineAccess
from cloister.cli.log_entry import log_entry
from cloister.crypto.signing import SigningKey
from cloister.errors import Refused
from cloister.formats.custody import Rotation
from cloister.ledger.statements import sign_statement
from cloister.peers.kms import KmsClient
from cloister.peers.ledger import LedgerClient
from cloister.secret import SecretBytes

Command = TypeVar("Command", bound=Callable[..., Any])
Say = Callable[[str], None]
LOST = "intake.held"
ROOT_SECONDS, POLL_SECONDS = 60.0, 0.2
DAYS = 3650  # it is this machine's own; whoever has it ends it by `cloister secret revoke`


def model_key_option(command: Command) -> Command:
    """The `--model-key` option."""
    return click.option(
        "--model-key",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="The key of the sealed model, to be deposited anew.  [default: the one that was deposited before]",
    )(command)


async def deposit_model_key(line: LineAccess, asset: str, key: SecretBytes, owner: SigningKey, say: Say) -> None:
    """Seal `key` to the KMS that was examined, and log the deposit for the owner of `asset`.

    For whatever code the contract's task has and will have: the owner is this machine's, as the operator is.

    Raises:
        UsageError: the contract in force has no such asset, or it is another's.
        Refused, Unavailable: as `deposits.terms_of` and `log_deposit`.
    """
    wish = Wish(asset, DAYS, any_workload=True, any_version=True)
    async with line.kms() as kms, line.ledger.client() as ledger:
        deposit = (await _terms(line, kms, ledger, owner, say)).sealed(key, wish, owner)
        index = await log_deposit(line, ledger, deposit.entry, deposit.blob)
    terms = deposit.terms
    say(
        f"deposited: the key of {asset} as number {terms.number}, sealed to the examined KMS, root {terms.generation};"
        f" entry {index} of the log"
    )


async def _terms(line: LineAccess, kms: KmsClient, ledger: LedgerClient, owner: SigningKey, say: Say) -> Terms:
    """As `terms_of`; where the KMS has lost its root secret, it is asked for another, to deposit under.

    The KMS of other code than before has: its secret is sealed to its platform for the code that made it.
    """
    try:
        return await terms_of(line, kms, ledger)
    except Refused as refusal:
        if refusal.check != LOST:
            raise
    latest = line.of((await line.ledger.fetched(ledger)).replayed.state).custody.latest
    generation = latest.root.generation if latest else 1
    say(f"the KMS is of other code than the one that held root secret {generation}: asking for another as a party")
    record = Rotation(contract=line.digest, generation=generation, reason="the KMS is of other code")
    await log_entry(line.ledger, ledger, sign_statement("rotation", record, (owner,)))
    until = time.monotonic() + ROOT_SECONDS
    while True:
        try:
            return await terms_of(line, kms, ledger)
        except Refused as refusal:
            if refusal.check != LOST or time.monotonic() > until:
                raise
        await asyncio.sleep(POLL_SECONDS)
