"""Handovers in the fold: which KMS instance gave which secrets to which."""

from __future__ import annotations

from dataclasses import replace

from cloister.contract.placed import Placed, require
from cloister.contract.state import HandoverRecord, State, giving_instance
from cloister.formats.handover import parse_handover
from cloister.ledger.statements import SignedStatement

KEPT_HANDOVERS = 64  # each is looked for right after it was logged


def handover(state: State, statement: SignedStatement, placed: Placed) -> State:
    """Secrets go from an instance, in force or retired by a successor, to one in force: to no other, ever."""
    made = parse_handover(statement.payload)
    giver = giving_instance(state, statement)
    current = state.constitution.digest()
    require("handover.constitution", made.constitution == current, "is not under the constitution in force")
    require("handover.instance", made.to in state.instances, "gives to no KMS instance under the one in force")
    known = {(secret.kind, secret.name) for secret in made.secrets} <= living_secrets(state)
    require("handover.secrets", known, "names what is no secret of the log's, or was revoked")
    record = HandoverRecord(placed, made, giver)
    return replace(state, handovers=(*state.handovers, record)[-KEPT_HANDOVERS:])


def living_secrets(state: State) -> frozenset[tuple[str, bytes]]:
    """Every secret that the log speaks of and nobody took back: kind and name."""
    lines = [line for line in state.lines.values() if not line.ended]
    epochs = (
        record.placed.digest
        for line in lines
        for record in line.epochs
        if record.placed.digest not in line.revoked and record.epoch.contract == line.digest
    )
    roots = (
        record.placed.digest
        for line in lines
        for record in line.custody.roots
        if record.root.generation > line.custody.retired
    )
    return frozenset({*(("epoch", name) for name in epochs), *(("root", name) for name in roots)})
