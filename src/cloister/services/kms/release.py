"""A release: the decision, the statement that is logged first, and the reply that carries the key afterwards."""

from __future__ import annotations

import asyncio
import hashlib

from cloister.contract.release import (
    Asked,
    PublishedRelease,
    ReleaseDecision,
    ReleaseRefused,
    examine_publication,
    examine_release,
)
from cloister.crypto.hpke import KemPrivateKey, wrap
from cloister.crypto.signing import SigningKey
from cloister.examination import Examination
from cloister.formats import canonical
from cloister.formats.evidence import Evidence
from cloister.formats.release import WRAP_INFO, Release, ReleaseReply
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.services.kms.history import Appended
from cloister.services.kms.standing import Standing


async def release(standing: Standing, asked: Asked) -> bytes:
    """Judge a node's request, log the release, and only once it is witnessed give the key away.

    Raises:
        Refused: names the check; no key left.
        Unavailable: ledger or witnesses are down; no key left.
    """
    examination = await asyncio.to_thread(judge, standing, asked)  # of GPUs some tens of milliseconds
    standing.note_refusal(asked, examination, "transport-key")
    decision = examination.require()
    key = held_key(standing, decision)
    standing.vendors.met(standing.state.lines[decision.line].current.appraisal, decision.evidence.seen)
    entry = release_entry(decision, asked.evidence, standing.instance.secrets.sign, at=standing.now())
    await standing.ledger.put_blob(canonical.encode(asked.evidence))
    appended, checkpoint = await standing.log(entry)
    published = examine_publication(
        decision,
        entry,
        index=appended.index,
        path=appended.path,
        checkpoint=checkpoint,
        state=standing.state,
    ).require()
    return release_reply(published, entry, appended, key)


def judge(standing: Standing, asked: Asked) -> Examination[ReleaseDecision]:
    """Whether a key that is held here may go to the node that asks."""
    return examine_release(standing.state, asked, held=standing.keys.held(), at=standing.now())


def held_key(standing: Standing, decision: ReleaseDecision) -> KemPrivateKey:
    """The key that was decided on.

    Raises:
        ReleaseRefused: it was erased meanwhile.
    """
    key = standing.keys.get(decision.epoch.placed.digest)
    if key is None:
        raise ReleaseRefused("release.epoch", f"the key of epoch {decision.epoch.epoch.number} is erased")
    return key


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
