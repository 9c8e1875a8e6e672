"""`cloister contract submit`, `vote` and `revoke`: a party's words to the log."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import msgspec

from cloister.cli.contract_files import read_entry
from cloister.cli.ledger_access import LedgerAccess, ledger_access
from cloister.cli.log_entry import log_entry
from cloister.cli.terminal import say, say_json
from cloister.contract.replay import ReplayedLog
from cloister.errors import UsageError
from cloister.formats.contract import parse_contract
from cloister.formats.governance import Choice, Vote
from cloister.formats.release import Revocation
from cloister.ledger.statements import cosigned_statement, entry_digest, open_statement, sign_statement
from cloister.storage.key_file import read_signing_key

DIGEST = 64  # hexadecimal digits
SUBMIT_EPILOG = """\b
Examples:
  cloister contract submit contract.signed
  cloister contract submit hospital.signed vendor.signed         signed apart; put together here
  cloister contract submit contract.signed --ledger https://ledger.example --constitution constitution.entries \\
      --tls ca.crt me.crt me.key

Returns when a quorum of the log's witnesses has seen it, and says what it counts for there. Exit code 3 where the log's
rules give it no effect: the entry stays, and does nothing.
"""
VOTE_EPILOG = """\b
Examples:
  cloister contract status                                        lists what is proposed
  cloister contract vote 4f0c… --approve --key hospital/sign.seed
  cloister contract vote 4f0c… --veto --key hospital/sign.seed

PROPOSAL is the digest of the entry that proposes, 64 hexadecimal digits.
"""
REVOKE_EPILOG = """\b
Examples:
  cloister contract revoke 9f3c… --reason "the agreement was terminated" --key hospital/sign.seed
  cloister contract revoke 9f3c… --target 77ab… --reason "the node was stolen" --key vendor/sign.seed

CONTRACT is the digest of the first contract of the line. Without --target it ends the contract itself, which only a
party with a veto, or the owner of an asset, may do; there is no way back but a new contract.
"""


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints of an entry that took effect."""

    entry: str  # its digest
    index: int
    effect: str


def json_option(command: click.decorators.FC) -> click.decorators.FC:
    """The `--json` option."""
    return click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")(command)


def key_option(command: click.decorators.FC) -> click.decorators.FC:
    """The `--key` option: a party's seed."""
    file = click.Path(path_type=Path, dir_okay=False)
    return click.option("--key", type=file, required=True, metavar="FILE", help="The party's seed, mode 600.")(command)


@click.command(epilog=SUBMIT_EPILOG)
@click.argument("paths", metavar="SIGNED...", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@json_option
@ledger_access
def submit(paths: tuple[Path, ...], ledger: LedgerAccess, *, as_json: bool) -> None:
    """Put a signed contract into the log: the first of a line, or a proposal of what comes after the one in force."""
    entry = cosigned_statement([read_entry(path) for path in paths])
    _log(ledger, entry, as_json=as_json)


@click.command(epilog=VOTE_EPILOG)
@click.argument("proposal", metavar="PROPOSAL")
@click.option("--approve", "choice", flag_value="approve", help="Approve it.")
@click.option("--veto", "choice", flag_value="veto", help="End it.")
@key_option
@json_option
@ledger_access
def vote(proposal: str, ledger: LedgerAccess, *, choice: Choice | None, key: Path, as_json: bool) -> None:
    """Say a party's word on PROPOSAL."""
    if choice is None:
        raise UsageError("a vote is --approve or --veto")
    said = Vote(proposal=_digest(proposal), choice=choice)
    _log(ledger, sign_statement("vote", said, [read_signing_key(key)]), as_json=as_json)


@click.command(epilog=REVOKE_EPILOG)
@click.argument("contract", metavar="CONTRACT")
@click.option(
    "--target",
    metavar="DIGEST",
    help="An entry of an epoch, a release or an identity; or a node, by the thumbprint in its certificate's name."
    "  [default: the contract itself]",
)
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is in the log for good.")
@key_option
@json_option
@ledger_access
def revoke(contract: str, ledger: LedgerAccess, *, target: str | None, reason: str, key: Path, as_json: bool) -> None:
    """End CONTRACT, or one epoch or release under it."""
    line = _digest(contract)
    said = Revocation(contract=line, target=line if target is None else _digest(target), reason=reason)
    _log(ledger, sign_statement("revocation", said, [read_signing_key(key)]), as_json=as_json)


def _log(ledger: LedgerAccess, entry: bytes, *, as_json: bool) -> None:
    logged = asyncio.run(_appended(ledger, entry))
    if as_json:
        say_json(logged)
    else:
        say(f"entry {logged.index} of the log, {logged.entry}: {logged.effect}")


async def _appended(ledger: LedgerAccess, entry: bytes) -> Logged:
    async with ledger.client() as client:
        index, log = await log_entry(ledger, client, entry)
    return Logged(entry=entry_digest(entry).hex(), index=index, effect=_effect(entry, log.replayed))


def _effect(entry: bytes, log: ReplayedLog) -> str:
    """What an entry that took effect did, in words."""
    statement = open_statement(entry)
    if statement.kind != "contract":
        return {"vote": "the vote counts", "revocation": "it is revoked"}[statement.kind]
    contract = parse_contract(statement.payload)
    digest = contract.digest()
    for line in log.state.lines.values():
        if line.digest == digest:
            return "the contract is in force"
        for proposal in line.governed.proposals:
            if proposal.placed.digest == statement.digest:
                return f"the proposal is {proposal.standing}, approved by {', '.join(sorted(proposal.approvals))}"
    return "it took effect"


def _digest(text: str) -> bytes:
    if len(text) != DIGEST or not set(text) <= set("0123456789abcdef"):
        raise UsageError(f"{text[:80]} is no digest: 64 hexadecimal digits in lower case")
    return bytes.fromhex(text)
