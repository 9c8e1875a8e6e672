"""What every answer of a KMS to a node is held against: whose word it is, under which contract, in which log.

The node has examined the KMS's bundle first, so who the KMS is, and which contract is in force, is known here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Steps
from cloister.formats.evidence import NodeKeys
from cloister.ledger.checkpoints import SIGNED_STEPS, VerifiedCheckpoint, check_checkpoint
from cloister.ledger.inclusion import check_included
from cloister.ledger.statements import open_statement
from cloister.trust.bundle import VerifiedBundle
from cloister.trust.keys import said_by_one

LOGGED_STEPS: Final = ("reply.signature", "reply.contract", "reply.node", *SIGNED_STEPS, "reply.inclusion")


class ReplyRefused(Refused):
    """A KMS's answer is not what was asked for: nothing in it is used."""


class Reply(Protocol):
    """An answer with the entry that was logged before it, and the proof of that."""

    @property
    def entry(self) -> bytes:
        """The logged statement."""

    @property
    def index(self) -> int:
        """Its place in the log."""

    @property
    def path(self) -> tuple[bytes, ...]:
        """Its inclusion proof."""

    @property
    def checkpoint(self) -> bytes:
        """The cosigned note."""


class ForNode(Protocol):
    """A record of what went to a node."""

    @property
    def contract(self) -> bytes:
        """The digest of the contract in force."""

    @property
    def node(self) -> NodeKeys:
        """Of the node."""


Record = TypeVar("Record", bound=ForNode)


def said_by_the_kms(
    steps: Steps, reply: Reply, bundle: VerifiedBundle, kind: str, parse: Callable[[bytes], Record]
) -> Record | None:
    """The logged record, which is the word of the KMS: of an instance that the one in evidence vouches for."""

    def record() -> Record:
        statement = open_statement(reply.entry)
        if statement.kind != kind or not said_by_one(statement, bundle.keys.instances):
            raise BadSignature("is not the word of the KMS that was examined")
        return parse(statement.payload)

    return steps.attempt("reply.signature", record, BadSignature, MalformedInput, TooLarge, found="signed")


def check_logged(
    steps: Steps, reply: Reply, record: ForNode, keys: NodeKeys, bundle: VerifiedBundle, *, of_the_task: bool
) -> VerifiedCheckpoint | None:
    """The record is of the contract in force and, as its caller found, `of_the_task`; for `keys`; in the log.

    The checkpoint, as the witnesses have seen it; None where that failed.
    """
    # 1. Under the contract in force, for what was asked, …
    named = of_the_task and record.contract == bundle.contract.digest()
    steps.check("reply.contract", named, "is for another contract, role or task", found="of this contract")
    # 2. … and to this node: its receipt key is the one certified.
    steps.check("reply.node", record.node == keys, "is for another node's keys", found="these keys")
    # 3. It is in the log, as the witnesses have seen it.
    rules = bundle.constitution
    checkpoint = check_checkpoint(
        steps, reply.checkpoint, log=rules.log, witnesses=rules.witnesses, quorum=rules.quorum
    )
    if checkpoint is not None:
        check_included(steps, "reply.inclusion", reply.entry, index=reply.index, path=reply.path, checkpoint=checkpoint)
    return checkpoint
