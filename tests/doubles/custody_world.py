"""The valid system of `cloister.testing.world` with a secret in its contract, and custodians: two of three suffice."""

from __future__ import annotations

import hashlib
from dataclasses import replace as altered
from typing import Any

import msgspec

from cloister.contract.fold import begin, fold
from cloister.contract.recovery import recovery_seal
from cloister.contract.state import ContractLine, State
from cloister.crypto.hpke import X_WING, KemPrivateKey, unwrap, wrap
from cloister.crypto.root_secret import intake_key
from cloister.crypto.shares import split
from cloister.crypto.signing import SigningKey
from cloister.formats import canonical
from cloister.formats.contract import Asset, Contract, Custody, Grant, Party
from cloister.formats.custody import (
    DEPOSIT_INFO,
    EARLIER_INFO,
    RECOVERY_INFO,
    SHARE_INFO,
    CommittedShare,
    Deposit,
    Deposited,
    DepositTerms,
    EarlierSeal,
    Recovery,
    Root,
    Share,
    ShareSeal,
    Use,
)
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.secret import SecretBytes
from cloister.testing.world import DAY, NOON, WORKLOAD, Node, World

CUSTODIANS = ("bank", "notary", "auditor")
SECRET = b"a password of these tests"
replace = msgspec.structs.replace


class CustodyWorld(World):
    """Before anything of custody is logged; the methods make entries and log nothing."""

    def __init__(
        self,
        *,
        uses: Any = 2,
        now: int = NOON,
        custodians: tuple[str, ...] = CUSTODIANS,
        threshold: int = 2,
        **changes: object,
    ) -> None:
        self.uses = uses
        self.changes = changes
        self.threshold = threshold
        self.used = 0
        self.custodians = {name: SigningKey.generate() for name in custodians}
        self.seals = {name: KemPrivateKey.generate(X_WING) for name in custodians}
        self.secret = SecretBytes(bytes(range(32)))
        super().__init__(now)
        signers = (self.parties.owner, self.parties.operator, *self.custodians.values())
        self.log.entries[self.contract_entries[0]] = sign_statement("contract", self.contract, signers)

    def make_contract(self, **changes: object) -> Contract:
        plain = super().make_contract()
        parties = [
            Party(name=name, duties=("custodian",), keys=(key.public,), seal=self.seals[name].public)
            for name, key in self.custodians.items()
        ]
        secret = Asset(
            name="password", kind="secret", digest=b"", owner="model owner", recovery="custodians", section="none"
        )
        grant = Grant(asset="password", task="serve", uses=self.uses, not_after=self.now + DAY, policy=())
        usual: dict[str, object] = {
            "parties": (*plain.parties, *parties),
            "assets": (*plain.assets, secret),
            "grants": (*plain.grants, grant),
            "custody": Custody(custodians=tuple(self.custodians), threshold=self.threshold),
        }
        return replace(plain, **(usual | self.changes | changes))

    @property
    def line(self) -> bytes:
        return self.contract.digest()

    def state(self, *entries: bytes) -> State:
        logged = [*self.log.entries, *entries]
        return fold(begin(logged[0], genesis=self.constitution.digest()), logged[1:])

    def line_after(self, *entries: bytes) -> ContractLine:
        return self.state(*entries).lines[self.line]

    def root(
        self,
        generation: int = 1,
        previous: bytes = b"",
        *,
        node: Node | None = None,
        shared: SecretBytes | None = None,
        **changes: Any,
    ) -> bytes:
        """The entry of a root whose secret is `secret_of(generation)`; its shares are of `shared`, where given."""
        intake = self.intake(generation).public
        shares = split(shared or self.secret_of(generation), threshold=self.threshold, count=len(self.custodians))
        earlier = b""
        if generation > 1:
            aad = canonical.encode(EarlierSeal(contract=self.line, generation=generation))
            earlier = wrap(intake, self.secret_of(generation - 1).reveal(), info=EARLIER_INFO, aad=aad)
        root = Root(
            contract=self.line,
            terms=self.line,
            generation=generation,
            previous=previous,
            intake=intake,
            threshold=self.threshold,
            shares=tuple(self._share(*one, generation) for one in zip(self.custodians, shares, strict=True)),
            earlier=earlier,
            at=self.now,
        )
        return sign_statement("root", replace(root, **changes), ((node or self.kms).sign,))

    def _share(self, custodian: str, share: SecretBytes, generation: int) -> Share:
        seal = self.share_seal(custodian, generation)
        wrapped = wrap(self.seals[custodian].public, share.reveal(), info=SHARE_INFO, aad=canonical.encode(seal))
        commitment = CommittedShare(seal=seal, share=share.reveal()).commitment()
        return Share(custodian=custodian, commitment=commitment, wrapped=wrapped)

    def share_seal(self, custodian: str, generation: int) -> ShareSeal:
        intake = self.intake(generation).public
        return ShareSeal(contract=self.line, terms=self.line, generation=generation, intake=intake, custodian=custodian)

    def secret_of(self, generation: int) -> SecretBytes:
        return SecretBytes(hashlib.sha256(self.secret.reveal() + bytes([generation])).digest())

    def intake(self, generation: int = 1) -> KemPrivateKey:
        return intake_key(self.secret_of(generation), line=self.line, generation=generation)

    def terms(self, **changes: Any) -> DepositTerms:
        terms = DepositTerms(
            contract=self.line,
            asset="password",
            number=1,
            generation=1,
            task="serve",
            workloads=(WORKLOAD,),
            under="line",
            expires=self.now + DAY,
            commitment=self.deposited().commitment(),
        )
        return replace(terms, **changes)

    def deposited(self) -> Deposited:
        return Deposited(salt=bytes(32), value=SECRET)

    def sealed(self, terms: DepositTerms) -> bytes:
        """The blob of a deposit with these terms."""
        key = self.intake(terms.generation).public
        return wrap(key, canonical.encode(self.deposited()), info=DEPOSIT_INFO, aad=canonical.encode(terms))

    def deposit(self, *keys: SigningKey, **changes: Any) -> bytes:
        terms = self.terms(**changes)
        deposit = Deposit(terms=terms, blob=hashlib.sha256(self.sealed(terms)).digest())
        return sign_statement("deposit", deposit, keys or (self.parties.owner,))

    def use(self, *deposits: bytes, node: Node | None = None, **changes: Any) -> bytes:
        """Each has a greater number than those that were made before."""
        self.used += 1
        use = Use(
            contract=self.line,
            number=self.used,
            role="gateway",
            task="serve",
            deposits=tuple(map(entry_digest, deposits)),
            node=self.gateway.keys,
            evidence=bytes(32),
            checks=("asset.uses",),
            at=self.now,
        )
        return sign_statement("use", replace(use, **changes), ((node or self.kms).sign,))

    def recovery(self, name: str, *keys: SigningKey, share: SecretBytes | None = None, **changes: Any) -> bytes:
        """A custodian's share of root 1, as its entry in the log has it, sealed to the KMS."""
        fields: dict[str, Any] = {
            "contract": self.line,
            "generation": 1,
            "custodian": name,
            "instance": self.kms.sign.public,
        }
        fields |= changes
        given = self.share(name) if share is None else share
        aad = recovery_seal(fields["contract"], fields["generation"], fields["custodian"], fields["instance"])
        wrapped = wrap(self.kms.wrap.public, given.reveal(), info=RECOVERY_INFO, aad=aad)
        record = Recovery(**({"wrapped": wrapped} | fields))
        return sign_statement("recovery", record, keys or (self.custodians[name],))

    def share(self, custodian: str) -> SecretBytes:
        """What the custodian finds in root 1, if that is logged; else a share of its secret."""
        latest = self.line_after().custody.latest
        assert latest is not None
        share = next(one for one in latest.root.shares if one.custodian == custodian)
        aad = canonical.encode(self.share_seal(custodian, 1))
        return unwrap(self.seals[custodian], share.wrapped, info=SHARE_INFO, aad=aad)

    def log_all(self, *entries: bytes) -> None:
        for entry in entries:
            self.log.append(entry)


def altered_line(line: ContractLine, **changes: Any) -> ContractLine:
    """The line with another custody."""
    return altered(line, custody=altered(line.custody, **changes))
