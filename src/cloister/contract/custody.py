"""Custody in the fold: roots, deposits, uses, recoveries, rotations, retirements (docs/formats/custody.md)."""

from __future__ import annotations

from dataclasses import replace

from cloister.contract.asset_use import check_use
from cloister.contract.custody_records import (
    DepositRecord,
    LineCustody,
    RootRecord,
    UseRecord,
    asset_named,
    custodians_of,
    root_due,
)
from cloister.contract.placed import EntryVoid, Placed, require
from cloister.contract.release_steps import USE_STEPS
from cloister.contract.state import ContractLine, State, line_in_force, living_line, signing_instance
from cloister.examination import Steps
from cloister.formats.custody import (
    parse_deposit,
    parse_recovery,
    parse_retirement,
    parse_root,
    parse_rotation,
    parse_use,
)
from cloister.ledger.statements import SignedStatement

KEPT_USES = 256  # of a line, as records; all are counted
MAXIMUM_ROOTS = 64  # of a line that are not retired: none is ever dropped, since deposits may be sealed under it


def root(state: State, statement: SignedStatement, placed: Placed) -> State:
    """A root secret was made: the next in its line's chain, shared among exactly those whom the contract names."""
    made = parse_root(statement.payload)
    signer = signing_instance(state, statement)
    line = living_line(state, made.contract)
    require("root.terms", made.terms == line.digest, "is shared by a contract that is not in force")
    latest = line.custody.latest
    follows = (latest.root.generation + 1, latest.placed.digest) if latest else (1, b"")
    require("root.chain", (made.generation, made.previous) == follows, f"generation {follows[0]} comes next")
    # The first may always be made: a line that keeps no assets wants one for its authority.
    due = latest is None or root_due(line.current, line.custody)
    require("root.due", due, "another root secret is not due")
    custodians = custodians_of(line.current)
    shared = (made.threshold, tuple(share.custodian for share in made.shares))
    named = (custodians.threshold, tuple(one.name for one in custodians.all))
    require("root.shares", shared == named, "is not shared as the contract says")
    roots = (*line.custody.roots, RootRecord(placed, made, signer, custodians))
    return _with(state, made.contract, replace(line.custody, roots=roots, recoveries=()))


def deposit(state: State, statement: SignedStatement, placed: Placed) -> State:
    """An owner gives an asset into custody; it takes the place of the asset's deposit before."""
    made = parse_deposit(statement.payload)
    terms = made.terms
    line = living_line(state, terms.contract)
    asset = asset_named(line.current, terms.asset)
    if asset is None:
        raise EntryVoid("deposit.asset", f"the contract in force has no asset {terms.asset}")
    owned = statement.signers <= line.current.voters[asset.owner]
    require("deposit.signature", owned, f"is not signed by {asset.owner}, the owner of {terms.asset}, alone")
    tasks = {task.name for task in line.current.tasks}
    require("deposit.task", terms.task in tasks, f"is for a task {terms.task} that the contract has not")
    meant = terms.under == "line" or line.digest in terms.under
    require("deposit.contract", meant, "is meant for contracts of which none is in force")
    named = asset.section == "none" or terms.workloads != "task"
    require("deposit.workloads", named, f"is the section {terms.asset}, and names no workload that it is meant for")
    sealed = line.custody.root(terms.generation) is not None
    require("deposit.generation", sealed, f"is sealed to root {terms.generation}, which was not made or is retired")
    before = line.custody.deposits.get(terms.asset)
    latest = before.deposit.terms.number if before else 0
    require("deposit.number", terms.number > latest, f"has number {terms.number}; {latest} was there before")
    require("deposit.expiry", state.latest < terms.expires, "had expired when it was logged")
    record = DepositRecord(placed, made, asset.owner)
    deposits = {**line.custody.deposits, terms.asset: record}
    return _with(state, terms.contract, replace(line.custody, deposits=deposits))


def use(state: State, statement: SignedStatement, placed: Placed) -> State:
    """Assets went to a node: one use of every grant, or none of any."""
    made = parse_use(statement.payload)
    signer = signing_instance(state, statement)
    name, line = line_in_force(state, made.contract)
    # Whoever may write to the log has the entries of before: one that came again would spend a grant of the owner's.
    last = line.custody.numbers.get(signer, 0)
    require("use.number", made.number > last, f"has number {made.number}, and its instance logged {last} before")
    require("release.node", made.node.sign not in line.revoked_nodes, "gives assets to a node that is revoked")
    named = {one.placed.digest: asset for asset, one in line.custody.deposits.items()}
    uses = dict(line.custody.uses)
    require("asset.deposit", len(set(made.deposits)) == len(made.deposits), "names a deposit twice")
    for digest in made.deposits:
        asset = named.get(digest)
        if asset is None:
            raise EntryVoid("asset.deposit", "names what is no asset's latest deposit")
        steps = Steps(USE_STEPS, EntryVoid)
        check_use(steps, line, asset, made.task, at=made.at)
        steps.examined(lambda: True).require()
        uses[asset, made.task] = uses.get((asset, made.task), 0) + 1
    counted = (*line.custody.counted, UseRecord(placed, made, signer))[-KEPT_USES:]
    numbers = {**line.custody.numbers, signer: made.number}
    return _with(state, name, replace(line.custody, uses=uses, counted=counted, numbers=numbers))


def recovery(state: State, statement: SignedStatement, _placed: Placed) -> State:
    """A custodian gives its share to an instance; its last word counts."""
    made = parse_recovery(statement.payload)
    line = living_line(state, made.contract)
    latest = line.custody.latest
    if latest is None or latest.root.generation != made.generation:
        raise EntryVoid("recovery.generation", f"is of root {made.generation}, which is not the latest")
    keys = {one.name: one.keys for one in latest.custodians.all}.get(made.custodian, frozenset())
    require("recovery.custodian", bool(keys), f"{made.custodian} holds no share of it")
    require("recovery.signature", statement.signers <= keys, f"is not signed by {made.custodian} alone")
    require("recovery.instance", made.instance in state.instances, "gives the share to no known KMS instance")
    others = [
        one for one in line.custody.recoveries if (one.custodian, one.instance) != (made.custodian, made.instance)
    ]
    return _with(state, made.contract, replace(line.custody, recoveries=(*others, made)))


def rotation(state: State, statement: SignedStatement, _placed: Placed) -> State:
    """A party asks for another root secret."""
    made = parse_rotation(statement.payload)
    line = living_line(state, made.contract)
    _signed_by_a_party(line, statement)
    latest = line.custody.latest
    same = latest is not None and latest.root.generation == made.generation
    require("rotation.generation", same, f"root {made.generation} is not the latest")
    in_use = made.generation - line.custody.retired
    require("rotation.number", in_use < MAXIMUM_ROOTS, f"{in_use} roots are in use: retire some first")
    return _with(state, made.contract, replace(line.custody, asked=made.generation))


def retirement(state: State, statement: SignedStatement, _placed: Placed) -> State:
    """Generations up to one count no more, by the word of all whose deposits end with them."""
    made = parse_retirement(statement.payload)
    line = living_line(state, made.contract)
    _signed_by_a_party(line, statement)
    latest = line.custody.latest
    older = latest is not None and line.custody.retired < made.generation < latest.root.generation
    require("retirement.generation", older, f"root {made.generation} is the latest, retired, or was not made")
    ended = [
        record.owner
        for record in line.custody.deposits.values()
        if line.custody.retired < record.deposit.terms.generation <= made.generation
        and record.placed.digest not in line.revoked
    ]
    voters = line.current.voters
    silent = sorted({owner for owner in ended if not voters.get(owner, frozenset()) & statement.signers})
    require("retirement.owners", not silent, f"would end deposits of {', '.join(silent)}, who did not sign")
    return _with(state, made.contract, replace(line.custody, retired=made.generation))


def deposit_of(line: ContractLine, digest: bytes) -> DepositRecord | None:
    """The deposit whose entry has this digest, if it is its asset's latest."""
    return next((one for one in line.custody.deposits.values() if one.placed.digest == digest), None)


def _signed_by_a_party(line: ContractLine, statement: SignedStatement) -> None:
    keys = frozenset[bytes]().union(*line.current.voters.values())
    require("custody.signature", statement.signers <= keys, "is signed by one who is no party of the contract")


def _with(state: State, name: bytes, custody: LineCustody) -> State:
    return replace(state, lines=state.lines.put(name, replace(state.lines[name], custody=custody)))
