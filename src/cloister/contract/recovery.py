"""Recovers a contract line's root secrets: from shares that custodians gave, and each from the one after it.

Each share is held by itself against what the log has committed to since the root was made, so one that is wrong is
known by whose it is, and hinders no others. What is recombined counts only if it derives the intake key in the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cloister.contract.custody_records import RootRecord
from cloister.contract.state import ContractLine
from cloister.crypto.hpke import KemPrivateKey, OpenFailed, unwrap
from cloister.crypto.root_secret import ROOT_SIZE, intake_key
from cloister.crypto.shares import SharesRefused, combine
from cloister.errors import Refused
from cloister.examination import Examination, Steps
from cloister.formats import canonical
from cloister.formats.custody import (
    EARLIER_INFO,
    RECOVERY_INFO,
    CommittedShare,
    EarlierSeal,
    Recovery,
    RecoverySeal,
    Root,
)
from cloister.secret import SecretBytes

SHARE_STEPS: Final = ("recovery.seal", "recovery.commitment")
RECOVERY_STEPS: Final = ("recovery.root", "recovery.custodians", "recovery.shares", "recovery.intake")


class RecoveryRefused(Refused):
    """What custodians gave does not make the root secret."""


@dataclass(frozen=True, slots=True)
class GivenShare:
    """A custodian's share, which is the one that was made for it. Built only here."""

    custodian: str
    share: SecretBytes


@dataclass(frozen=True, slots=True)
class RecoveredRoot:
    """A root secret that derives the intake key in the log. Built only here."""

    generation: int
    secret: SecretBytes


def examine_share(root: Root, given: Recovery, key: KemPrivateKey) -> Examination[GivenShare]:
    """Whether a custodian gave what was made for it; `key` is that of the instance which it was sealed to.

    The log has checked already that the custodian is one of that root and signed this.
    """
    steps = Steps(SHARE_STEPS, RecoveryRefused)
    # 1. It opens.
    share = _opened(given, key)
    steps.check(
        "recovery.seal", share is not None, f"what {given.custodian} gave does not open with this instance's key"
    )
    if share is None:
        return steps.stopped()
    # 2. It is the one that the log has committed to since the root was made.
    logged = next((one.commitment for one in root.shares if one.custodian == given.custodian), b"")
    same = logged == _commitment(root, given.custodian, share)
    steps.check("recovery.commitment", same, f"what {given.custodian} gave is not its share of root {root.generation}")
    return steps.examined(lambda: GivenShare(given.custodian, share))


def examine_recovery(line: ContractLine, *, instance: bytes, key: KemPrivateKey) -> Examination[RecoveredRoot]:
    """Recombine the line's latest root secret from what was sealed to `instance`, whose `key` this is."""
    steps = Steps(RECOVERY_STEPS, RecoveryRefused)
    # 1. There is a root with shares.
    latest = line.custody.latest
    threshold = latest.root.threshold if latest else 0
    steps.check("recovery.root", threshold > 0, "the line has no root secret that custodians hold shares of")
    if latest is None or threshold == 0:
        return steps.stopped()
    # 2. Enough custodians gave something to this instance; of each the log keeps the last.
    given = [one for one in line.custody.recoveries if one.instance == instance]
    enough = len(given) >= threshold
    steps.check("recovery.custodians", enough, f"{len(given)} of {threshold} custodians gave their share")
    # 3. As many gave what was made for them: others are left out, and no set of shares is searched for.
    judged = [examine_share(latest.root, one, key) for one in given]
    shares = [one.require().share for one in judged if not one.failed]
    wrong = f"{len(judged) - len(shares)} of {len(judged)} gave what is not their share"
    steps.check("recovery.shares", len(shares) >= threshold, wrong)
    if not steps.clean:
        return steps.stopped()
    # 4. Together they are the secret that derives the intake key.
    secret = _combined(shares[:threshold], latest)
    steps.check("recovery.intake", secret is not None, "the shares do not give the secret of the intake key")
    if secret is None:
        return steps.stopped()
    return steps.examined(lambda: RecoveredRoot(latest.root.generation, secret))


def derives(secret: SecretBytes, record: RootRecord) -> bool:
    """Whether `secret` is the one that this root was made with."""
    if len(secret) != ROOT_SIZE:
        return False
    made = record.root
    return intake_key(secret, line=made.contract, generation=made.generation).public == made.intake


def earlier_secrets(line: ContractLine, record: RootRecord, secret: SecretBytes) -> Iterator[RecoveredRoot]:
    """The secrets before that of `record`, which this is, as far as none is retired: each generation seals the last."""
    while True:
        made = record.root
        before = line.custody.root(made.generation - 1)
        if before is None or not made.earlier:
            return
        key = intake_key(secret, line=made.contract, generation=made.generation)
        aad = canonical.encode(EarlierSeal(contract=made.contract, generation=made.generation))
        try:
            secret = unwrap(key, made.earlier, info=EARLIER_INFO, aad=aad)
        except OpenFailed:
            return
        if not derives(secret, before):
            return
        record = before
        yield RecoveredRoot(before.root.generation, secret)


def recovery_seal(contract: bytes, generation: int, custodian: str, instance: bytes) -> bytes:
    """The associated data of a share that is sealed to an instance."""
    seal = RecoverySeal(contract=contract, generation=generation, custodian=custodian, instance=instance)
    return canonical.encode(seal)


def _opened(given: Recovery, key: KemPrivateKey) -> SecretBytes | None:
    aad = recovery_seal(given.contract, given.generation, given.custodian, given.instance)
    try:
        return unwrap(key, given.wrapped, info=RECOVERY_INFO, aad=aad)
    except OpenFailed:
        return None


def _commitment(root: Root, custodian: str, share: SecretBytes) -> bytes:
    return CommittedShare(seal=root.share_seal(custodian), share=share.reveal()).commitment()


def _combined(shares: Sequence[SecretBytes], record: RootRecord) -> SecretBytes | None:
    try:
        secret = combine(shares)
    except SharesRefused:
        return None
    return secret if derives(secret, record) else None
