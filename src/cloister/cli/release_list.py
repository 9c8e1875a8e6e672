"""`cloister release list`: what left a KMS and what it refused, in the log's order; what had no effect, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import click
import msgspec

from cloister.cli.contract_log import json_option
from cloister.cli.explained.contract_words import moment
from cloister.cli.ledger_access import FetchedLog
from cloister.cli.line_access import LineAccess, line_access
from cloister.cli.terminal import say, say_json
from cloister.contract.fold import advance, begin
from cloister.contract.state import State
from cloister.formats.custody import parse_recovery, parse_use
from cloister.formats.handover import parse_handover
from cloister.formats.identity import parse_identity
from cloister.formats.refusal import Wanted, parse_refusal
from cloister.formats.release import parse_release
from cloister.formats.statement import Statement, parse_statement
from cloister.ledger.statements import entry_digest

EPILOG = """\b
Examples:
  cloister release list
  cloister release list --since 40 --json | jq -r '.[] | select(.effect != "counts") | .effect'

A transport key (release), an asset (use), a certificate (identity), a secret handed to another KMS instance
(handover), a custodian's share (recovery), or nothing (refusal), with the checks that failed. The log is fetched
whole and examined as a KMS examines it. `cloister ledger proof INDEX` proves an entry to others.
"""


class SaidRelease(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints of each."""

    index: int
    entry: str
    kind: str
    what: str
    to: str  # the receiver's signing key; of a refusal the thumbprint of the node's keys
    at: str
    checks: int
    effect: str  # "counts", or why it does not


@click.command(name="list", epilog=EPILOG)
@click.option("--since", type=click.IntRange(0), default=0, metavar="INDEX", help="Leave out entries before this one.")
@json_option
@line_access
def list_(line: LineAccess, *, since: int, as_json: bool) -> None:
    """Say which keys, assets and shares went to whom."""
    log = line.fetched()
    said = [one for one in _released(line, log) if one.index >= since]
    if as_json:
        say_json(said)
        return
    for one in said:
        checks = f", {one.checks} checks" if one.checks else ""
        say(f"{one.index} {one.kind}{' at ' + one.at if one.at else ''}: {one.what} to {one.to[:16]}…{checks}")
        if one.effect != "counts":
            say(f"  NO EFFECT: {one.effect}")
    if not said:
        say("nothing was released")


def _released(line: LineAccess, log: FetchedLog) -> Iterator[SaidRelease]:
    """Entry by entry, so that each is judged where it stands."""
    state = begin(log.entries[0], genesis=line.policy.constitution)
    for index, entry in enumerate(log.entries[1:], start=1):
        after = advance(state, entry)
        statement = parse_statement(entry)
        if statement.kind in _READ:
            effect = after.reason if after.void > state.void else "counts"
            yield _READ[statement.kind](state, statement, index, entry_digest(entry).hex(), effect)
        state = after


def _release(state: State, statement: Statement, index: int, entry: str, effect: str) -> SaidRelease:
    made = parse_release(statement.payload)
    numbers = {one.placed.digest: one.epoch.number for line in state.lines.values() for one in line.epochs}
    return SaidRelease(
        index=index,
        entry=entry,
        kind="release",
        what=f"the transport key of epoch {numbers.get(made.epoch, '?')}",
        to=made.node.sign.hex(),
        at=moment(made.at),
        checks=len(made.checks),
        effect=effect,
    )


def _use(state: State, statement: Statement, index: int, entry: str, effect: str) -> SaidRelease:
    made = parse_use(statement.payload)
    names = {one.placed.digest: name for line in state.lines.values() for name, one in line.custody.deposits.items()}
    return SaidRelease(
        index=index,
        entry=entry,
        kind="use",
        what=", ".join(names.get(one, "an unknown asset") for one in made.deposits),
        to=made.node.sign.hex(),
        at=moment(made.at),
        checks=len(made.checks),
        effect=effect,
    )


def _handover(_state: State, statement: Statement, index: int, entry: str, effect: str) -> SaidRelease:
    made = parse_handover(statement.payload)
    kinds = [one.kind for one in made.secrets]
    return SaidRelease(
        index=index,
        entry=entry,
        kind="handover",
        what=f"{kinds.count('epoch')} transport keys and {kinds.count('root')} root secrets",
        to=made.to.hex(),
        at=moment(made.at),
        checks=len(made.checks),
        effect=effect,
    )


def _identity(_state: State, statement: Statement, index: int, entry: str, effect: str) -> SaidRelease:
    made = parse_identity(statement.payload)
    return SaidRelease(
        index=index,
        entry=entry,
        kind="identity",
        what=f"a certificate for a {made.role} until {moment(made.not_after)}",
        to=made.node.sign.hex(),
        at=moment(made.at),
        checks=len(made.checks),
        effect=effect,
    )


def _recovery(_state: State, statement: Statement, index: int, entry: str, effect: str) -> SaidRelease:
    made = parse_recovery(statement.payload)
    return SaidRelease(
        index=index,
        entry=entry,
        kind="recovery",
        what=f"{made.custodian}'s share of root {made.generation}",
        to=made.instance.hex(),
        at="",
        checks=0,
        effect=effect,
    )


_REFUSED: Final[Mapping[Wanted, str]] = {
    "transport-key": "no transport key",
    "assets": "no assets",
    "identity": "no certificate",
    "handover": "no handover",
    "recovery": "no share of a custodian's",
}


def _refusal(_state: State, statement: Statement, index: int, entry: str, effect: str) -> SaidRelease:
    made = parse_refusal(statement.payload)
    failed = "; ".join(f"{one.check}: {one.shortfall}" for one in made.failed)
    more = f"; {made.omitted} refusals before it are in no entry" if made.omitted else ""
    return SaidRelease(
        index=index,
        entry=entry,
        kind="refusal",
        what=f"{_REFUSED[made.wanted]} ({failed}{more})",
        to=made.node.hex(),
        at=moment(made.at),
        checks=0,
        effect=effect,
    )


_READ: Final[Mapping[str, Callable[[State, Statement, int, str, str], SaidRelease]]] = {
    "release": _release,
    "use": _use,
    "identity": _identity,
    "handover": _handover,
    "recovery": _recovery,
    "refusal": _refusal,
}
