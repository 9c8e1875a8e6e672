"""`cloister ledger verify-receipt`: a COSE receipt (RFC 9942) of any log, held against its key."""

from __future__ import annotations

from pathlib import Path

import click

from cloister.cli.terminal import say, say_json
from cloister.client.durable import read_at_most
from cloister.crypto.merkle import leaf_hash
from cloister.crypto.verification_key import VerificationKey
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.cose_receipt import MAXIMUM_RECEIPT
from cloister.formats.statement import MAXIMUM_ENTRY
from cloister.ledger.receipts import verify_inclusion

MAXIMUM_PEM = 16_384  # bytes
EPILOG = """\b
Examples:
  curl -s https://log.example/entries/7 >7.receipt
  curl -s https://log.example/entries/7/statement >7.entry
  cloister ledger verify-receipt 7.receipt 7.entry --key log.pem

The key is Ed25519, P-256 or P-384. A receipt is one key's word, without witnesses: cloister ledger proof gets more.
"""


@click.command("verify-receipt", epilog=EPILOG)
@click.argument("path", metavar="RECEIPT", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("entry_path", metavar="ENTRY", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--key",
    "key_path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The log's public key, PEM.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what it shows as JSON.")
def verify_receipt(path: Path, entry_path: Path, key_path: Path, *, as_json: bool) -> None:
    """Verify offline that RECEIPT shows ENTRY, a file, to be in the log whose key is given."""
    try:
        key = VerificationKey.parse_pem(_content(key_path, MAXIMUM_PEM))
    except MalformedInput as error:
        raise UsageError(f"--key {key_path}: {error}") from error
    entry = _content(entry_path, MAXIMUM_ENTRY)
    try:
        found = verify_inclusion(_content(path, MAXIMUM_RECEIPT), leaf=leaf_hash(entry), log_key=key)
    except (MalformedInput, TooLarge) as error:
        raise UsageError(f"{path} is no receipt of an entry: {error}") from error
    if as_json:
        say_json({"index": found.index, "size": found.size, "root": found.root.hex()})
        return
    say(f"The log signed a root, {found.root.hex()}, with this entry at {found.index} of {found.size}.")


def _content(path: Path, limit: int) -> bytes:
    try:
        return read_at_most(path, limit)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
