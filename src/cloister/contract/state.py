"""What the ledger adds up to, as records, and what the rules for its entries have in common.

An entry that its rules do not allow is void: it has no effect, for a reason that is said. So whoever can write to the
log can add noise but no state, and everyone who replays the log gets the same state. `contract.fold` goes through the
entries; the rules for each kind stand in `contract.governance`, `contract.instances` and `contract.releases`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cloister.contract.custody_records import LineCustody
from cloister.contract.governed import Governed
from cloister.contract.identity_records import LineIdentities
from cloister.contract.lines import Lines
from cloister.contract.placed import EntryVoid, Placed, require
from cloister.contract.series import Series
from cloister.contract.shared_map import SharedMap
from cloister.formats.constitution import Constitution
from cloister.formats.contract import Contract
from cloister.formats.handover import Handover
from cloister.formats.model_registration import ModelRegistration
from cloister.formats.refusal import Refusal
from cloister.formats.release import Epoch, Release
from cloister.ledger.statements import SignedStatement


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """An epoch in effect, and the signing key of the KMS instance that made it."""

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
class RefusalRecord:
    """A refusal that counts, and the signing key of the KMS instance that refused."""

    placed: Placed
    refusal: Refusal
    instance: bytes


@dataclass(frozen=True, slots=True)
class Refusals:
    """Who got nothing, as KMS instances told: of one contract line, or of handovers."""

    logged: int = 0  # entries
    omitted: int = 0  # more that stand in no entry
    latest: tuple[RefusalRecord, ...] = ()  # the newest last
    numbers: Mapping[bytes, int] = field(default_factory=dict)  # the last of each instance, by its signing key


@dataclass(frozen=True, slots=True)
class HandoverRecord:
    """A handover in effect, and the signing key of the KMS instance that gave."""

    placed: Placed
    handover: Handover
    giver: bytes


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model that is registered, and the party that owns it."""

    placed: Placed
    registration: ModelRegistration
    owner: str


@dataclass(frozen=True, slots=True)
class ContractLine:
    """A contract with its successors, and what was made under it."""

    governed: Governed[Contract]
    epochs: tuple[EpochRecord, ...] = ()
    releases: Series[ReleaseRecord] = field(default_factory=Series)
    revoked: frozenset[bytes] = frozenset()  # digests of entries
    revoked_nodes: frozenset[bytes] = frozenset()  # signing keys of nodes whose release was revoked
    custody: LineCustody = field(default_factory=LineCustody)
    refusals: Refusals = field(default_factory=Refusals)
    identities: LineIdentities = field(default_factory=LineIdentities)
    models: SharedMap[tuple[str, bytes], ModelRecord] = field(
        default_factory=SharedMap
    )  # by owner and manifest's digest
    ended: bool = False  # a party that may revoked the contract itself: nothing is made under it any more

    @property
    def current(self) -> Contract:
        """The contract in force."""
        return self.governed.current

    @property
    def digest(self) -> bytes:
        """Its digest, 32 bytes."""
        return self.governed.digest

    @property
    def chain(self) -> tuple[Placed, ...]:
        """The entries that brought it into force, from the first contract's on."""
        return self.governed.chain


@dataclass(frozen=True, slots=True)
class State:
    """The ledger's meaning after `size` entries."""

    genesis: bytes
    rules: Governed[Constitution]
    lines: Lines[ContractLine] = field(default_factory=Lines)  # by the digest of the first contract
    instances: tuple[bytes, ...] = ()  # signing keys of KMS instances under the constitution in force, the newest last
    retired: tuple[bytes, ...] = ()  # those of constitutions before: all that they may do is hand over
    handovers: tuple[HandoverRecord, ...] = ()  # the newest last
    refusals: Refusals = field(default_factory=Refusals)  # of handovers
    latest: int = 0  # the latest time at which an instance showed itself, which witnesses stated; seconds since 1970
    time: int = 0  # how late it is at least, as `time` entries show; seconds since 1970
    size: int = 1
    void: int = 0  # entries without effect
    reason: str = ""  # why the last entry has none; empty where it took effect
    broken: str = ""  # the rule that says so; empty, too, where the entry or its payload cannot be read

    @property
    def constitution(self) -> Constitution:
        """The constitution in force."""
        return self.rules.current

    @property
    def constitutions(self) -> tuple[Placed, ...]:
        """The entries that brought it into force, from the genesis on."""
        return self.rules.chain


def signing_instance(state: State, statement: SignedStatement) -> bytes:
    """The one signer, if it is a KMS instance under the constitution in force.

    Raises:
        EntryVoid: `kms.signature`.
    """
    known = statement.signers.intersection(state.instances)
    require("kms.signature", len(known) == 1 == len(statement.signers), "is not signed by a known KMS instance")
    return next(iter(known))


def giving_instance(state: State, statement: SignedStatement) -> bytes:
    """The one signer, if it is a KMS instance, under the constitution in force or retired by it.

    Raises:
        EntryVoid: `kms.signature`.
    """
    known = statement.signers.intersection((*state.instances, *state.retired))
    require("kms.signature", len(known) == 1 == len(statement.signers), "is not signed by a known KMS instance")
    return next(iter(known))


def line_in_force(state: State, digest: bytes) -> tuple[bytes, ContractLine]:
    """The line whose contract in force has this digest, with its name.

    Raises:
        EntryVoid: there is none.
    """
    found = state.lines.in_force(digest)
    if found is None or found[1].ended:
        raise EntryVoid("contract.succession", "is for a contract that is not in force")
    return found


def living_line(state: State, digest: bytes) -> ContractLine:
    """The line whose first contract has this digest, which nobody ended.

    Raises:
        EntryVoid: there is none.
    """
    line = state.lines.get(digest)
    if line is None:
        raise EntryVoid("contract.succession", "is for a contract that is not in the log")
    require("contract.succession", not line.ended, "is for a contract that was revoked")
    return line
