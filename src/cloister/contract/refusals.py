"""Refusals in the fold: they change nothing that anyone may do, and are counted for all to see."""

from __future__ import annotations

from dataclasses import replace

from cloister.contract.placed import EntryVoid, Placed, require
from cloister.contract.state import RefusalRecord, Refusals, State, giving_instance, signing_instance
from cloister.formats.refusal import parse_refusal
from cloister.ledger.statements import SignedStatement

KEPT_REFUSALS = 64  # of a contract line, and of handovers; older ones are in the log


def refusal(state: State, statement: SignedStatement, placed: Placed) -> State:
    """A KMS instance gave somebody nothing."""
    made = parse_refusal(statement.payload)
    if made.wanted == "handover":
        record = RefusalRecord(placed, made, giving_instance(state, statement))
        require("refusal.subject", made.subject == state.genesis, "is of handovers of another KMS")
        return replace(state, refusals=_counted(state.refusals, record))
    record = RefusalRecord(placed, made, signing_instance(state, statement))
    line = state.lines.get(made.subject)
    if line is None:
        raise EntryVoid("refusal.subject", "is for a contract that is not in the log")
    after = replace(line, refusals=_counted(line.refusals, record))
    return replace(state, lines=state.lines.put(made.subject, after))


def _counted(before: Refusals, record: RefusalRecord) -> Refusals:
    """One more, if it is a later one of its instance: whoever logs an entry again has nothing counted again."""
    made = record.refusal
    last = before.numbers.get(record.instance, 0)
    require("refusal.number", made.number > last, f"has number {made.number}, and its instance logged {last} before")
    return Refusals(
        logged=before.logged + 1,
        omitted=before.omitted + made.omitted,
        latest=(*before.latest, record)[-KEPT_REFUSALS:],
        numbers={**before.numbers, record.instance: made.number},
    )
