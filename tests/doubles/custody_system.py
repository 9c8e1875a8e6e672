"""A KMS over a ledger in memory under a contract with a secret and three custodians; owners and custodians to act."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from tests.doubles.custody_world import SECRET, CustodyWorld
from tests.doubles.kms_system import SECURITY, KmsSystem, WorldTee

from cloister.contract.recovery import recovery_seal
from cloister.contract.state import ContractLine
from cloister.crypto.hpke import unwrap, wrap
from cloister.crypto.signing import SigningKey
from cloister.formats import canonical
from cloister.formats.appraisal_policy import RoleReference
from cloister.formats.custody import (
    DEPOSIT_INFO,
    RECOVERY_INFO,
    SHARE_INFO,
    Deposit,
    Deposited,
    Recovery,
    Rotation,
    ShareSeal,
)
from cloister.formats.custody_messages import AssetReply, AssetRequest, parse_asset_reply, parse_intake
from cloister.ledger.statements import sign_statement
from cloister.node.evidence import evidence
from cloister.node.keys import NodeSecrets
from cloister.secret import SecretBytes
from cloister.services.kms.instance import Instance
from cloister.services.kms.kms import Kms
from cloister.services.kms.security import security_settings as kms_settings
from cloister.testing import world as worlds
from cloister.testing.memory_ledger import MemoryLedger
from cloister.trust.asset_reply import AssetsAskedFor, VerifiedAssets, examine_asset_reply
from cloister.trust.bundle import VerifiedBundle, examine_bundle
from cloister.trust.intake import VerifiedIntake, examine_intake
from cloister.trust.memory import first_contact


class CustodySystem(KmsSystem):
    """As `KmsSystem`, under the contract of `CustodyWorld`."""

    world: CustodyWorld

    def __init__(self, *, folder: Path | None = None, **changes: Any) -> None:
        self.now = changes.get("now", worlds.NOON)
        self.folder = folder
        self.world = CustodyWorld(**changes)
        self.world.log.entries.clear()
        self.parties = self.world.parties
        self.signers = (self.parties.owner, self.parties.operator)
        self.tee = WorldTee(self.parties.platform)
        self.ledger = MemoryLedger(self.world.log, clock=lambda: self.now)
        digest = kms_settings(SECURITY, unsafe=("UnsafeAllowSoftwareTee",)).digest()
        reference = RoleReference(role="kms", workloads=(worlds.WORKLOAD,), settings=(digest,))
        self.constitution = self.world.make_constitution(kms=reference)
        self.genesis = sign_statement("constitution", self.constitution, self.signers)
        self.contract = self.world.make_contract(constitution=self.constitution.digest())
        self.contract_entry = sign_statement(
            "contract", self.contract, (*self.signers, *self.world.custodians.values())
        )

    def kms(self, **changes: Any) -> Kms:
        tee = changes.pop("tee", None) or self.tee
        instance = Instance(tee, NodeSecrets.generate(), SECURITY, self.folder)
        clock = lambda: self.now  # noqa: E731 - read each time
        return Kms(self.ledger, instance, genesis=self.genesis, clock=clock, **changes)

    def custody(self, kms: Kms) -> ContractLine:
        """The line as this instance has folded it."""
        return kms._standing.state.lines[self.line]

    def examined(self, kms: Kms) -> VerifiedBundle:
        """The bundle that the KMS serves, examined as a client does."""
        memory = first_contact(self.constitution.digest())
        return examine_bundle(self.bundle(kms), self.policy(), memory, at=self.now).require()

    def intake(self, kms: Kms) -> VerifiedIntake:
        """The intake key, examined as an owner does."""
        data = kms.intake(self.line)
        assert data is not None
        return examine_intake(parse_intake(data), self.examined(kms), line=self.line).require()

    async def deposit(
        self,
        kms: Kms,
        *,
        value: bytes = SECRET,
        key: SigningKey | None = None,
        blob: bytes | None = None,
        **changes: Any,
    ) -> bytes:
        """An owner's deposit of the password, logged; its entry."""
        intake = self.intake(kms)
        deposited = Deposited(salt=bytes(32), value=value)
        terms = msgspec.structs.replace(
            self.world.terms(),
            **(
                {"contract": self.line, "generation": intake.generation, "commitment": deposited.commitment()} | changes
            ),
        )
        sealed = wrap(intake.key, canonical.encode(deposited), info=DEPOSIT_INFO, aad=canonical.encode(terms))
        digest = await self.ledger.put_blob(sealed if blob is None else blob)
        entry = sign_statement("deposit", Deposit(terms=terms, blob=digest), (key or self.parties.owner,))
        await self.ledger.append(entry)
        await kms.follow()
        return entry

    async def rotate(self, kms: Kms) -> None:
        """A party asks for the next root."""
        latest = self.custody(kms).custody.latest
        generation = latest.root.generation if latest else 1
        record = Rotation(contract=self.line, generation=generation, reason="a custodian left")
        await self.ledger.append(sign_statement("rotation", record, (self.parties.operator,)))
        await kms.follow()

    async def give_share(self, kms: Kms, name: str, share: SecretBytes | None = None) -> None:
        """A custodian opens its share in the log and gives it to `kms`, whose bundle it examined."""
        keys = self.examined(kms).kms.keys
        latest = self.custody(kms).custody.latest
        assert latest is not None
        root = latest.root
        seal = ShareSeal(
            contract=self.line, terms=root.terms, generation=root.generation, intake=root.intake, custodian=name
        )
        wrapped = next(one.wrapped for one in root.shares if one.custodian == name)
        opened = unwrap(self.world.seals[name], wrapped, info=SHARE_INFO, aad=canonical.encode(seal))
        again = wrap(
            keys.wrap,
            (share or opened).reveal(),
            info=RECOVERY_INFO,
            aad=recovery_seal(self.line, root.generation, name, keys.sign),
        )
        record = Recovery(
            contract=self.line, generation=root.generation, custodian=name, instance=keys.sign, wrapped=again
        )
        await self.ledger.append(sign_statement("recovery", record, (self.world.custodians[name],)))
        await kms.follow()


class WantingNode:
    """A gateway that asks for assets."""

    def __init__(self, system: CustodySystem, *assets: str) -> None:
        self.system = system
        self.assets = assets or ("password",)
        self.secrets = NodeSecrets.generate()

    async def ask(self, kms: Kms) -> AssetReply:
        shown = evidence(
            self.system.tee,
            challenge=kms.challenge(),
            settings=worlds.security_settings("gateway"),
            subject=self.system.contract.digest(),
            keys=self.secrets.public,
        )
        request = AssetRequest(contract=self.system.line, assets=self.assets, evidence=canonical.encode(shown))
        return parse_asset_reply(await kms.release_assets(canonical.encode(request)))

    async def assets_of(self, kms: Kms) -> VerifiedAssets:
        """What it gets, examined as a node does."""
        reply = await self.ask(kms)
        asked = AssetsAskedFor(self.system.line, self.assets, self.secrets.public, self.secrets.wrap)
        return examine_asset_reply(reply, asked, self.system.examined(kms)).require()
