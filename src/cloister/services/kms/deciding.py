"""How every request of a node's is answered: judged, logged with its evidence, and only then acted on."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Protocol, TypeVar

from cloister.attest.evidence import AppraisedEvidence
from cloister.contract.node_request import Shown
from cloister.examination import Examination
from cloister.formats import canonical
from cloister.formats.evidence import Evidence
from cloister.formats.refusal import Wanted
from cloister.ledger.checkpoints import VerifiedCheckpoint
from cloister.services.kms.history import Appended
from cloister.services.kms.refusals import failed_of
from cloister.services.kms.standing import Standing


class Decision(Protocol):
    """That something may go to the node in `evidence`."""

    @property
    def line(self) -> bytes:
        """The digest of the first contract of the line."""

    @property
    def evidence(self) -> AppraisedEvidence:
        """The node's."""


AnyAsked = TypeVar("AnyAsked", bound=Shown)
AnyDecision = TypeVar("AnyDecision", bound=Decision)


async def decide(
    standing: Standing,
    asked: AnyAsked,
    judge: Callable[[Standing, AnyAsked], Examination[AnyDecision]],
    wanted: Wanted,
) -> AnyDecision:
    """What `judge` finds of a node's request; a refusal is in the log before it is told.

    Raises:
        Refused: names the check.
        Unavailable: it is refused, and the log does not take that now; why, is not to be told.
    """
    examination = await asyncio.to_thread(judge, standing, asked)  # of GPUs some tens of milliseconds
    if examination.failed:
        await standing.log_refusal(asked, failed_of(examination), wanted)
    decision = examination.require()
    standing.vendors.met(standing.state.lines[decision.line].current.appraisal, decision.evidence.seen)
    return decision


async def log_with_evidence(
    standing: Standing, evidence: Evidence, entry: bytes
) -> tuple[Appended, VerifiedCheckpoint]:
    """Keep the evidence that `entry` names by its digest, and log the entry.

    Raises:
        Refused, Unavailable: as `Standing.log`.
    """
    await standing.ledger.put_blob(canonical.encode(evidence))
    return await standing.log(entry)


def evidence_digest(evidence: Evidence) -> bytes:
    """By which an entry names the evidence: SHA-256 of its encoding, 32 bytes."""
    return hashlib.sha256(canonical.encode(evidence)).digest()
