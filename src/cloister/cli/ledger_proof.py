"""`cloister ledger proof` and `verify-proof`: one entry of the log, with what proves it to whoever has the keys."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import click

from cloister.cli.chain import console, numbered, show_steps
from cloister.cli.log_options import NamedLog, log_options, rules_options
from cloister.cli.terminal import say, say_json
from cloister.client.durable import read_at_most, replace_file
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.examination import Examination
from cloister.formats.statement import MAXIMUM_ENTRY
from cloister.formats.tlog_proof import MAXIMUM_PROOF, parse_tlog_proof
from cloister.ledger.log_rules import LogRules
from cloister.ledger.proofs import ProvenEntry, examine_proof
from cloister.peers.tiles import open_source, prove

PROOF_EPILOG = """\b
Examples:
  cloister ledger proof 7                                 writes 7.entry and 7.tlog-proof
  cloister ledger proof 7 --out evidence --from https://log.example/ --log @log.vkey --witness @w1.vkey --quorum 1

Made from the log's tiles, so that the log is not asked which entry is wanted beyond the 256 around it, and examined
before it is written.
"""
VERIFY_EPILOG = """\b
Examples:
  cloister ledger verify-proof 7.tlog-proof 7.entry
  cloister ledger verify-proof 7.tlog-proof 7.entry --log @log.vkey --witness @w1.vkey --quorum 1 --json

Nobody is asked. Exit code 3 when a step failed; each id is explained in docs/formats/checks.md.
"""


@click.command(epilog=PROOF_EPILOG)
@click.argument("index", type=click.IntRange(min=0))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="NAME",
    help="Write NAME.entry and NAME.tlog-proof.  [default: the index]",
)
@log_options
def proof(index: int, log: NamedLog, *, out: Path | None) -> None:
    """Get entry INDEX, counted from 0, and a proof of it that stands by itself."""
    entry, made = asyncio.run(_proven(log, index))
    name = Path(str(index)) if out is None else out
    files = [name.with_name(f"{name.name}.{kind}") for kind in ("entry", "tlog-proof")]
    for path, data in zip(files, (entry, made), strict=True):
        replace_file(path, data)
    say(f"wrote {files[0]} and {files[1]}")


async def _proven(log: NamedLog, index: int) -> tuple[bytes, bytes]:
    async with open_source(log.place, authorities=log.authorities) as source:
        entry, made = await prove(source, index, log.rules)
        return entry, made.encode()


@click.command("verify-proof", epilog=VERIFY_EPILOG)
@click.argument("path", metavar="PROOF", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("entry_path", metavar="ENTRY", type=click.Path(path_type=Path, dir_okay=False))
@rules_options
@click.option("--json", "as_json", is_flag=True, help="Print the steps as JSON.")
def verify_proof(path: Path, entry_path: Path, rules: LogRules, *, as_json: bool) -> None:
    """Verify offline that PROOF shows ENTRY, a file, to be in the log."""
    try:
        parsed = parse_tlog_proof(_content(path, MAXIMUM_PROOF))
    except (MalformedInput, TooLarge) as error:
        raise UsageError(f"{path} is no proof: {error}") from error
    examination = examine_proof(parsed, _content(entry_path, MAXIMUM_ENTRY), rules)
    if as_json:
        passed = len(examination.passed) == len(examination.steps)
        say_json({"passed": passed, "index": parsed.index, "steps": numbered(examination.steps)})
    else:
        _show(examination)
    examination.require()


def _show(examination: Examination[ProvenEntry]) -> None:
    out = console()
    show_steps(out, numbered(examination.steps))
    if len(examination.passed) == len(examination.steps):
        proven = examination.require()
        at = datetime.fromtimestamp(proven.checkpoint.cosigned_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        out.print(f"\nEntry {proven.index} of {proven.checkpoint.origin}, witnessed {at}.")


def _content(path: Path, limit: int) -> bytes:
    try:
        return read_at_most(path, limit)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
