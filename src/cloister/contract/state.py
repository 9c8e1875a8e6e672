"""What the ledger adds up to: a fold over its entries in their order, and nothing else.

An entry that its rules do not allow is void: it has no effect, for a reason that is said. So whoever can write to the
log can add noise but no state, and everyone who replays the log gets the same state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from cloister.attest.evidence import Expected, examine_evidence
from cloister.attest.seen import SEEN_NOTHING
from cloister.contract.amendment import first_constitution, first_contract, next_constitution, next_contract
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.formats import key_config
from cloister.formats.constitution import Constitution
from cloister.formats.contract import Contract, parse_contract
from cloister.formats.evidence import parse_evidence
from cloister.formats.release import (
    Epoch,
    Release,
    parse_epoch,
    parse_kms_instance,
    parse_release,
    parse_revocation,
)
from cloister.ledger.statements import SignedStatement, open_statement

TIME_SLACK = 86_400  # seconds by which the times that KMS instances state may run behind each other
KEPT_EPOCHS = 8  # of a contract; older ones are stale long since, and their releases go with them


class EntryVoid(Refused):
    """An entry has no effect; `check` names the rule."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where an entry stands: its index, its bytes, and their SHA-256."""

    index: int
    entry: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """An epoch in effect, and the signing key of the KMS instance that holds its key."""

    placed: Placed
    epoch: Epoch
    instance: bytes


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """A release in effect, and the signing key of the KMS instance that made it."""

    placed: Placed
    release: Release
    instance: bytes


@dataclass(frozen=True, slots=True)
class ContractLine:
    """A contract with its successors, and what was made under it."""

    chain: tuple[Placed, ...]
    current: Contract
    digest: bytes  # of `current`
    epochs: tuple[EpochRecord, ...] = ()
    releases: tuple[ReleaseRecord, ...] = ()
    revoked: frozenset[bytes] = frozenset()  # digests of entries
    revoked_nodes: frozenset[bytes] = frozenset()  # signing keys of nodes whose release was revoked


@dataclass(frozen=True, slots=True)
class State:
    """The ledger's meaning after `size` entries."""

    genesis: bytes
    constitution: Constitution
    constitutions: tuple[Placed, ...]
    lines: Mapping[bytes, ContractLine] = field(default_factory=dict)  # by the digest of the first contract
    instances: frozenset[bytes] = frozenset()  # signing keys of KMS instances under the constitution in force
    latest: int = 0  # the latest time at which an instance showed itself, which witnesses stated; seconds since 1970
    size: int = 1
    void: int = 0  # entries without effect
    reason: str = ""  # why the last entry has none; empty where it took effect


def begin(entry: bytes, *, genesis: bytes) -> State:
    """The state after the log's first entry, which is the genesis or nothing counts.

    Raises:
        Refused: `constitution.genesis` or what is wrong with it.
    """
    try:
        statement = open_statement(entry)
        constitution = first_constitution(statement)
    except (MalformedInput, TooLarge, BadSignature) as error:
        raise EntryVoid("constitution.genesis", f"the log's first entry is no constitution: {error}") from error
    if constitution.digest() != genesis:
        raise EntryVoid("constitution.genesis", f"the log begins with {constitution.digest().hex()[:16]}…")
    return State(genesis, constitution, (Placed(0, entry, statement.digest),))


def fold(state: State, entries: Iterable[bytes]) -> State:
    """The state after `entries`, which follow those that made `state`."""
    for entry in entries:
        state = advance(state, entry)
    return state


def advance(state: State, entry: bytes) -> State:
    """The state after one more entry; a void one changes nothing but the counts."""
    index = state.size
    try:
        statement = open_statement(entry)
        after = _RULES[statement.kind](state, statement, Placed(index, entry, statement.digest))
    except (Refused, MalformedInput, TooLarge, BadSignature) as error:
        return replace(state, size=index + 1, void=state.void + 1, reason=str(error))
    return replace(after, size=index + 1, reason="")


def _constitution(state: State, statement: SignedStatement, placed: Placed) -> State:
    """A successor retires every KMS instance: each shows itself again under the new rules."""
    constitution = next_constitution(state.constitution, statement)
    chain = (*state.constitutions, placed)
    return replace(state, constitution=constitution, constitutions=chain, instances=frozenset())


def _contract(state: State, statement: SignedStatement, placed: Placed) -> State:
    previous = parse_contract(statement.payload).previous
    for name, line in state.lines.items():
        if line.digest == previous:
            successor = next_contract(line.current, statement)
            amended = replace(line, chain=(*line.chain, placed), current=successor, digest=successor.digest())
            return replace(state, lines={**state.lines, name: amended})
    contract = first_contract(statement)
    _require("contract.constitution", contract.constitution == state.genesis, "is for another constitution")
    _require("contract.succession", contract.digest() not in state.lines, "stands in the log already")
    return replace(
        state, lines={**state.lines, contract.digest(): ContractLine((placed,), contract, contract.digest())}
    )


def _kms(state: State, statement: SignedStatement, _placed: Placed) -> State:
    """An instance counts if its evidence holds under the constitution in force, at the time that it states.

    Its challenge is not checked here: the keys bound never leave the instance, so old evidence for them is as good.
    Its time may not lie before what the log says already: endorsements that were true once would be true again.
    """
    instance = parse_kms_instance(statement.payload)
    _require("kms.time", instance.at + TIME_SLACK >= state.latest, "states a time long before the entries before it")
    evidence = parse_evidence(instance.evidence)
    current = state.constitution.digest()
    _require("kms.constitution", instance.constitution == current, "is not under the constitution in force")
    expected = Expected(evidence.binding.challenge, current, state.constitution.kms)
    appraised = examine_evidence(
        evidence, state.constitution.appraisal, expected, at=instance.at, seen=SEEN_NOTHING
    ).require()
    _require("kms.signature", statement.signers == {appraised.keys.sign}, "is not signed by the keys in its evidence")
    latest = max(state.latest, instance.at)
    return replace(state, instances=state.instances | statement.signers, latest=latest)


def _epoch(state: State, statement: SignedStatement, placed: Placed) -> State:
    epoch = parse_epoch(statement.payload)
    key_config.decode(epoch.key_config)
    instance = _instance(state, statement)
    name, line = _line_in_force(state, epoch.contract)
    last = line.epochs[-1] if line.epochs else None
    number, previous = (last.epoch.number + 1, last.placed.digest) if last else (1, b"")
    _require("epoch.chain", (epoch.number, epoch.previous) == (number, previous), f"epoch {number} comes next")
    ordered = epoch.not_before < epoch.not_after <= epoch.stale_until
    _require("epoch.window", ordered, "its window ends before it begins")
    epochs = (*line.epochs, EpochRecord(placed, epoch, instance))[-KEPT_EPOCHS:]
    kept = {record.placed.digest for record in epochs}
    releases = tuple(record for record in line.releases if record.release.epoch in kept)
    return replace(state, lines={**state.lines, name: replace(line, epochs=epochs, releases=releases)})


def _release(state: State, statement: SignedStatement, placed: Placed) -> State:
    release = parse_release(statement.payload)
    instance = _instance(state, statement)
    name, line = _line_in_force(state, release.contract)
    known = any(record.placed.digest == release.epoch for record in line.epochs)
    _require("gateway.epoch", known, "releases a key of no epoch of this contract")
    _require("release.node", release.node.sign not in line.revoked_nodes, "releases a key to a node that is revoked")
    releases = (*line.releases, ReleaseRecord(placed, release, instance))
    return replace(state, lines={**state.lines, name: replace(line, releases=releases)})


def _revocation(state: State, statement: SignedStatement, _placed: Placed) -> State:
    revocation = parse_revocation(statement.payload)
    line = state.lines.get(revocation.contract)
    if line is None:
        raise EntryVoid("revocation.contract", "is for a contract that is not in the log")
    parties = {party.key for party in line.current.parties}
    _require("revocation.signature", bool(statement.signers & parties), "is signed by no party of the contract")
    targets = {record.placed.digest for record in line.epochs} | {record.placed.digest for record in line.releases}
    _require("revocation.target", revocation.target in targets, "names nothing that was made under the contract")
    nodes = {record.release.node.sign for record in line.releases if record.placed.digest == revocation.target}
    # A node is revoked with its release: its other releases go, and no later one counts.
    releases = tuple(record for record in line.releases if record.release.node.sign not in nodes)
    amended = replace(
        line,
        releases=releases,
        revoked=line.revoked | {revocation.target},
        revoked_nodes=line.revoked_nodes | nodes,
    )
    return replace(state, lines={**state.lines, revocation.contract: amended})


def _instance(state: State, statement: SignedStatement) -> bytes:
    """The one signer, if it is a KMS instance under the constitution in force."""
    known = statement.signers & state.instances
    _require("kms.signature", len(known) == 1 == len(statement.signers), "is not signed by a known KMS instance")
    return next(iter(known))


def _line_in_force(state: State, digest: bytes) -> tuple[bytes, ContractLine]:
    for name, line in state.lines.items():
        if line.digest == digest:
            return name, line
    raise EntryVoid("contract.succession", "is for a contract that is not in force")


def _require(check: str, passed: bool, shortfall: str) -> None:
    if not passed:
        raise EntryVoid(check, shortfall)


_RULES: Mapping[str, Callable[[State, SignedStatement, Placed], State]] = {
    "constitution": _constitution,
    "contract": _contract,
    "kms": _kms,
    "epoch": _epoch,
    "release": _release,
    "revocation": _revocation,
}
