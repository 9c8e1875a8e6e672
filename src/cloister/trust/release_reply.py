"""Examines what a KMS answered to a node that asked for a key: every step before the node opens anything with it.

The specification is docs/formats/release.md, the ids are rows of docs/formats/checks.md. The node has examined the
KMS's bundle first, so who the KMS is and which epochs are its own is known here.
"""

from __future__ import annotations

from dataclasses import dataclass

from cloister.crypto.hpke import KemPrivateKey, OpenFailed, unwrap
from cloister.crypto.merkle import BadProof, check_inclusion, leaf_hash
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.evidence import NodeKeys
from cloister.formats.release import WRAP_INFO, Release, ReleaseReply, parse_release
from cloister.ledger.checkpoints import SIGNED_STEPS, check_checkpoint
from cloister.ledger.statements import entry_digest, open_statement
from cloister.trust.bundle import VerifiedBundle
from cloister.trust.keys import TrustedEpoch, said_by_one

REPLY_STEPS = (
    "reply.epoch",
    "reply.signature",
    "reply.contract",
    "reply.node",
    *SIGNED_STEPS,
    "reply.inclusion",
    "reply.key",
)


class ReplyRefused(Refused):
    """A KMS's answer is not the release that was asked for: the key in it is not used."""


@dataclass(frozen=True, slots=True)
class VerifiedRelease:
    """A transport key that the KMS released to this node, in the witnessed log. Built only here."""

    epoch: TrustedEpoch
    private: KemPrivateKey
    cosigned_at: int  # seconds since 1970: when the witnesses saw a log with this release


@dataclass(frozen=True, slots=True)
class AskedFor:
    """What the node asked for, and the keys it asked with."""

    epoch: TrustedEpoch  # of the bundle it examined
    keys: NodeKeys
    wrap: KemPrivateKey  # X-Wing; the private half of `keys.wrap`


def examine_reply(reply: ReleaseReply, asked: AskedFor, bundle: VerifiedBundle) -> Examination[VerifiedRelease]:
    """Hold the reply against what was asked for and the bundle that was examined before."""
    steps = Steps(REPLY_STEPS, ReplyRefused)
    # 1. A key of the epoch asked for, which the bundle has shown to be the KMS's own.
    same = entry_digest(reply.epoch_entry) == asked.epoch.digest
    steps.check("reply.epoch", same, f"is not of epoch {asked.epoch.number}", found=f"epoch {asked.epoch.number}")
    # 2. The release is the word of the KMS: of an instance that the one in evidence vouches for, …
    instances = bundle.keys.instances
    release = steps.attempt(
        "reply.signature",
        lambda: _release(reply.entry, instances),
        BadSignature,
        MalformedInput,
        TooLarge,
        found="signed",
    )
    if release is None:
        return steps.stopped()
    # 3. … under the contract in force, for the gateway's role and this epoch, …
    terms = (release.contract, release.role, release.epoch)
    named = terms == (bundle.contract.digest(), "gateway", asked.epoch.digest)
    steps.check("reply.contract", named, "is for another contract, role or epoch", found="of this contract")
    # 4. … and to this node: its receipt key is the one certified.
    steps.check("reply.node", release.node == asked.keys, "is for another node's keys", found="these keys")
    # 5. It is in the log, as the witnesses have seen it.
    rules = bundle.constitution
    checkpoint = check_checkpoint(
        steps, reply.checkpoint, log=rules.log, witnesses=rules.witnesses, quorum=rules.quorum
    )
    if checkpoint is None:
        return steps.stopped()
    steps.attempt(
        "reply.inclusion",
        lambda: check_inclusion(leaf_hash(reply.entry), reply.index, checkpoint.size, reply.path, checkpoint.root),
        BadProof,
        found=f"entry {reply.index} of {checkpoint.size}",
    )
    # 6. The key is the one that clients encrypt to.
    private = steps.attempt("reply.key", lambda: _key(reply, asked), OpenFailed, MalformedInput, found="clients use it")
    if private is None:
        return steps.stopped()
    return steps.examined(lambda: VerifiedRelease(asked.epoch, private, checkpoint.cosigned_at))


def _release(entry: bytes, instances: frozenset[bytes]) -> Release:
    statement = open_statement(entry)
    if statement.kind != "release" or not said_by_one(statement, instances):
        raise BadSignature("is not the word of the KMS that was examined")
    return parse_release(statement.payload)


def _key(reply: ReleaseReply, asked: AskedFor) -> KemPrivateKey:
    secret = unwrap(asked.wrap, reply.wrapped, info=WRAP_INFO, aad=entry_digest(reply.entry))
    config = asked.epoch.key_config
    private = KemPrivateKey.from_bytes(config.kem, secret)
    if private.public != config.public:
        raise MalformedInput("is not the key that the epoch names")
    return private
