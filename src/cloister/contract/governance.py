"""How constitutions and contracts take effect in the fold."""

from __future__ import annotations

from dataclasses import replace

from cloister.contract.amendment import first_contract, next_constitution, next_contract
from cloister.contract.state import ContractLine, Placed, State, require
from cloister.formats.contract import parse_contract
from cloister.ledger.statements import SignedStatement


def constitution(state: State, statement: SignedStatement, placed: Placed) -> State:
    """A successor retires every KMS instance: each shows itself again under the new rules."""
    successor = next_constitution(state.constitution, statement)
    chain = (*state.constitutions, placed)
    return replace(state, constitution=successor, constitutions=chain, instances=frozenset())


def contract(state: State, statement: SignedStatement, placed: Placed) -> State:
    """The first contract of a line, or the successor of one in force."""
    previous = parse_contract(statement.payload).previous
    for name, line in state.lines.items():
        if line.digest == previous:
            successor = next_contract(line.current, statement)
            amended = replace(line, chain=(*line.chain, placed), current=successor, digest=successor.digest())
            return replace(state, lines={**state.lines, name: amended})
    first = first_contract(statement)
    require("contract.constitution", first.constitution == state.genesis, "is for another constitution")
    require("contract.succession", first.digest() not in state.lines, "stands in the log already")
    return replace(state, lines={**state.lines, first.digest(): ContractLine((placed,), first, first.digest())})
