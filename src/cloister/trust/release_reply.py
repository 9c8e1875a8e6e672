"""Examines what a KMS answered to a node that asked for a key: every step before the node opens anything with it.

The specification is docs/formats/release.md, the ids are rows of docs/formats/checks.md. The node has examined the
KMS's bundle first, so who the KMS is and which epochs are its own is known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cloister.crypto.hpke import KemPrivateKey, OpenFailed, unwrap
from cloister.errors import MalformedInput
from cloister.examination import Examination, Steps
from cloister.formats.evidence import NodeKeys
from cloister.formats.release import WRAP_INFO, ReleaseReply, parse_release
from cloister.ledger.statements import entry_digest
from cloister.trust.bundle import VerifiedBundle
from cloister.trust.keys import TrustedEpoch
from cloister.trust.reply import LOGGED_STEPS, ReplyRefused, check_logged, said_by_the_kms

REPLY_STEPS: Final = ("reply.epoch", *LOGGED_STEPS, "reply.key")


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
    # 2. The release is the word of the KMS, …
    release = said_by_the_kms(steps, reply, bundle, "release", parse_release)
    if release is None:
        return steps.stopped()
    # 3. … under the contract in force, for the gateway's role and this epoch, to this node, and in the log.
    task = (release.role, release.epoch) == ("gateway", asked.epoch.digest)
    checkpoint = check_logged(steps, reply, release, asked.keys, bundle, of_the_task=task)
    if checkpoint is None:
        return steps.stopped()
    # 4. The key is the one that clients encrypt to.
    private = steps.attempt("reply.key", lambda: _key(reply, asked), OpenFailed, MalformedInput, found="clients use it")
    if private is None:
        return steps.stopped()
    return steps.examined(lambda: VerifiedRelease(asked.epoch, private, checkpoint.cosigned_at))


def _key(reply: ReleaseReply, asked: AskedFor) -> KemPrivateKey:
    secret = unwrap(asked.wrap, reply.wrapped, info=WRAP_INFO, aad=entry_digest(reply.entry))
    config = asked.epoch.key_config
    private = KemPrivateKey.from_bytes(config.kem, secret)
    if private.public != config.public:
        raise MalformedInput("is not the key that the epoch names")
    return private
