"""Root secrets of contract lines, and what is sealed under them (docs/formats/custody.md).

A line's KMS keeps one secret, from which its intake key derives. Owners seal secrets and asset keys to the intake key
and have that logged; custodians hold shares of the secret, in the log, each sealed to its custodian. What each seal
binds is a record of its own here, whose encoding is the seal's associated data.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.canonical import Digest, Measurement, Name, PublicKey, Seconds
from cloister.formats.constitution import Previous
from cloister.formats.evidence import NodeKeys, Role, XWingPublicKey

SHARE_INFO = b"cloister root share v1"
EARLIER_INFO = b"cloister earlier root v1"
DEPOSIT_INFO = b"cloister deposit v1"
RECOVERY_INFO = b"cloister recovery v1"
ASSET_INFO = b"cloister asset v1"

MAXIMUM_VALUE = 64 * 1024  # bytes of a secret; keys of models and datasets have 32
MAXIMUM_SEALED = MAXIMUM_VALUE + 2048  # bytes of a sealed deposit: with its salt, its encapsulated key, its tag
DATA_KEY = 32  # bytes

Generation = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
DepositNumber = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
UseNumber = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
WrappedShare = Annotated[bytes, msgspec.Meta(min_length=1, max_length=2048)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Workloads = Annotated[tuple[Measurement, ...], msgspec.Meta(min_length=1, max_length=16)]
Versions = Annotated[tuple[Digest, ...], msgspec.Meta(min_length=1, max_length=4)]


class Share(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One custodian's share, sealed to its party's key under `SHARE_INFO` and a `ShareSeal`."""

    custodian: Name
    commitment: Digest  # SHA-256 of the `CommittedShare`: whoever is given a share can tell whether it is this one
    wrapped: WrappedShare


class Root(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A root secret was made for a contract line, and shared as its contract says. Signed by the KMS instance."""

    version: Literal[2] = 2  # 1 committed to no share; no release wrote it
    contract: Digest  # the first contract of the line
    terms: Digest  # the contract in force, whose custody names the custodians
    generation: Generation
    previous: Previous  # SHA-256 of the entry of the generation before; empty for the first
    intake: XWingPublicKey  # derived from the secret: what the secret is held against for good
    threshold: Annotated[
        int, msgspec.Meta(ge=0, le=16)
    ]  # shares that give the secret; 0: the contract has no custodians
    shares: Annotated[tuple[Share, ...], msgspec.Meta(max_length=16)]
    earlier: Annotated[bytes, msgspec.Meta(max_length=2048)]  # the secret before, sealed to `intake`; empty: not held
    at: Seconds

    def share_seal(self, custodian: str) -> ShareSeal:
        """What the seal of that custodian's share binds."""
        return ShareSeal(
            contract=self.contract,
            terms=self.terms,
            generation=self.generation,
            intake=self.intake,
            custodian=custodian,
        )


class ShareSeal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the seal of a share binds."""

    contract: Digest
    terms: Digest
    generation: Generation
    intake: XWingPublicKey
    custodian: Name


class CommittedShare(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the log commits to: a share, and whose of which root it is.

    Each share has the entropy of the secret, 256 bits, also to who has fewer others than it takes; so its digest can be
    public. The fresh intake key in `seal` makes the digests of two roots two searches.
    """

    seal: ShareSeal
    share: bytes

    def commitment(self) -> bytes:
        """SHA-256 of the deterministic encoding, 32 bytes."""
        return hashlib.sha256(canonical.encode(self)).digest()

    def __repr__(self) -> str:
        return f"<CommittedShare, {len(self.share)} bytes>"


class EarlierSeal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the seal of the secret before binds: the generation that holds it, not the one that it is."""

    contract: Digest
    generation: Generation


class DepositTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an owner's seal binds: what is deposited, for which task and code, until when."""

    contract: Digest  # the first contract of the line
    asset: Name
    number: DepositNumber  # grows; the latest counts
    generation: Generation  # of the root to whose intake key it is sealed
    task: Name
    workloads: (
        Workloads | Literal["task"]
    )  # measurements it is meant for; `task`: those that the contract in force names
    under: Versions | Literal["line"]  # digests of the contracts that it is meant for; `line`: whichever is in force
    expires: Seconds
    commitment: Digest  # SHA-256 of the `Deposited` within


class Deposit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An owner gives a secret, or the key of a model or dataset, into custody. Signed by the asset's owner."""

    version: Literal[1] = 1
    terms: DepositTerms
    blob: Digest  # SHA-256 of the sealed bytes, which lie in the ledger's blob store


class Deposited(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is sealed: the value, and a salt, so that nobody can find a short secret by its commitment."""

    salt: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    value: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAXIMUM_VALUE)]

    def commitment(self) -> bytes:
        """SHA-256 of the deterministic encoding, 32 bytes."""
        return hashlib.sha256(canonical.encode(self)).digest()

    def __repr__(self) -> str:
        return f"<Deposited, {len(self.value)} bytes>"


class Recovery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A custodian gives its share to a KMS instance that it examined. Signed by the custodian's party."""

    version: Literal[1] = 1
    contract: Digest  # the first contract of the line
    generation: Generation
    custodian: Name
    instance: PublicKey  # the key by which the instance signs
    wrapped: WrappedShare  # sealed to the instance's X-Wing key under `RECOVERY_INFO` and a `RecoverySeal`


class RecoverySeal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the seal of a share to an instance binds."""

    contract: Digest
    generation: Generation
    custodian: Name
    instance: PublicKey


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A party asks for another root secret. Signed by a party of the contract."""

    version: Literal[1] = 1
    contract: Digest  # the first contract of the line
    generation: Generation  # the latest, which is to be followed
    reason: Reason


class Retirement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Generations up to this one count no more. Signed by the owner of everything that was deposited under them."""

    version: Literal[1] = 1
    contract: Digest  # the first contract of the line
    generation: Generation
    reason: Reason


class Use(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Assets go to a node: one use of each grant. Signed by the KMS instance."""

    version: Literal[2] = 2  # 1 had no number; no release wrote it
    contract: Digest  # the contract in force, whose digest the node's evidence binds
    number: UseNumber  # grows with each use of the contract line that this instance logs
    role: Role
    task: Name
    deposits: Annotated[tuple[Digest, ...], msgspec.Meta(min_length=1, max_length=16)]  # SHA-256 of their entries
    node: NodeKeys
    evidence: Digest  # SHA-256 of the evidence; the bytes are in the ledger's blob store
    checks: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=256)]  # ids of the steps that passed
    at: Seconds


class AssetSeal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the seal of an asset to a node binds."""

    use: Digest  # SHA-256 of the use's entry
    deposit: Digest  # SHA-256 of the deposit's entry


def parse_root(data: bytes) -> Root:
    """Parse the payload of a `root` statement."""
    return canonical.decode(data, Root, limit=40_000, items=256)


def parse_deposit(data: bytes) -> Deposit:
    """Parse the payload of a `deposit` statement."""
    return canonical.decode(data, Deposit, limit=4096, items=256)


def parse_deposited(data: bytes) -> Deposited:
    """Parse what was sealed."""
    return canonical.decode(data, Deposited, limit=MAXIMUM_VALUE + 128, items=16)


def parse_recovery(data: bytes) -> Recovery:
    """Parse the payload of a `recovery` statement."""
    return canonical.decode(data, Recovery, limit=4096, items=64)


def parse_rotation(data: bytes) -> Rotation:
    """Parse the payload of a `rotation` statement."""
    return canonical.decode(data, Rotation, limit=1024, items=64)


def parse_retirement(data: bytes) -> Retirement:
    """Parse the payload of a `retirement` statement."""
    return canonical.decode(data, Retirement, limit=1024, items=64)


def parse_use(data: bytes) -> Use:
    """Parse the payload of a `use` statement."""
    return canonical.decode(data, Use, limit=20_000, items=512)
