"""`cloister contract sign`: one party's signature, added to those of the others."""

from __future__ import annotations

from pathlib import Path

import click

from cloister.cli.contract_files import ReadContract, contract_argument, read_contract, require_form
from cloister.cli.terminal import say
from cloister.client.durable import replace_file
from cloister.contract.amendment import names_of
from cloister.contract.draft import still_open
from cloister.crypto.signing import SigningKey
from cloister.errors import UsageError
from cloister.ledger.statements import cosigned_statement, sign_statement
from cloister.storage.key_file import read_signing_key

SUFFIX = ".signed"
EPILOG = """\b
Examples:
  cloister contract show contract.toml                              read it first
  cloister contract sign contract.toml --key hospital/sign.seed      makes contract.signed
  cloister contract sign contract.signed --key vendor/sign.seed      adds another signature to it

Parties on machines of their own sign the same text apart; submit takes all of their files and puts them together.
"""


@click.command(epilog=EPILOG)
@contract_argument
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="The party's seed, 32 bytes, mode 600.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where it goes.  [default: CONTRACT with the suffix .signed]",
)
@click.option("--as-amender", is_flag=True, help="The key is of a party of the contract before alone.")
def sign(path: Path, *, key: Path, out: Path | None, as_amender: bool) -> None:
    """Sign CONTRACT with a party's key: TOML, or what others have signed already."""
    found, signer = read_contract(path), read_signing_key(key)
    require_form(found.contract)
    names = sorted(names_of({signer.public}, found.contract.voters))
    if not names and not as_amender:
        raise UsageError(
            f"{key} is the key of no party of this contract; a party that it leaves out signs with --as-amender"
        )
    target = path.with_suffix(SUFFIX) if out is None else out
    replace_file(target, _signed(found, target, signer))
    after = read_contract(target)
    say(f"signed for {names[0] if names else 'a party of the contract before'}: {target}, digest {_digest(after)}")
    for one in still_open(found.contract):
        say(f"  still open: {one}")
    say(f"not signed yet by {', '.join(after.unsigned)}" if after.unsigned else "signed by every party of its own")


def _signed(found: ReadContract, target: Path, key: SigningKey) -> bytes:
    """With the signatures that are there already: of the file that was read, and of the one that is written."""
    entries = [sign_statement("contract", found.contract, [key])]
    if found.entry is not None:
        entries.append(found.entry)
    if target.exists():
        before = read_contract(target)
        if before.entry is None or before.contract != found.contract:
            raise UsageError(f"{target} holds another contract: name another file with --out, or remove it")
        entries.append(before.entry)
    return cosigned_statement(entries)


def _digest(found: ReadContract) -> str:
    return found.contract.digest().hex()
