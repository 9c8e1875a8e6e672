"""Recovers a contract line's root secrets: from shares that custodians gave, and each from the one after it.

Nothing that is recombined is believed: it counts only if it derives the intake key that stands in the log since the
secret was made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Final

from cloister.contract.custody_records import RootRecord
from cloister.contract.state import ContractLine
from cloister.crypto.hpke import KemPrivateKey, OpenFailed, unwrap
from cloister.crypto.root_secret import ROOT_SIZE, intake_key
from cloister.crypto.shares import SharesRefused, combine
from cloister.errors import Refused
from cloister.examination import Examination, Steps
from cloister.formats import canonical
from cloister.formats.custody import EARLIER_INFO, RECOVERY_INFO, EarlierSeal, Recovery, RecoverySeal
from cloister.secret import SecretBytes

RECOVERY_STEPS: Final = ("recovery.root", "recovery.custodians", "recovery.shares", "recovery.intake")
TRIED_SETS: Final = 512  # of shares, where there are more than it takes: one that lies is found; each takes 4 ms


class RecoveryRefused(Refused):
    """What custodians gave does not make the root secret."""


@dataclass(frozen=True, slots=True)
class RecoveredRoot:
    """A root secret that derives the intake key in the log. Built only here."""

    generation: int
    secret: SecretBytes


def examine_recovery(
    line: ContractLine, name: bytes, *, instance: bytes, key: KemPrivateKey
) -> Examination[RecoveredRoot]:
    """Recombine the latest root secret of the line `name` from what was sealed to `instance`, whose `key` this is.

    The log has checked already that each is of a custodian of that root and signed by it.
    """
    steps = Steps(RECOVERY_STEPS, RecoveryRefused)
    # 1. There is a root with shares.
    latest = line.custody.latest
    threshold = latest.root.threshold if latest else 0
    steps.check("recovery.root", threshold > 0, "the line has no root secret that custodians hold shares of")
    if latest is None or threshold == 0:
        return steps.stopped()
    # 2. Enough of them, distinct, gave theirs to this instance.
    given = [one for one in line.custody.recoveries if one.instance == instance]
    enough = len(given) >= threshold
    steps.check("recovery.custodians", enough, f"{len(given)} of {threshold} custodians gave their share")
    # 3. As many open.
    opened = [share for share in (_opened(one, key) for one in given) if share is not None]
    unread = f"{len(given) - len(opened)} of {len(given)} shares do not open with this instance's key"
    steps.check("recovery.shares", len(opened) >= threshold, unread)
    # 4. Together they are the secret that derives the intake key.
    secret = _combined(opened, threshold, latest, name) if steps.clean else None
    steps.check("recovery.intake", secret is not None, "no set of the shares gives the secret of the intake key")
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


def _combined(shares: Sequence[SecretBytes], threshold: int, record: RootRecord, name: bytes) -> SecretBytes | None:
    if record.root.contract != name:
        return None
    for chosen in islice(combinations(shares, threshold), TRIED_SETS):
        try:
            secret = combine(chosen)
        except SharesRefused:
            continue
        if derives(secret, record):
            return secret
    return None
