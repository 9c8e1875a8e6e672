"""What it takes to deposit something under a contract line: the examined intake key, and what the contract says."""

from __future__ import annotations

import time
from dataclasses import dataclass

from cloister.cli.line_access import LineAccess
from cloister.cli.log_entry import log_entry
from cloister.client.custody import Meant, SealedDeposit, seal_deposit
from cloister.contract.custody_records import asset_named
from cloister.contract.state import ContractLine
from cloister.crypto.signing import SigningKey
from cloister.errors import UsageError
from cloister.formats.canonical import Measurement
from cloister.formats.contract import Asset, Contract
from cloister.formats.custody import DATA_KEY
from cloister.peers.kms import KmsClient
from cloister.peers.ledger import LedgerClient
from cloister.secret import SecretBytes
from cloister.trust.intake import VerifiedIntake, examine_intake

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Wish:
    """What an owner asks for."""

    asset: str
    days: int
    any_workload: bool
    any_version: bool


@dataclass(frozen=True, slots=True)
class Terms:
    """The contract line as it is now: the key to seal to, what is deposited, and what the contract in force says."""

    intake: VerifiedIntake
    line: ContractLine
    contract: Contract

    def meant(self, value: SecretBytes, wish: Wish, owner: SigningKey) -> Meant:
        """What a deposit of `value` is for, if it would count.

        Raises:
            UsageError: it would not; the sentence says why.
        """
        asset = owned_asset(self.contract, wish.asset, owner)
        if asset.kind != "secret" and len(value) != DATA_KEY:
            raise UsageError(f"{asset.name} is a {asset.kind}: its key has {DATA_KEY} bytes, not {len(value)}")
        latest = self.line.custody.deposits.get(asset.name)
        return Meant(
            asset=asset.name,
            number=latest.deposit.terms.number + 1 if latest else 1,
            task=self.contract.serving.name,
            workloads=None if wish.any_workload else _workloads(self.contract),
            under=None if wish.any_version else (self.contract.digest(),),
            expires=int(time.time()) + wish.days * DAY,  # noqa: TID251 - a person deposits it now
        )

    def sealed(self, value: SecretBytes, wish: Wish, owner: SigningKey) -> SealedDeposit:
        """`value`, sealed and signed; raises as `meant`."""
        return seal_deposit(self.intake, value, self.meant(value, wish, owner), owner)


async def terms_of(line: LineAccess, kms: KmsClient, ledger: LedgerClient) -> Terms:
    """The line's terms, from a KMS and a log that were examined; before anything of a secret is touched.

    Raises:
        Refused: a step of the bundle, of the intake key or of the log failed; it is named.
        Unavailable: one of them does not answer.
    """
    bundle = await line.examined(kms)
    intake = examine_intake(await kms.intake(line.digest), bundle, line=line.digest).require()
    before = line.of((await line.ledger.fetched(ledger)).replayed.state)
    return Terms(intake, before, bundle.contract)


async def log_deposit(line: LineAccess, ledger: LedgerClient, entry: bytes, blob: bytes) -> int:
    """Where the deposit stands in the log: the sealed bytes first, then the word on them; raises as `log_entry`."""
    await ledger.put_blob(blob)
    index, _ = await log_entry(line.ledger, ledger, entry)
    return index


def owned_asset(contract: Contract, name: str, owner: SigningKey) -> Asset:
    """The asset of that name, which is the key's owner's.

    Raises:
        UsageError: there is none, or it is another's.
    """
    asset = asset_named(contract, name)
    if asset is None:
        names = ", ".join(one.name for one in contract.assets) or "none"
        raise UsageError(f"the contract in force has no asset {name}; it has {names}")
    if owner.public not in contract.voters[asset.owner]:
        raise UsageError(f"the key is not one of {asset.owner}, who owns {asset.name}")
    return asset


def _workloads(contract: Contract) -> tuple[Measurement, ...]:
    named = {workload for node in contract.serving.nodes for workload in node.workloads}
    if not named:
        raise UsageError("the contract in force names no workload for its task: nothing could have the secret")
    return tuple(sorted(named))
