"""A release: the decision, the statement that is logged first, and the reply that carries the key afterwards."""

from __future__ import annotations

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
from cloister.services.kms.deciding import decide, evidence_digest, log_with_evidence
from cloister.services.kms.history import Appended
from cloister.services.kms.standing import Standing


async def release(standing: Standing, asked: Asked) -> bytes:
    """Judge a node's request, log the release, and only once it is witnessed give the key away.

    Raises:
        Refused: names the check; no key left.
        Unavailable: ledger or witnesses are down; no key left.
    """
    decision = await decide(standing, asked, judge, "transport-key")
    key = held_key(standing, decision)
    entry = release_entry(decision, asked.evidence, standing.instance.secrets.sign, at=standing.now())
    appended, checkpoint = await log_with_evidence(standing, asked.evidence, entry)
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
        evidence=evidence_digest(evidence),
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
