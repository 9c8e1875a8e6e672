"""What the fold keeps of one contract line's custody: its roots, its deposits, the uses made, the shares given back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cloister.contract.placed import Placed
from cloister.formats.contract import Asset, Contract, Grant
from cloister.formats.custody import Deposit, Recovery, Root, Use


@dataclass(frozen=True, slots=True)
class Custodian:
    """A party that holds a share, by what that takes."""

    name: str
    keys: frozenset[bytes]  # Ed25519; any one signs for it
    seal: bytes  # X-Wing: its share is sealed to it


@dataclass(frozen=True, slots=True)
class Custodians:
    """Who holds shares, in the contract's order, and how many give the secret; nobody, and 0, where none are named."""

    all: tuple[Custodian, ...]
    threshold: int


@dataclass(frozen=True, slots=True)
class RootRecord:
    """A root secret in effect, the signing key of the instance that made it, and who its shares were made for."""

    placed: Placed
    root: Root
    instance: bytes
    custodians: Custodians


@dataclass(frozen=True, slots=True)
class DepositRecord:
    """The latest deposit of an asset. Whether it was revoked, the line knows."""

    placed: Placed
    deposit: Deposit
    owner: str


@dataclass(frozen=True, slots=True)
class UseRecord:
    """A use that counts."""

    placed: Placed
    use: Use
    instance: bytes


@dataclass(frozen=True, slots=True)
class LineCustody:
    """The custody of one contract line."""

    roots: tuple[RootRecord, ...] = ()  # the latest is the last
    asked: int = 0  # the generation that a party asked to have followed
    retired: int = 0  # generations up to this one count no more
    deposits: Mapping[str, DepositRecord] = field(default_factory=dict)  # by the asset's name
    uses: Mapping[tuple[str, str], int] = field(default_factory=dict)  # by asset and task, over all contracts
    counted: tuple[UseRecord, ...] = ()  # the newest of those uses
    numbers: Mapping[bytes, int] = field(default_factory=dict)  # of the last use of each instance, by its signing key
    recoveries: tuple[Recovery, ...] = ()  # of the latest generation

    @property
    def latest(self) -> RootRecord | None:
        """The root that owners seal to."""
        return self.roots[-1] if self.roots else None

    def root(self, generation: int) -> RootRecord | None:
        """The root of that generation, if it was made and is not retired."""
        found = (record for record in self.roots if record.root.generation == generation)
        return None if generation <= self.retired else next(found, None)


def custodians_of(contract: Contract) -> Custodians:
    """Whom a contract names to hold shares."""
    if contract.custody == "none":
        return Custodians((), 0)
    parties = {party.name: party for party in contract.parties}
    named = (parties[name] for name in contract.custody.custodians)
    return Custodians(
        tuple(Custodian(party.name, frozenset(party.keys), party.seal) for party in named), contract.custody.threshold
    )


def root_due(contract: Contract, custody: LineCustody) -> bool:
    """Whether the next generation is to be made, as docs/formats/custody.md says."""
    latest = custody.latest
    if latest is not None and custody.asked == latest.root.generation:
        return True
    if latest is None or custodians_of(contract) != latest.custodians:
        return any(asset.kind == "secret" or asset.recovery == "custodians" for asset in contract.assets)
    return False


def asset_named(contract: Contract, name: str) -> Asset | None:
    """The asset of that name."""
    return next((asset for asset in contract.assets if asset.name == name), None)


def grant_of(contract: Contract, asset: str, task: str) -> Grant | None:
    """The owner's leave for `task` to use `asset`."""
    return next((grant for grant in contract.grants if (grant.asset, grant.task) == (asset, task)), None)
