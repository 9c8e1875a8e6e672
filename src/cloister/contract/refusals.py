"""Refusals in the fold: they change nothing that anyone may do, and are counted for all to see."""

from __future__ import annotations

from dataclasses import replace

from cloister.contract.placed import EntryVoid, Placed
from cloister.contract.state import LineRefusals, RefusalRecord, State, signing_instance
from cloister.formats.refusal import parse_refusal
from cloister.ledger.statements import SignedStatement

KEPT_REFUSALS = 64  # of a contract line; older ones are in the log


def refusal(state: State, statement: SignedStatement, placed: Placed) -> State:
    """A KMS instance gave a node no key."""
    made = parse_refusal(statement.payload)
    signer = signing_instance(state, statement)
    line = state.lines.get(made.contract)
    if line is None:
        raise EntryVoid("refusal.contract", "is for a contract that is not in the log")
    before = line.refusals
    after = LineRefusals(
        logged=before.logged + 1,
        omitted=before.omitted + made.omitted,
        latest=(*before.latest, RefusalRecord(placed, made, signer))[-KEPT_REFUSALS:],
    )
    return replace(state, lines={**state.lines, made.contract: replace(line, refusals=after)})
