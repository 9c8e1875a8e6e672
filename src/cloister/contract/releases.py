"""Releases and revocations in the fold."""

from __future__ import annotations

from dataclasses import replace

from cloister.contract.custody import deposit_of
from cloister.contract.models import registration_of
from cloister.contract.placed import EntryVoid, Placed, require
from cloister.contract.series import Series
from cloister.contract.state import ReleaseRecord, State, line_in_force, signing_instance
from cloister.formats.release import parse_release, parse_revocation
from cloister.ledger.statements import SignedStatement


def release(state: State, statement: SignedStatement, placed: Placed) -> State:
    """A transport key goes to a node."""
    made = parse_release(statement.payload)
    signer = signing_instance(state, statement)
    name, line = line_in_force(state, made.contract)
    known = any(record.placed.digest == made.epoch for record in line.epochs)
    require("gateway.epoch", known, "releases a key of no epoch of this contract")
    require("release.node", made.node.sign not in line.revoked_nodes, "releases a key to a node that is revoked")
    releases = line.releases.and_one(ReleaseRecord(placed, made, signer))
    return replace(state, lines=state.lines.put(name, replace(line, releases=releases)))


def revocation(state: State, statement: SignedStatement, _placed: Placed) -> State:
    """A party takes a key or release back, an owner its deposit or model, who has a veto or an asset the contract."""
    made = parse_revocation(statement.payload)
    line = state.lines.get(made.contract)
    if line is None:
        raise EntryVoid("revocation.contract", "is for a contract that is not in the log")
    parties = frozenset[bytes]().union(*line.current.voters.values())
    require("revocation.signature", bool(statement.signers & parties), "is signed by no party of the contract")
    if deposit := deposit_of(line, made.target):
        owned = statement.signers <= line.current.voters.get(deposit.owner, frozenset())
        require(
            "revocation.owner", owned, f"takes back a deposit and is not signed by its owner, {deposit.owner}, alone"
        )
        revoked = replace(line, revoked=line.revoked | {made.target})
        return replace(state, lines=state.lines.put(made.contract, revoked))
    if registered := registration_of(line, made.target):
        owned = statement.signers <= line.current.voters.get(registered.owner, frozenset())
        require(
            "revocation.owner", owned, f"takes back a model and is not signed by its owner, {registered.owner}, alone"
        )
        models = line.models.without((registered.owner, registered.registration.model))
        return replace(state, lines=state.lines.put(made.contract, replace(line, models=models)))
    if made.target == made.contract:
        may = sorted({*line.current.changes.veto, *(asset.owner for asset in line.current.assets)})
        keys = frozenset[bytes]().union(*(line.current.voters[name] for name in may))
        require("revocation.contract", bool(statement.signers & keys), f"ends the contract, which {', '.join(may)} may")
        return replace(state, lines=state.lines.put(made.contract, replace(line, ended=True)))
    nodes = {record.release.node.sign for record in line.releases if record.placed.digest == made.target}
    nodes |= {record.identity.node.sign for record in line.identities.issued if record.placed.digest == made.target}
    nodes |= {*filter(None, [line.identities.nodes.get(made.target)])}
    known = bool(nodes) or any(record.placed.digest == made.target for record in line.epochs)
    require("revocation.target", known, "names nothing that was made under the contract")
    # A node is revoked with its release or identity, or by its thumbprint, however much came since: its other releases
    # go, and no later one counts.
    releases = Series.of(record for record in line.releases if record.release.node.sign not in nodes)
    amended = replace(
        line,
        releases=releases,
        revoked=line.revoked | {made.target},
        revoked_nodes=line.revoked_nodes | nodes,
    )
    return replace(state, lines=state.lines.put(made.contract, amended))
