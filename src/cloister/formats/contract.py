"""Contracts: who lets which code use what of theirs, where and for whom (docs/formats/contract.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.appraisal_policy import AppraisalPolicy, RoleReference
from cloister.formats.canonical import Count, Digest, Name, PublicKey, Seconds
from cloister.formats.change_rules import ChangeRules
from cloister.formats.constitution import Previous
from cloister.formats.policy_expression import Expressions, require_expressions

Duty = Literal["model-owner", "data-provider", "operator", "result-recipient", "custodian", "publisher", "auditor"]
Method = Literal["GET", "POST"]
SectionKind = Literal["workload", "environment", "secrets"]  # docs/formats/section.md
Tier = Literal["contents", "namespaces", "files", "sockets", "signals", "kernel"]
TIERS: Final[tuple[Tier, ...]] = (  # each denies all that those before do; docs/sandbox.md says what
    *("contents", "namespaces", "files", "sockets", "signals", "kernel"),
)
ANY_ID = "{id}"  # as a whole segment of a path: any one name that is not empty, see `docs/formats/contract.md`
# Twice at most: KServe's paths name a model and its version.
Path = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^/[A-Za-z0-9/_.-]{0,200}\Z"
        r"|^/([A-Za-z0-9/_.-]{0,95}/)?\{id\}(/([A-Za-z0-9/_.-]{0,95}/)?\{id\})?(/[A-Za-z0-9/_.-]{0,95})?\Z"
    ),
]
SealKey = Annotated[bytes, msgspec.Meta(max_length=1216)]  # X-Wing, 1,216 bytes; empty: nothing is sealed to it
Sentence = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
Uses = Annotated[int, msgspec.Meta(ge=1, le=2**53)]


class Party(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An organisation: what it does here, the keys of which any one signs for it, and the one that opens for it."""

    name: Name
    duties: Annotated[tuple[Duty, ...], msgspec.Meta(min_length=1, max_length=7)]
    keys: Annotated[tuple[PublicKey, ...], msgspec.Meta(min_length=1, max_length=8)]
    seal: SealKey


class Asset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something of a party's that is used and not shown. `digest`: SHA-256, of a model's or dataset's bytes or list."""

    name: Name
    kind: Literal["model", "dataset", "secret"]
    digest: Annotated[bytes, msgspec.Meta(max_length=32)]  # empty for a secret: whoever knows it could guess it
    owner: Name
    recovery: Literal["none", "custodians"]  # of its key, where every KMS that holds it is lost
    section: SectionKind | Literal["none"]  # of a secret that is a section: which persona's


class Custody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who holds a share of what opens the assets' keys, and how many of them together open it."""

    custodians: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=16)]
    threshold: Annotated[int, msgspec.Meta(ge=1, le=16)]


class NamedDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An engine, by name and SHA-256."""

    name: Name
    digest: Digest


class Endpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request that the gateway passes to the engine; every other is refused."""

    method: Method
    path: Path


class Sandbox(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an engine is confined in: one of these profiles, and of this tier at least."""

    tier: Tier
    profiles: Annotated[tuple[Digest, ...], msgspec.Meta(min_length=1, max_length=16)]


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is done with assets, by which code."""

    name: Name
    kind: Literal["serve"]
    nodes: Annotated[tuple[RoleReference, ...], msgspec.Meta(max_length=8)]  # measurements and settings, by role
    sandbox: Sandbox
    engine: NamedDigest
    endpoints: Annotated[tuple[Endpoint, ...], msgspec.Meta(max_length=64)]


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An owner's leave for a task to use an asset."""

    asset: Name
    task: Name
    uses: Uses | Literal["unlimited"]  # releases of its key to nodes
    not_after: Seconds
    policy: Expressions  # the release policy: each has to hold of the node's appraised evidence

    def __post_init__(self) -> None:
        """Refuse what is no expression."""
        require_expressions(self.policy)


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What leaves a task, and to whom. Nothing else does."""

    name: Name
    task: Name
    what: Literal["answers", "model", "statistics"]
    recipients: Annotated[tuple[Name, ...], msgspec.Meta(max_length=16)]  # parties; empty: the client who asked


class Term(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A data-use term: the sentence that people agreed to, and the checks that enforce it.

    Without a check it is a promise: it binds people, and no machine holds them to it.
    """

    text: Sentence
    checks: Annotated[tuple[Name, ...], msgspec.Meta(max_length=16)]  # ids of the check catalogue


class Contract(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The first of a line has sequence 0 and no `previous`; its digest is the identity of the contract for good."""

    version: Literal[2] = 2
    name: Name
    sequence: Count
    previous: Previous
    constitution: Digest  # the KMS, by its genesis
    parties: Annotated[tuple[Party, ...], msgspec.Meta(min_length=1, max_length=16)]
    assets: Annotated[tuple[Asset, ...], msgspec.Meta(max_length=64)]
    custody: Custody | Literal["none"]
    tasks: Annotated[tuple[Task, ...], msgspec.Meta(min_length=1, max_length=8)]
    grants: Annotated[tuple[Grant, ...], msgspec.Meta(max_length=128)]
    outcomes: Annotated[tuple[Outcome, ...], msgspec.Meta(max_length=32)]
    terms: Annotated[tuple[Term, ...], msgspec.Meta(max_length=64)]
    appraisal: AppraisalPolicy
    changes: ChangeRules
    not_before: Seconds
    not_after: Seconds
    local: bool

    def digest(self) -> bytes:
        """SHA-256 of the deterministic encoding, 32 bytes."""
        return hashlib.sha256(canonical.encode(self)).digest()

    @property
    def voters(self) -> Mapping[str, frozenset[bytes]]:
        """The parties' signing keys by their names."""
        return {party.name: frozenset(party.keys) for party in self.parties}

    @property
    def serving(self) -> Task:
        """The task that answers clients; the form of a contract is that there is one."""
        return self.tasks[[task.kind for task in self.tasks].index("serve")]

    def granted(self, task: str, kind: str) -> tuple[Asset, ...]:
        """The assets of a kind that a task has a grant for."""
        names = {grant.asset for grant in self.grants if grant.task == task}
        return tuple(asset for asset in self.assets if asset.kind == kind and asset.name in names)

    def with_duty(self, duty: Duty) -> tuple[Party, ...]:
        """The parties that have this duty."""
        return tuple(party for party in self.parties if duty in party.duties)


def parse_contract(data: bytes) -> Contract:
    """Parse the payload of a `contract` statement."""
    return canonical.decode(data, Contract, limit=60_000)
