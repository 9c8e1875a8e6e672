"""What owners and custodians do on machines of their own: seal a deposit, pass a share on. Secrets stay in memory."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from cloister.contract.custody_records import RootRecord
from cloister.crypto.hpke import KemPrivateKey, OpenFailed, unwrap, wrap
from cloister.crypto.signing import SigningKey
from cloister.errors import Refused
from cloister.formats import canonical
from cloister.formats.canonical import Measurement
from cloister.formats.custody import (
    DEPOSIT_INFO,
    RECOVERY_INFO,
    SHARE_INFO,
    CommittedShare,
    Deposit,
    Deposited,
    DepositTerms,
    Recovery,
    RecoverySeal,
    Root,
)
from cloister.formats.evidence import NodeKeys
from cloister.ledger.statements import sign_statement
from cloister.secret import SecretBytes
from cloister.trust.intake import VerifiedIntake


class NoShare(Refused):
    """A custodian has no share of this root, or its key does not open it."""


@dataclass(frozen=True, slots=True)
class Meant:
    """What an owner means a deposit for."""

    asset: str
    number: int
    task: str
    workloads: tuple[Measurement, ...] | None  # None: whatever the contract in force names for the task
    under: tuple[bytes, ...] | None  # digests of contracts of the line; None: whichever is in force
    expires: int


@dataclass(frozen=True, slots=True)
class SealedDeposit:
    """A deposit to be logged, and the bytes that the ledger keeps beside it."""

    entry: bytes
    blob: bytes
    terms: DepositTerms


def seal_deposit(intake: VerifiedIntake, value: SecretBytes, meant: Meant, owner: SigningKey) -> SealedDeposit:
    """Seal `value`, up to 64 KiB, to a KMS's examined intake key, and sign that for its owner."""
    deposited = Deposited(salt=secrets.token_bytes(32), value=value.reveal())
    terms = DepositTerms(
        contract=intake.line,
        asset=meant.asset,
        number=meant.number,
        generation=intake.generation,
        task=meant.task,
        workloads="task" if meant.workloads is None else meant.workloads,
        under="line" if meant.under is None else meant.under,
        expires=meant.expires,
        commitment=deposited.commitment(),
    )
    blob = wrap(intake.key, canonical.encode(deposited), info=DEPOSIT_INFO, aad=canonical.encode(terms))
    deposit = Deposit(terms=terms, blob=hashlib.sha256(blob).digest())
    return SealedDeposit(sign_statement("deposit", deposit, (owner,)), blob, terms)


def pass_share_on(record: RootRecord, custodian: str, seal: KemPrivateKey, to: NodeKeys, signer: SigningKey) -> bytes:
    """The entry by which `custodian` gives its share of a root to the instance with the keys `to`, which was examined.

    Raises:
        NoShare: `share.custodian`, `share.open` or `share.made`.
    """
    root = record.root
    share = _own_share(root, custodian, seal)
    again = RecoverySeal(contract=root.contract, generation=root.generation, custodian=custodian, instance=to.sign)
    recovery = Recovery(
        contract=root.contract,
        generation=root.generation,
        custodian=custodian,
        instance=to.sign,
        wrapped=wrap(to.wrap, share.reveal(), info=RECOVERY_INFO, aad=canonical.encode(again)),
    )
    return sign_statement("recovery", recovery, (signer,))


def _own_share(root: Root, custodian: str, seal: KemPrivateKey) -> SecretBytes:
    made = next((one for one in root.shares if one.custodian == custodian), None)
    if made is None:
        raise NoShare("share.custodian", f"root {root.generation} has no share for {custodian}")
    sealed = root.share_seal(custodian)
    try:
        share = unwrap(seal, made.wrapped, info=SHARE_INFO, aad=canonical.encode(sealed))
    except OpenFailed as error:
        raise NoShare("share.open", f"the key does not open {custodian}'s share of root {root.generation}") from error
    if CommittedShare(seal=sealed, share=share.reveal()).commitment() != made.commitment:
        # Its word would be refused, and it would be blamed: it was the KMS instance that shared the root so.
        raise NoShare(
            "share.made", f"the KMS sealed {custodian} another share of root {root.generation} than it logged"
        )
    return share
