"""A KMS over a ledger in memory whose contract names a role for programs of others, and a node that asks for one."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.doubles.kms_system import KmsSystem

from cloister.contract.identity_key import sign_identity_key
from cloister.crypto.p256 import P256Key
from cloister.formats import canonical
from cloister.formats.evidence import Evidence, Role
from cloister.formats.identity import IdentityReply, IdentityRequest, parse_identity_reply
from cloister.node.evidence import evidence
from cloister.node.keys import NodeSecrets
from cloister.services.kms.kms import Kms
from cloister.testing import world
from cloister.trust.bundle import VerifiedBundle, examine_bundle
from cloister.trust.identity_reply import IdentityAskedFor, VerifiedIdentity, examine_identity_reply
from cloister.trust.memory import first_contact


class IdentitySystem(KmsSystem):
    """As `KmsSystem`; the contract names gateway and service."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        task = world.serving(nodes=(world.reference("gateway"), world.reference("service")))
        self.contract = msgspec.structs.replace(self.contract, tasks=(task,), **changes)
        self.contract_entry = self.sign_contract(self.contract)

    def examined(self, kms: Kms) -> VerifiedBundle:
        """The bundle that the KMS serves, examined as a node does."""
        memory = first_contact(self.constitution.digest())
        return examine_bundle(self.bundle(kms), self.policy(), memory, at=self.now).require()

    def identities(self, kms: Kms) -> Any:
        """Those of the line, as this instance has folded it."""
        return kms._standing.state.lines[self.line].identities


class NamedNode:
    """A node that asks for a certificate; a test changes one thing about it."""

    def __init__(self, system: KmsSystem, role: Role = "service") -> None:
        self.system = system
        self.role: Role = role
        self.secrets = NodeSecrets.generate()
        self.tls = P256Key.generate()

    def evidence(self, challenge: bytes) -> Evidence:
        return evidence(
            self.system.tee,
            challenge=challenge,
            settings=world.security_settings(self.role),
            subject=self.system.contract.digest(),
            keys=self.secrets.public,
        )

    def request(self, challenge: bytes) -> IdentityRequest:
        line = self.system.line
        key, proof = sign_identity_key(self.secrets.sign, self.tls, line=line, challenge=challenge)
        shown = canonical.encode(self.evidence(challenge))
        return IdentityRequest(contract=line, evidence=shown, key=key, proof=proof)

    async def ask(self, kms: Kms) -> IdentityReply:
        return parse_identity_reply(await kms.identity(canonical.encode(self.request(kms.challenge()))))

    @property
    def asked(self) -> IdentityAskedFor:
        return IdentityAskedFor(self.system.line, self.role, self.secrets.public, self.tls.public)

    async def identity(self, kms: Kms) -> VerifiedIdentity:
        """The reply, examined against the bundle of before."""
        system = self.system
        memory = first_contact(system.constitution.digest())
        bundle = examine_bundle(system.bundle(kms), system.policy(), memory, at=system.now).require()
        return examine_identity_reply(await self.ask(kms), self.asked, bundle).require()
