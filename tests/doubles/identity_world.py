"""The valid system of `cloister.testing.world` with a root secret, its authority, and what is needed to issue."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from cloister.contract.fold import begin, fold
from cloister.contract.identity_certificate import (
    AUTHORITY_LIFE,
    AuthorityCertificate,
    Window,
    make_authority,
    make_identity,
    read_authority,
)
from cloister.contract.identity_key import sign_identity_key
from cloister.contract.state import ContractLine, State
from cloister.crypto.p256 import P256Key
from cloister.crypto.root_secret import authority_key, intake_key
from cloister.formats.contract import Contract
from cloister.formats.custody import Root
from cloister.formats.evidence import Role
from cloister.formats.identity import Authority, Identity
from cloister.formats.spiffe import SpiffeName
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.secret import SecretBytes
from cloister.testing.world import DAY, NOON, Node, World, reference, serving

CHALLENGE = hashlib.sha256(b"challenge of these tests").digest()
HOUR = 3_600
replace = msgspec.structs.replace


class IdentityWorld(World):
    """Root and authority are logged; `identity` makes an entry and logs nothing."""

    def __init__(self, *, now: int = NOON, roles: tuple[Role, ...] = ("gateway", "service")) -> None:
        self.roles = roles
        self.tls = P256Key.generate()
        self.service = Node()
        super().__init__(now)
        self.root_entry = self.root()
        self.log.append(self.root_entry)
        self.authority_entry = self.authority()
        self.log.append(self.authority_entry)

    def make_contract(self, **changes: Any) -> Contract:
        task = serving(nodes=tuple(map(reference, self.roles)))
        return replace(super().make_contract(**changes), tasks=(task,))

    @property
    def line(self) -> bytes:
        return self.contract.digest()

    def state(self, *entries: bytes) -> State:
        logged = [*self.log.entries, *entries]
        return fold(begin(logged[0], genesis=self.constitution.digest()), logged[1:])

    def line_after(self, *entries: bytes) -> ContractLine:
        return self.state(*entries).lines[self.line]

    def secret(self, generation: int = 1) -> SecretBytes:
        return SecretBytes(bytes([generation]) * 32)

    def root(self, generation: int = 1, previous: bytes = b"") -> bytes:
        made = Root(
            contract=self.line,
            terms=self.line,
            generation=generation,
            previous=previous,
            intake=intake_key(self.secret(generation), line=self.line, generation=generation).public,
            threshold=0,
            shares=(),
            earlier=b"",
            at=self.now,
        )
        return sign_statement("root", made, (self.kms.sign,))

    def key(self, generation: int = 1, *, line: bytes | None = None) -> P256Key:
        return authority_key(self.secret(generation), line=line or self.line, generation=generation)

    def authority(self, *, node: Node | None = None, **changes: Any) -> bytes:
        window = Window(self.now - 60, self.now - 60 + AUTHORITY_LIFE)
        certificate = make_authority(self.key(), line=self.line, generation=1, window=window, serial=serial(0))
        made = Authority(
            contract=self.line,
            generation=1,
            root=entry_digest(self.root_entry),
            certificate=certificate,
            at=self.now,
        )
        return sign_statement("authority", replace(made, **changes), ((node or self.kms).sign,))

    @property
    def certificate(self) -> AuthorityCertificate:
        return self.line_after().identities.authorities[0].certificate

    def name(self, role: Role = "service", node: Node | None = None) -> SpiffeName:
        return SpiffeName(self.line, 0, role, (node or self.service).keys.thumbprint())

    def make_identity(self, *, node: Node | None = None, role: Role = "service", **changes: Any) -> Identity:
        of = node or self.service
        signed, proof = sign_identity_key(of.sign, self.tls, line=self.line, challenge=CHALLENGE)
        made = Identity(
            contract=self.line,
            role=role,
            node=of.keys,
            name=str(self.name(role, of)),
            key=signed,
            proof=proof,
            serial=serial(1),
            not_before=self.now - 60,
            not_after=self.now + HOUR,
            authorities=(entry_digest(self.authority_entry),),
            evidence=bytes(32),
            checks=("identity.key",),
            at=self.now,
        )
        return replace(made, **changes)

    def identity(self, *, by: Node | None = None, **changes: Any) -> bytes:
        return sign_statement("identity", self.make_identity(**changes), ((by or self.kms).sign,))

    def leaf(self, made: Identity | None = None, **changes: Any) -> bytes:
        """The certificate of an identity; `changes` are made to its parts."""
        made = made or self.make_identity()
        parts: dict[str, Any] = {
            "authority": self.key(),
            "issuer": self.certificate,
            "name": SpiffeName.parse(made.name),
            "key": self.tls.public,
            "window": Window(made.not_before, made.not_after),
            "serial": made.serial,
        }
        parts |= changes
        return make_identity(
            parts["authority"],
            parts["issuer"],
            parts["name"],
            parts["key"],
            window=parts["window"],
            serial=parts["serial"],
        )


def serial(number: int) -> bytes:
    return b"\x40" + number.to_bytes(15, "big")


def other_authority(line: bytes, *, generation: int = 1, now: int = NOON) -> tuple[P256Key, AuthorityCertificate]:
    """An authority of anyone's own making, named as that of `line`."""
    key, window = P256Key.generate(), Window(now - DAY, now + DAY)
    data = make_authority(key, line=line, generation=generation, window=window, serial=serial(9))
    return key, read_authority(data, line=line, generation=generation)
