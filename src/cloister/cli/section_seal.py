"""`cloister section seal` and `submit`: a persona seals its own section; whoever reaches the ledger may log it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from cloister.cli.contract_log import json_option, key_option
from cloister.cli.deposits import Terms, Wish, log_deposit, owned_asset, terms_of
from cloister.cli.line_access import LineAccess, kms_access, line_access, say_logged
from cloister.cli.section_files import read_sealed, read_section
from cloister.cli.terminal import say, say_json
from cloister.client.custody import SealedDeposit
from cloister.client.durable import replace_file
from cloister.crypto.signing import SigningKey
from cloister.errors import UsageError
from cloister.formats import canonical
from cloister.formats.contract import Asset, Contract
from cloister.formats.custody_messages import CarriedDeposit
from cloister.formats.section import Section, encode_section
from cloister.ledger.statements import entry_digest
from cloister.storage.key_file import read_signing_key

SUFFIX = ".sealed"
SEAL_EPILOG = """\b
Examples:
  cloister section seal workload.toml --key vendor/sign.seed                     makes workload.sealed
  cloister section seal environment.toml --key operator/sign.seed --days 30
  cloister section seal secrets.toml --key hospital/sign.seed --asset hospital-keys --any-version

The KMS's bundle and intake key are examined first, under the trust policy; exit code 3 names the check that failed. The
section is for the code that the contract in force names now, and for this version of the contract unless --any-version
says the whole line. What it makes can be given to anyone: only the KMS opens it, in its TEE, for a node that the
contract grants it.
"""
SUBMIT_EPILOG = """\b
Examples:
  cloister section submit workload.sealed environment.sealed
  cloister section submit workload.sealed --json

No key is needed: what counts is who signed. Exit code 3 where the log's rules give one no effect, by the rule's name:
another party's, for another contract or version, expired, its number there already.
"""


@click.command(epilog=SEAL_EPILOG)
@click.argument("path", metavar="SECTION", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--asset", default="", metavar="NAME", help="The asset of the contract.  [default: the one of its kind and persona]"
)
@click.option("--days", type=click.IntRange(1, 3660), default=365, show_default=True, help="That it may be given out.")
@click.option(
    "--any-version", is_flag=True, help="For successors of the contract too, as long as the code is the same."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where it goes.  [default: SECTION with the suffix .sealed]",
)
@key_option
@json_option
@kms_access
def seal(
    path: Path,
    line: LineAccess,
    *,
    out: Path | None,
    key: Path,
    as_json: bool,
    **wished: Any,
) -> None:
    """Seal SECTION to the examined KMS, sign it, and write both into a file to carry."""
    section, owner = read_section(path), read_signing_key(key)
    deposit = asyncio.run(_sealed(line, section, Wish(any_workload=False, **wished), owner))
    target = path.with_suffix(SUFFIX) if out is None else out
    replace_file(target, canonical.encode(CarriedDeposit(entry=deposit.entry, blob=deposit.blob)))
    if as_json:
        said = {"asset": deposit.terms.asset, "number": deposit.terms.number, "file": str(target)}
        say_json(said | {"entry": entry_digest(deposit.entry).hex()})
    else:
        say(f"{target}: {deposit.terms.asset} as number {deposit.terms.number}; cloister section submit {target}")


@click.command(epilog=SUBMIT_EPILOG)
@click.argument("paths", metavar="SEALED...", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@json_option
@line_access
def submit(paths: tuple[Path, ...], line: LineAccess, *, as_json: bool) -> None:
    """Log sealed sections, each as it was signed."""
    read = [read_sealed(path) for path in paths]
    for path, (_, deposit, _) in zip(paths, read, strict=True):
        if deposit.terms.contract != line.digest:
            raise UsageError(
                f"{path} is for another contract line than the trust policy pins: it would not count there"
            )
    for carried, deposit, _ in read:
        index = asyncio.run(_logged(line, carried))
        terms = deposit.terms
        effect = f"{terms.asset} is deposited as number {terms.number}, sealed under root {terms.generation}"
        say_logged(carried.entry, index, effect, as_json=as_json)


async def _sealed(line: LineAccess, section: Section, wish: Wish, owner: SigningKey) -> SealedDeposit:
    async with line.kms() as kms, line.ledger.client() as ledger:
        terms = await terms_of(line, kms, ledger)
        asset = _asset(terms, section, wish.asset, owner)
        return terms.sealed(encode_section(section), replace(wish, asset=asset.name), owner)


async def _logged(line: LineAccess, carried: CarriedDeposit) -> int:
    async with line.ledger.client() as ledger:
        return await log_deposit(line, ledger, carried.entry, carried.blob)


def _asset(terms: Terms, section: Section, named: str, owner: SigningKey) -> Asset:
    """The asset that the contract in force has for this section.

    Raises:
        UsageError: it has none, or several; or it is another's.
    """
    asset = owned_asset(terms.contract, named or _only(terms.contract, section), owner)
    if (asset.section, asset.owner) != (section.kind, section.persona):
        what = "no section" if asset.section == "none" else f"the {asset.section} section of {asset.owner}"
        raise UsageError(f"{asset.name} is {what}, and this is the {section.kind} section of {section.persona}")
    return asset


def _only(contract: Contract, section: Section) -> str:
    found = [one.name for one in contract.assets if (one.section, one.owner) == (section.kind, section.persona)]
    if len(found) != 1:
        which = f"has {', '.join(found)}: name one with --asset" if found else "has none"
        raise UsageError(f"the contract in force {which} as the {section.kind} section of {section.persona}")
    return found[0]
