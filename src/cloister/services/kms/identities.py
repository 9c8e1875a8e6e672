"""Identities that a KMS instance issues: the authority of each line, certificates of nodes, one of its own."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

from cloister.contract.identity_certificate import AUTHORITY_LIFE, Window, make_authority, make_identity
from cloister.contract.identity_key import sign_identity_key
from cloister.contract.identity_records import AuthorityRecord
from cloister.contract.identity_release import (
    IdentityAsked,
    IdentityDecision,
    PublishedIdentity,
    examine_identity,
    examine_issue,
    examine_own_identity,
)
from cloister.crypto.p256 import P256Key
from cloister.crypto.root_secret import authority_key
from cloister.errors import Unavailable
from cloister.examination import Examination
from cloister.formats import canonical
from cloister.formats.evidence import Evidence
from cloister.formats.identity import BACKDATED, Authority, Identity, IdentityReply, parse_identity
from cloister.formats.spiffe import SpiffeName
from cloister.ledger.statements import open_statement, sign_statement
from cloister.node.identity_tls import HeldIdentity
from cloister.services.kms.custody import Custody
from cloister.services.kms.deciding import decide, evidence_digest, log_with_evidence
from cloister.services.kms.history import Appended
from cloister.services.kms.standing import Standing


@dataclass(frozen=True, slots=True)
class Issuer:
    """An authority to issue with, its key, and all authorities that count beside it."""

    key: P256Key
    authorities: tuple[AuthorityRecord, ...]  # itself first


class Identities:
    """One instance's authorities, made when they are first wanted; whoever calls it holds the instance's lock."""

    def __init__(self, standing: Standing, custody: Custody) -> None:
        self._standing = standing
        self._custody = custody

    async def issue(self, asked: IdentityAsked) -> bytes:
        """Judge a node's request, log the identity, and only once it is witnessed make the certificate.

        Raises:
            Refused: names the check; nothing was issued.
            Unavailable: ledger or witnesses are down, or the root secret is not here; nothing was issued.
        """
        decision = await decide(self._standing, asked, _judge, "identity")
        return canonical.encode(await self._issued(decision, asked))

    async def of_itself(self, line: bytes) -> HeldIdentity:
        """A certificate of this instance's own, in the line with this digest; raises as `issue`."""
        standing, key = self._standing, P256Key.generate()
        rules = standing.state.constitution
        shown = await asyncio.to_thread(standing.instance.evidence, standing.history.checkpoint, rules)
        reply = await self.issue_to_itself(line, key, shown)
        made = parse_identity(open_statement(reply.entry).payload)
        trusted = {one.placed.digest: one.certificate for one in standing.state.lines[line].identities.authorities}
        return HeldIdentity(
            SpiffeName.parse(made.name),
            reply.certificate,
            Window(made.not_before, made.not_after),
            tuple(trusted[digest] for digest in made.authorities),
            key,
        )

    async def issue_to_itself(self, line: bytes, key: P256Key, evidence: Evidence) -> IdentityReply:
        """The same, for `key` and with `evidence` that answers nobody's challenge."""
        standing, challenge = self._standing, evidence.binding.challenge
        signed, proof = sign_identity_key(standing.instance.secrets.sign, key, line=line, challenge=challenge)
        seen = standing.vendors.seen(standing.state.constitution.appraisal)
        asked = IdentityAsked(line, signed, proof, evidence, challenge, True, seen)
        decision = examine_own_identity(standing.state, asked, at=standing.now()).require()
        return await self._issued(decision, asked)

    async def _issued(self, decision: IdentityDecision, asked: IdentityAsked) -> IdentityReply:
        standing, issuer = self._standing, await self._issuer(decision.line)
        entry = _entry(standing, decision, asked, issuer)
        appended, checkpoint = await log_with_evidence(standing, asked.evidence, entry)
        published = examine_issue(
            decision, entry, index=appended.index, path=appended.path, checkpoint=checkpoint, state=standing.state
        ).require()
        return _reply(published, entry, appended, issuer)

    async def _issuer(self, name: bytes) -> Issuer:
        """What issues in this line; root and certificate are made where the line has none yet.

        Raises:
            Unavailable: the root secret is not held here.
        """
        await self._custody.have_root(name)
        await self._have_authority(name)
        standing = self._standing
        line = standing.state.lines[name]
        life = standing.instance.security.identity_seconds
        authorities = line.identities.issuing(line.custody, held=standing.roots.held(), life=life, at=standing.now())
        secret = standing.roots.named(authorities[0].authority.root) if authorities else None
        if secret is None:
            raise Unavailable(
                "the root secret of this contract's authority is not held here: another instance may hand it over,"
                " custodians recover it (cloister key recover), or a party asks for another (cloister key rotate)"
            )
        key = authority_key(secret, line=name, generation=authorities[0].authority.generation)
        if key.public != authorities[0].certificate.key:  # the fold has no secret to tell it by
            raise Unavailable(
                "the authority in the log is not the one that the root secret derives: a party asks for another root"
                " (cloister key rotate)"
            )
        return Issuer(key, authorities)

    async def _have_authority(self, name: bytes) -> None:
        """Log the certificate of the latest root's authority. Where another instance was first, the log takes that."""
        standing = self._standing
        line = standing.state.lines[name]
        latest = line.custody.latest
        secret = None if latest is None else standing.roots.get(latest)
        known = {one.authority.generation for one in line.identities.authorities}
        if latest is None or secret is None or latest.root.generation in known:
            return
        generation, now = latest.root.generation, standing.dated()
        certificate = make_authority(
            authority_key(secret, line=name, generation=generation),
            line=name,
            generation=generation,
            window=Window(now - BACKDATED, now - BACKDATED + AUTHORITY_LIFE),
            serial=_serial(),
        )
        made = Authority(
            contract=name, generation=generation, root=latest.placed.digest, certificate=certificate, at=now
        )
        await standing.log(sign_statement("authority", made, (standing.instance.secrets.sign,)))


def _judge(standing: Standing, asked: IdentityAsked) -> Examination[IdentityDecision]:
    return examine_identity(standing.state, asked, at=standing.now())


def _entry(standing: Standing, decision: IdentityDecision, asked: IdentityAsked, issuer: Issuer) -> bytes:
    now = standing.dated()
    ends = (now + standing.instance.security.identity_seconds, decision.ends)
    made = Identity(
        contract=decision.contract,
        role=decision.name.role,
        node=decision.evidence.keys,
        name=str(decision.name),
        key=asked.key,
        proof=asked.proof,
        serial=_serial(),
        not_before=now - BACKDATED,
        not_after=min(*ends, issuer.authorities[0].certificate.window.not_after),
        authorities=tuple(one.placed.digest for one in issuer.authorities),
        evidence=evidence_digest(asked.evidence),
        checks=decision.checks,
        at=now,
    )
    return sign_statement("identity", made, (standing.instance.secrets.sign,))


def _reply(published: PublishedIdentity, entry: bytes, appended: Appended, issuer: Issuer) -> IdentityReply:
    """Takes an identity that is published, so that no certificate is made on a decision alone."""
    made, decision = published.record.identity, published.decision
    certificate = make_identity(
        issuer.key,
        issuer.authorities[0].certificate,
        decision.name,
        decision.key,
        window=Window(made.not_before, made.not_after),
        serial=made.serial,
    )
    return IdentityReply(
        entry=entry,
        index=published.index,
        path=appended.path,
        checkpoint=appended.checkpoint,
        certificate=certificate,
        authorities=tuple(one.placed.entry for one in issuer.authorities),
    )


def _serial() -> bytes:
    """A number that nobody foresees, of 127 bits: positive, and always of 16 bytes."""
    drawn = secrets.token_bytes(16)
    return bytes([drawn[0] & 0x3F | 0x40]) + drawn[1:]
