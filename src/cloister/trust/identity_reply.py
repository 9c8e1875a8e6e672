"""Examines what a KMS answered to a node that asked for a certificate: every step before the node shows it to anyone.

The specification is docs/formats/identity.md. The node has examined the KMS's bundle first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cloister.contract.identity_certificate import (
    AuthorityCertificate,
    Window,
    check_issued_by,
    read_authority,
    read_identity,
)
from cloister.contract.identity_key import possessed_key
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.evidence import NodeKeys, Role
from cloister.formats.identity import Identity, IdentityReply, parse_authority, parse_identity
from cloister.formats.spiffe import SpiffeName
from cloister.ledger.statements import entry_digest, open_statement
from cloister.trust.bundle import VerifiedBundle
from cloister.trust.reply import LOGGED_STEPS, ReplyRefused, check_logged, said_by_the_kms

IDENTITY_REPLY_STEPS: Final = (*LOGGED_STEPS, "reply.authorities", "reply.certificate")


@dataclass(frozen=True, slots=True)
class IdentityAskedFor:
    """What the node asked for, and the keys it asked with."""

    line: bytes  # the digest of the first contract of the line
    role: Role
    keys: NodeKeys
    key: bytes  # SubjectPublicKeyInfo of its TLS key


@dataclass(frozen=True, slots=True)
class VerifiedIdentity:
    """A certificate that the KMS issued to this node, in the witnessed log. Built only here."""

    name: SpiffeName
    certificate: bytes  # DER
    window: Window
    authorities: tuple[AuthorityCertificate, ...]  # of the line, the issuing one first
    cosigned_at: int  # seconds since 1970: when the witnesses saw a log with this identity


def examine_identity_reply(
    reply: IdentityReply, asked: IdentityAskedFor, bundle: VerifiedBundle
) -> Examination[VerifiedIdentity]:
    """Hold the reply against what was asked for and the bundle that was examined before."""
    steps = Steps(IDENTITY_REPLY_STEPS, ReplyRefused)
    # 1. The identity is the word of the KMS that was examined, …
    made = said_by_the_kms(steps, reply, bundle, "identity", parse_identity)
    if made is None:
        return steps.stopped()
    # 2. … under the contract in force, for this role, to this node, and in the log.
    name = SpiffeName(asked.line, bundle.contract.sequence, asked.role, asked.keys.thumbprint())
    task = (made.role, made.name) == (asked.role, str(name))
    checkpoint = check_logged(steps, reply, made, asked.keys, bundle, of_the_task=task)
    if checkpoint is None:
        return steps.stopped()
    # 3. The authorities are those that it names: so they are the KMS's word, whichever instance made them.
    authorities = steps.attempt(
        "reply.authorities", lambda: _authorities(reply, made, asked.line), BadSignature, MalformedInput, TooLarge
    )
    if authorities is None:
        return steps.stopped()
    # 4. The certificate is what was logged, for the key that this node has, by the first of them.
    window = steps.attempt(
        "reply.certificate", lambda: _window(reply, made, asked, authorities[0]), BadSignature, MalformedInput, TooLarge
    )
    if window is None:
        return steps.stopped()
    return steps.examined(
        lambda: VerifiedIdentity(name, reply.certificate, window, authorities, checkpoint.cosigned_at)
    )


def _authorities(reply: IdentityReply, made: Identity, line: bytes) -> tuple[AuthorityCertificate, ...]:
    if tuple(map(entry_digest, reply.authorities)) != made.authorities:
        raise MalformedInput("are others than the identity in the log names")
    found = []
    for entry in reply.authorities:
        statement = open_statement(entry)
        authority = parse_authority(statement.payload)
        if statement.kind != "authority" or authority.contract != line:
            raise MalformedInput("are not all authorities of this contract")
        found.append(read_authority(authority.certificate, line=line, generation=authority.generation))
    return tuple(found)


def _window(reply: IdentityReply, made: Identity, asked: IdentityAskedFor, issuer: AuthorityCertificate) -> Window:
    read = read_identity(reply.certificate)
    check_issued_by(read.certificate, issuer.certificate)
    said = possessed_key(made.key, made.proof, line=asked.line, node=asked.keys.sign)
    if not said.key == read.key == asked.key:
        raise MalformedInput("is for another key")
    logged = (made.serial, Window(made.not_before, made.not_after), (made.name,))
    if (read.serial, read.window, read.uris) != logged or not read.speaks:
        raise MalformedInput("is not what the log says was issued")
    return read.window
