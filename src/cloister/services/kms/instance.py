"""One KMS process: its keys, its evidence, and what it signs about itself and the log."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cloister.attest.evidence import Expected, examine_evidence
from cloister.attest.seen import SEEN_NOTHING
from cloister.crypto.cose import sign1
from cloister.formats import canonical
from cloister.formats.constitution import Constitution
from cloister.formats.endorsements import Endorsement
from cloister.formats.evidence import Evidence
from cloister.formats.key_bundle import STATE_HEAD_TYPE, StateHead
from cloister.formats.release import KmsInstance
from cloister.ledger.checkpoints import VerifiedCheckpoint
from cloister.ledger.statements import sign_statement
from cloister.node.evidence import Tee, evidence
from cloister.node.keys import NodeSecrets
from cloister.services.kms.security import KmsSecurity, security_settings


@dataclass(slots=True)
class Instance:
    """This process, as others come to know it."""

    tee: Tee
    secrets: NodeSecrets
    security: KmsSecurity
    sealed_roots: Path | None = None  # the folder for root secrets, sealed to the platform; without it, nothing is
    endorsements: tuple[Endorsement, ...] = ()  # that its own evidence is shown with, in place of those it came with

    @property
    def key(self) -> bytes:
        """The public key that signs its statements, 32 bytes."""
        return self.secrets.sign.public

    def evidence(self, checkpoint: VerifiedCheckpoint, constitution: Constitution) -> Evidence:
        """Evidence that answers the checkpoint: nobody can challenge a bundle live.

        Raises:
            Unavailable: the TEE does not answer.
        """
        return self.answering(challenge_of(checkpoint), constitution)

    def answering(self, challenge: bytes, constitution: Constitution) -> Evidence:
        """Evidence that answers another instance's challenge, 32 bytes.

        Raises:
            Unavailable: the TEE does not answer.
        """
        shown = self.collected(challenge, constitution)
        return msgspec.structs.replace(shown, endorsements=self.endorsements) if self.endorsements else shown

    def collected(self, challenge: bytes, constitution: Constitution) -> Evidence:
        """The same as the TEE gives it, with no endorsements but those that came with it."""
        return evidence(
            self.tee,
            challenge=challenge,
            settings=security_settings(self.security, unsafe=constitution.appraisal.unsafe),
            subject=constitution.digest(),
            keys=self.secrets.public,
        )

    def examine_itself(self, checkpoint: VerifiedCheckpoint, constitution: Constitution) -> Evidence:
        """Evidence that meets the constitution: a KMS that it does not name stops before it makes any key.

        Raises:
            EvidenceRejected: names the step that would fail at every client.
            Unavailable: the TEE does not answer.
        """
        shown = self.evidence(checkpoint, constitution)
        expected = Expected(challenge_of(checkpoint), constitution.digest(), constitution.kms)
        examine_evidence(
            shown, constitution.appraisal, expected, at=checkpoint.cosigned_at, seen=SEEN_NOTHING
        ).require()
        return shown

    def introduction(self, checkpoint: VerifiedCheckpoint, constitution: Constitution) -> bytes:
        """The entry with which this instance shows itself under `constitution`.

        Raises:
            EvidenceRejected, Unavailable: as `examine_itself`.
        """
        shown = self.examine_itself(checkpoint, constitution)
        record = KmsInstance(
            constitution=constitution.digest(), evidence=canonical.encode(shown), at=checkpoint.cosigned_at
        )
        return sign_statement("kms", record, (self.secrets.sign,))

    def sign_head(self, head: StateHead) -> bytes:
        """The signed word on what is in force at a checkpoint."""
        return sign1(self.secrets.sign, canonical.encode(head), content_type=STATE_HEAD_TYPE)


def challenge_of(checkpoint: VerifiedCheckpoint) -> bytes:
    """SHA-256 of the cosigned note, 32 bytes."""
    return hashlib.sha256(checkpoint.note).digest()
