"""Handovers between instances, both ends: what is given once it is logged, and what is taken once it is checked."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Protocol

from cloister.contract.custody_records import RootRecord
from cloister.contract.handover import (
    AskedByInstance,
    HandoverRefused,
    PublishedHandover,
    examine_handed,
    examine_handover,
    examine_logged_handover,
)
from cloister.contract.state import EpochRecord
from cloister.crypto.hpke import KemPrivateKey, wrap
from cloister.formats import canonical
from cloister.formats.handover import (
    HANDOVER_INFO,
    MAXIMUM_SECRETS,
    HandedOver,
    HandedSecret,
    Handover,
    HandoverReply,
    HandoverRequest,
    NamedSecret,
)
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.secret import SecretBytes
from cloister.services.kms.refusals import failed_of, refused_evidence
from cloister.services.kms.roots import in_use_of
from cloister.services.kms.standing import Standing


class Peer(Protocol):
    """Another instance of the KMS. Every call raises `Unavailable`, `Refused` or another `CloisterError`."""

    async def challenge(self) -> bytes:
        """A fresh challenge of its own, 32 bytes."""

    async def handover(self, request: HandoverRequest) -> HandoverReply:
        """What it hands over."""


async def give(standing: Standing, asked: AskedByInstance) -> bytes:
    """Judge another instance's request, log the handover, and only once it is witnessed give secrets away.

    Raises:
        Refused: names the check, as the log does; nothing left.
        Unavailable: ledger or witnesses are down, or refusals come faster than the log takes them; nothing left.
    """
    examination = examine_handover(
        standing.state, asked, held=standing.keys.held() | standing.roots.held(), at=standing.now()
    )
    if asked.challenge_live and examination.failed not in ([], ["handover.secrets"]):  # none of it here is no refusal
        refused = failed_of(examination)
        genesis, at = standing.state.genesis, standing.now()
        standing.refusals.note(refused_evidence(genesis, asked.evidence, "handover", refused, at=at))
        await standing.log_refusals()
    decision = examination.require()
    standing.vendors.met(standing.state.constitution.appraisal, decision.evidence.seen)
    shown = canonical.encode(asked.evidence)
    record = Handover(
        constitution=decision.constitution,
        to=decision.evidence.keys.sign,
        secrets=decision.secrets,
        evidence=hashlib.sha256(shown).digest(),
        checks=decision.checks,
        at=standing.now(),
    )
    entry = sign_statement("handover", record, (standing.instance.secrets.sign,))
    await standing.ledger.put_blob(shown)
    _, checkpoint = await standing.log(entry)
    published = examine_logged_handover(decision, entry, standing.state).require()
    return canonical.encode(_reply(standing, published, checkpoint.note))


def _reply(standing: Standing, published: PublishedHandover, note: bytes) -> HandoverReply:
    """Takes a handover that is published, so that no secret leaves on a decision alone."""
    secrets = tuple(
        HandedSecret(kind=one.kind, name=one.name, secret=secret.reveal())
        for one in published.decision.secrets
        if (secret := _held(standing, one)) is not None
    )
    if len(secrets) < len(published.decision.secrets):
        raise HandoverRefused("handover.unchanged", "a key was erased meanwhile")
    wrapped = wrap(
        published.decision.evidence.keys.wrap,
        canonical.encode(HandedOver(secrets=secrets)),
        info=HANDOVER_INFO,
        aad=entry_digest(published.entry),
    )
    return HandoverReply(entry=published.entry, checkpoint=note, wrapped=wrapped)


def _held(standing: Standing, named: NamedSecret) -> SecretBytes | None:
    if named.kind == "root":
        return standing.roots.named(named.name)
    key = standing.keys.get(named.name)
    return None if key is None else key.secret


async def ask(
    standing: Standing, peer: Peer, lacking: Sequence[EpochRecord], roots: Sequence[RootRecord]
) -> HandoverReply:
    """What `peer` hands over of the keys and root secrets that lack here.

    Raises:
        CloisterError: it cannot be reached, has none of them, or refuses.
    """
    constitution = standing.state.constitution
    challenge = await peer.challenge()
    shown = await asyncio.to_thread(standing.instance.answering, challenge, constitution)
    wants = tuple(NamedSecret(kind="root", name=record.placed.digest) for record in roots)[-MAXIMUM_SECRETS // 2 :]
    wants += tuple(NamedSecret(kind="epoch", name=record.placed.digest) for record in lacking)
    return await peer.handover(
        HandoverRequest(
            constitution=constitution.digest(), wants=wants[-MAXIMUM_SECRETS:], evidence=canonical.encode(shown)
        )
    )


async def take(standing: Standing, reply: HandoverReply) -> int:
    """Keep what was handed over, if it is what the witnessed log says; how many secrets.

    Raises:
        Refused: names the check; nothing was kept.
        Unavailable: the ledger does not give its entries.
    """
    if all(record.placed.entry != reply.entry for record in standing.state.handovers):
        await standing.history.follow(reply.checkpoint)  # else this instance is as far or further
    secrets = standing.instance.secrets
    handed = examine_handed(standing.state, reply, own=secrets.sign.public, wrap_key=secrets.wrap).require()
    kems = {record.placed.digest: record.epoch for line in standing.lines().values() for record in line.epochs}
    taken = [secret for secret in handed.secrets if secret.name in kems]
    for secret in taken:
        key = KemPrivateKey.from_bytes(standing.instance.security.kem, SecretBytes(secret.secret))
        standing.keys.hold(secret.name, key)
    in_use = {record.placed.digest: record for line in standing.lines().values() for record in in_use_of(line)}
    roots = [secret for secret in handed.secrets if secret.name in in_use]
    for secret in roots:
        standing.roots.hold(in_use[secret.name], SecretBytes(secret.secret))
    return len(taken) + len(roots)
