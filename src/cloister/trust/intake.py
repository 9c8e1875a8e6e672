"""Examines a KMS's intake key for a contract line: every step before an owner seals anything to it.

The specification is docs/formats/custody.md. The owner has examined the KMS's bundle first, under a trust policy, so
who the KMS is, and which contract, is known here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from cloister.crypto.cose import open1
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.custody import Root, parse_root
from cloister.formats.custody_messages import INTAKE_TYPE, Intake, IntakeHead, parse_intake_head
from cloister.ledger.checkpoints import SIGNED_STEPS, check_checkpoint
from cloister.ledger.inclusion import check_included
from cloister.ledger.statements import entry_digest, open_statement
from cloister.trust.bundle import VerifiedBundle

INTAKE_STEPS: Final = (
    "intake.signature",
    "intake.contract",
    "intake.checkpoint",
    *SIGNED_STEPS,
    "intake.age",
    "intake.inclusion",
    "intake.root",
    "intake.held",
)


class IntakeRefused(Refused):
    """A KMS's intake key is not one to seal to: nothing was sealed."""


@dataclass(frozen=True, slots=True)
class VerifiedIntake:
    """The key to seal to, of the latest root of the bundle's contract line. Built only here."""

    line: bytes  # the digest of the first contract of the line
    generation: int
    key: bytes  # X-Wing, 1,216 bytes
    root: Root


def examine_intake(intake: Intake, bundle: VerifiedBundle, *, line: bytes) -> Examination[VerifiedIntake]:
    """Hold what a KMS says of the line's intake key against the bundle that was examined before."""
    steps = Steps(INTAKE_STEPS, IntakeRefused)
    # 1. It is the word of the KMS that was examined, …
    head = steps.attempt(
        "intake.signature", lambda: _head(intake, bundle), BadSignature, MalformedInput, TooLarge, found="signed"
    )
    if head is None:
        return steps.stopped()
    # 2. … on this contract line, …
    steps.check("intake.contract", head.contract == line, "is of another contract", found="of this contract")
    # 3. … at a checkpoint that the witnesses saw, and which is no older than the bundle's: an intake key that was
    # followed by another because it leaked would be as good as the new one, otherwise.
    here = head.checkpoint == hashlib.sha256(intake.checkpoint).digest()
    steps.check("intake.checkpoint", here, "is about another checkpoint", found="about this checkpoint")
    rules = bundle.constitution
    checkpoint = check_checkpoint(
        steps, intake.checkpoint, log=rules.log, witnesses=rules.witnesses, quorum=rules.quorum
    )
    if checkpoint is None:
        return steps.stopped()
    known = bundle.checkpoint
    fresh = (checkpoint.size, checkpoint.cosigned_at) >= (known.size, known.cosigned_at)
    steps.check("intake.age", fresh, "is older than the bundle", found=f"log of {checkpoint.size}")
    # 4. The root is in that log …
    placed = intake.root
    check_included(steps, "intake.inclusion", placed.entry, index=placed.index, path=placed.path, checkpoint=checkpoint)
    # 5. … and the one that the KMS speaks of.
    root = steps.attempt("intake.root", lambda: _root(intake, head), MalformedInput, TooLarge, BadSignature)
    # 6. Somebody can open what is sealed to it.
    shortfall = f"the KMS lost the secret of root {head.generation}: custodians recover it, or a party asks for another"
    steps.check("intake.held", head.held, shortfall, found="the KMS holds its secret")
    if root is None:
        return steps.stopped()
    return steps.examined(lambda: VerifiedIntake(line, root.generation, root.intake, root))


def _head(intake: Intake, bundle: VerifiedBundle) -> IntakeHead:
    errors = []
    for key in bundle.keys.instances:
        try:
            return parse_intake_head(open1(intake.head, public=key, content_type=INTAKE_TYPE))
        except BadSignature as error:
            errors.append(error)
    raise BadSignature("is not the word of the KMS that was examined")


def _root(intake: Intake, head: IntakeHead) -> Root:
    if entry_digest(intake.root.entry) != head.root:
        raise MalformedInput("is another root than the one that the KMS names")
    statement = open_statement(intake.root.entry)
    if statement.kind != "root":
        raise MalformedInput(f"is a {statement.kind} statement")
    root = parse_root(statement.payload)
    if (root.contract, root.generation) != (head.contract, head.generation):
        raise MalformedInput("is of another contract or generation than the KMS says")
    return root
