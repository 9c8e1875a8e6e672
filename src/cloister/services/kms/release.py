"""The two ends of a release: the statement that is logged first, and the reply that carries the key afterwards."""

from __future__ import annotations

import hashlib

from cloister.contract.release import PublishedRelease, ReleaseDecision
from cloister.crypto.hpke import KemPrivateKey, wrap
from cloister.crypto.signing import SigningKey
from cloister.formats import canonical
from cloister.formats.evidence import Evidence
from cloister.formats.release import WRAP_INFO, Release, ReleaseReply
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.services.kms.history import Appended


def release_entry(decision: ReleaseDecision, evidence: Evidence, key: SigningKey, *, at: int) -> bytes:
    """The entry that says which node gets which key, with which evidence, and which checks it passed."""
    record = Release(
        contract=decision.contract,
        role=evidence.binding.role,
        epoch=decision.epoch.placed.digest,
        node=decision.evidence.keys,
        evidence=hashlib.sha256(canonical.encode(evidence)).digest(),
        checks=decision.checks,
        at=at,
    )
    return sign_statement("release", record, (key,))


def release_reply(published: PublishedRelease, entry: bytes, appended: Appended, key: KemPrivateKey) -> bytes:
    """The answer to the node: takes a release that is published, so that no key leaves on a decision alone."""
    decision = published.decision
    wrapped = wrap(decision.evidence.keys.wrap, key.secret.reveal(), info=WRAP_INFO, aad=entry_digest(entry))
    reply = ReleaseReply(
        entry=entry,
        index=published.index,
        path=appended.path,
        checkpoint=appended.checkpoint,
        epoch_entry=decision.epoch.placed.entry,
        wrapped=wrapped,
    )
    return canonical.encode(reply)
