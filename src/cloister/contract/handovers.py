"""Handovers in the fold: which KMS instance gave which secrets to which."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from cloister.contract.placed import Placed, require
from cloister.contract.state import HandoverRecord, State, giving_instance
from cloister.formats.handover import NamedSecret, parse_handover
from cloister.ledger.statements import SignedStatement

KEPT_HANDOVERS = 64  # each is looked for right after it was logged


def handover(state: State, statement: SignedStatement, placed: Placed) -> State:
    """Secrets go from an instance, in force or retired by a successor, to one in force: to no other, ever."""
    made = parse_handover(statement.payload)
    giver = giving_instance(state, statement)
    current = state.constitution.digest()
    require("handover.constitution", made.constitution == current, "is not under the constitution in force")
    require("handover.instance", made.to in state.instances, "gives to no KMS instance under the one in force")
    unknown = [secret for secret in made.secrets if not is_secret(state, secret)]
    require("handover.secrets", not unknown, "names what is no secret of the log's, or was revoked")
    record = HandoverRecord(placed, made, giver)
    return replace(state, handovers=(*state.handovers, record)[-KEPT_HANDOVERS:])


def is_secret(state: State, secret: NamedSecret) -> bool:
    """Whether the log speaks of such a secret, and nobody took it back."""
    return secret.name in (_epochs(state) if secret.kind == "epoch" else _roots(state))


def _epochs(state: State) -> Container[bytes]:
    return {
        record.placed.digest
        for line in state.lines.values()
        for record in line.epochs
        if record.placed.digest not in line.revoked and record.epoch.contract == line.digest and not line.ended
    }


def _roots(state: State) -> Container[bytes]:
    return {
        record.placed.digest
        for line in state.lines.values()
        for record in line.custody.roots
        if record.root.generation > line.custody.retired and not line.ended
    }
