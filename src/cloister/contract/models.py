"""Models that their owners registered, in the fold."""

from __future__ import annotations

from dataclasses import replace

from cloister.contract.placed import Placed, require
from cloister.contract.state import ContractLine, ModelRecord, State, living_line
from cloister.formats.model_registration import parse_model_registration
from cloister.ledger.statements import SignedStatement


def model(state: State, statement: SignedStatement, placed: Placed) -> State:
    """An owner stands by a model, once, until it takes that back; the contract says whose its own models are."""
    made = parse_model_registration(statement.payload)
    line = living_line(state, made.contract)
    owners = [one.name for one in line.current.with_duty("model-owner") if statement.signers <= frozenset(one.keys)]
    require("model.owner", bool(owners), "is not signed by one model owner of the contract, alone")
    named = {asset.owner for asset in line.current.assets if asset.kind == "model" and asset.digest == made.model}
    own = not named or owners[0] in named
    require("model.owner", own, f"is of a model that the contract says is of {', '.join(sorted(named))}")
    # By owner too: who registers another's model first, before a contract names it, keeps nobody from its own.
    key = (owners[0], made.model)
    require("model.once", key not in line.models, "is registered already")
    models = line.models.put(key, ModelRecord(placed, made, owners[0]))
    return replace(state, lines=state.lines.put(made.contract, replace(line, models=models)))


def registration_of(line: ContractLine, entry: bytes) -> ModelRecord | None:
    """The registration that the entry of this digest made, if it counts."""
    return next((one for one in line.models.values() if one.placed.digest == entry), None)
