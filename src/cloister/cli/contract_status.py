"""`cloister contract status`: what the log says is in force and proposed, replayed from its first entry."""

from __future__ import annotations

import asyncio

import click
import msgspec
from rich.console import Console
from rich.text import Text

from cloister.cli.chain import console
from cloister.cli.contract_log import json_option
from cloister.cli.explained.contract_words import moment
from cloister.cli.ledger_access import LedgerAccess, ledger_access
from cloister.cli.terminal import printable, say_json
from cloister.contract.amendment import Document
from cloister.contract.governed import Governed, Proposal, leaving, still_to_approve
from cloister.contract.replay import ReplayedLog

EPILOG = """\b
Examples:
  cloister contract status
  cloister contract status --json | jq -r '.contracts[].proposals[].entry'

The log is fetched whole and examined as a KMS examines it: its first entry, its signatures, its witnesses. What is
shown follows from the log alone.
"""


class SaidProposal(msgspec.Struct, frozen=True, kw_only=True):
    """A successor that is proposed."""

    entry: str  # the digest by which votes name it
    digest: str
    standing: str
    proposer: str
    approved_by: tuple[str, ...]
    lacks: str
    removes: tuple[str, ...]  # who would have no part, no say or no veto any more
    in_force_from: str


class SaidLine(msgspec.Struct, frozen=True, kw_only=True):
    """A constitution or contract, and what is proposed to follow it."""

    name: str
    line: str  # the digest of the first, which is its identity
    digest: str
    sequence: int
    ended: bool
    proposals: tuple[SaidProposal, ...]


class SaidStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    entries: int
    cosigned_at: int
    witnesses: tuple[str, ...]
    constitution: SaidLine
    contracts: tuple[SaidLine, ...]


@click.command(epilog=EPILOG)
@json_option
@ledger_access
def status(ledger: LedgerAccess, *, as_json: bool) -> None:
    """Say what is in force and what is proposed, constitution and contracts."""
    said = _said(asyncio.run(_replayed(ledger)))
    if as_json:
        say_json(said)
    else:
        _show(console(), said)


async def _replayed(ledger: LedgerAccess) -> ReplayedLog:
    async with ledger.client() as client:
        return (await ledger.fetched(client)).replayed


def _said(log: ReplayedLog) -> SaidStatus:
    state = log.state
    return SaidStatus(
        entries=state.size,
        cosigned_at=log.checkpoint.cosigned_at,
        witnesses=log.checkpoint.witnesses,
        constitution=_line(state.rules, state.genesis),
        contracts=tuple(_line(line.governed, name, ended=line.ended) for name, line in state.lines.items()),
    )


def _line(governed: Governed[Document], name: bytes, *, ended: bool = False) -> SaidLine:
    return SaidLine(
        name=governed.current.name,
        line=name.hex(),
        digest=governed.digest.hex(),
        sequence=governed.current.sequence,
        ended=ended,
        proposals=tuple(_proposal(governed, one) for one in governed.proposals),
    )


def _proposal(governed: Governed[Document], proposal: Proposal[Document]) -> SaidProposal:
    rules = governed.current.changes
    begun = proposal.noticed
    return SaidProposal(
        entry=proposal.placed.digest.hex(),
        digest=proposal.successor.digest().hex(),
        standing=proposal.standing,
        proposer=proposal.proposer,
        approved_by=tuple(sorted(proposal.approvals)),
        lacks=_lacks(governed.current, proposal) if proposal.standing == "open" else "",
        removes=tuple(sorted(leaving(governed.current, proposal.successor))),
        in_force_from="" if begun is None else moment(begun + rules.notice_seconds),
    )


def _lacks(current: Document, proposal: Proposal[Document]) -> str:
    rules = current.changes
    number = rules.number - len(proposal.approvals & set(rules.approvers))
    own = sorted(still_to_approve(current, proposal))
    wanted = [f"{number} approvals"] if number > 0 else []
    return " and ".join([*wanted, *([f"the approval of {', '.join(own)}"] if own else [])])


def _show(out: Console, said: SaidStatus) -> None:
    out.print(f"{said.entries} entries, cosigned by {', '.join(said.witnesses)} at {moment(said.cosigned_at)}")
    for what, lines in (("constitution", (said.constitution,)), ("contract", said.contracts)):
        for line in lines:
            ended = ", revoked" if line.ended else ""
            out.print(Text(f"\n{what}: {printable(line.name)}", style="bold") + Text(ended, style="bold red"))
            out.print(f"  its first is {line.line}\n  in force: number {line.sequence}, {line.digest}")
            for one in line.proposals:
                _show_proposal(out, one)


def _show_proposal(out: Console, one: SaidProposal) -> None:
    out.print(f"  proposed by {printable(one.proposer)}, {one.standing}: entry {one.entry}")
    out.print(
        f"    approved by {printable(', '.join(one.approved_by))}" + (f"; lacks {one.lacks}" if one.lacks else "")
    )
    for name in one.removes:
        gone = (
            f"{printable(name)} would lose its part, say or veto: it has to approve that, or all others, two at least"
        )
        out.print(Text(f"    ! {gone}", style="bold red"))
    if one.in_force_from:
        out.print(f"    in force from {one.in_force_from}, unless it is vetoed before")
