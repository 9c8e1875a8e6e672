"""`cloister key list`: epochs and roots of a contract line, as the log has them."""

from __future__ import annotations

import hashlib

import click
import msgspec

from cloister.cli.contract_log import json_option
from cloister.cli.explained.contract_words import moment
from cloister.cli.line_access import LineAccess, line_access
from cloister.cli.terminal import say, say_json
from cloister.contract.custody_records import RootRecord
from cloister.contract.state import ContractLine
from cloister.formats import canonical
from cloister.formats.custody import Recovery

EPILOG = """\b
Examples:
  cloister key list
  cloister key list --json | jq '.roots[] | select(.standing == "latest")'

The log is fetched whole and examined as a KMS examines it.
"""


class SaidEpoch(msgspec.Struct, frozen=True, kw_only=True):
    """A transport key that the log knows."""

    number: int
    entry: str
    begins: str
    ends: str
    revoked: bool


class SaidRoot(msgspec.Struct, frozen=True, kw_only=True):
    """A root secret."""

    generation: int
    entry: str
    standing: str  # latest, in use, or retired
    made: str
    custodians: tuple[str, ...]
    threshold: int
    deposits: tuple[str, ...]  # the assets whose latest deposit is sealed under it
    shares_given: tuple[str, ...]  # "custodian to instance", for a recovery, and whether that refused it


class SaidKeys(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    contract: str
    epochs: tuple[SaidEpoch, ...]
    roots: tuple[SaidRoot, ...]
    rotation_asked: bool


@click.command(name="list", epilog=EPILOG)
@json_option
@line_access
def list_(line: LineAccess, *, as_json: bool) -> None:
    """Say which transport keys and root secrets the contract has, what is sealed under each, and who holds shares."""
    said = _said(line.digest, line.of(line.fetched().replayed.state))
    if as_json:
        say_json(said)
        return
    for epoch in said.epochs:
        gone = ", revoked" if epoch.revoked else ""
        say(f"epoch {epoch.number}, {epoch.begins} to {epoch.ends}{gone}: entry {epoch.entry}")
    for root in said.roots:
        say(f"root {root.generation}, {root.standing}, made {root.made}: entry {root.entry}")
        shares = f"{root.threshold} of {', '.join(root.custodians)}" if root.custodians else "nobody: it has no shares"
        say(f"  sealed under it: {', '.join(root.deposits) or 'nothing'}; recovered by {shares}")
        for given in root.shares_given:
            say(f"  share given by {given}")
    if not said.roots:
        say("no root secret: the contract in force has nothing to keep")
    if said.rotation_asked:
        say("another root secret was asked for; the KMS makes it when it looks at the log")


def _said(name: bytes, line: ContractLine) -> SaidKeys:
    custody = line.custody
    latest = custody.latest
    return SaidKeys(
        contract=name.hex(),
        epochs=tuple(
            SaidEpoch(
                number=one.epoch.number,
                entry=one.placed.digest.hex(),
                begins=moment(one.epoch.not_before),
                ends=moment(one.epoch.not_after),
                revoked=one.placed.digest in line.revoked,
            )
            for one in line.epochs
        ),
        roots=tuple(_root(line, record, latest is record) for record in custody.roots),
        rotation_asked=latest is not None and custody.asked == latest.root.generation,
    )


def _root(line: ContractLine, record: RootRecord, latest: bool) -> SaidRoot:
    custody = line.custody
    generation = record.root.generation
    retired = generation <= custody.retired
    deposits = custody.deposits.items()
    return SaidRoot(
        generation=generation,
        entry=record.placed.digest.hex(),
        standing="latest" if latest else "retired" if retired else "in use",
        made=moment(record.root.at),
        custodians=tuple(one.name for one in record.custodians.all),
        threshold=record.custodians.threshold,
        deposits=tuple(name for name, one in deposits if one.deposit.terms.generation == generation),
        shares_given=tuple(_given(line, one) for one in custody.recoveries if one.generation == generation),
    )


def _given(line: ContractLine, given: Recovery) -> str:
    """Whose share went to which instance; that says in the log where it is none, once it has looked."""
    told = hashlib.sha256(canonical.encode(given)).digest()
    refusals = (one.refusal for one in line.refusals.latest if one.refusal.wanted == "recovery")
    wrong = any(one.evidence == told and one.node == given.instance for one in refusals)
    return f"{given.custodian} to {given.instance.hex()[:16]}…" + (
        ", which refused it: it is not its share" if wrong else ""
    )
