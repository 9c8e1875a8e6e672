"""Examines the certificate that a TLS peer shows: every step before it counts as a node of a contract.

The specification is docs/formats/identity.md; who asks knows the line's authorities from the ledger, or from the KMS.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from cloister.contract.identity_certificate import (
    AuthorityCertificate,
    ReadIdentity,
    Window,
    check_issued_by,
    read_identity,
)
from cloister.contract.identity_key import possessed_key
from cloister.crypto.p256 import read_p256
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.evidence import Role
from cloister.formats.identity import BACKDATED, LONGEST_LIFE, Identity
from cloister.formats.spiffe import SpiffeName, trust_domain

PEER_STEPS: Final = (
    "peer.certificate",
    "peer.authority",
    "peer.use",
    "peer.validity",
    "peer.name",
    "peer.domain",
    "peer.role",
)


LOGGED_PEER_STEPS: Final = (*PEER_STEPS, "peer.logged")


class PeerIdentityRefused(Refused):
    """A peer's certificate is not that of a node that may be spoken with."""


@dataclass(frozen=True, slots=True)
class VerifiedPeer:
    """A node of the contract line, as its KMS has judged it. Built only here."""

    name: SpiffeName
    window: Window


def examine_peer(
    data: bytes, authorities: Sequence[AuthorityCertificate], *, line: bytes, roles: Collection[Role], at: int
) -> Examination[VerifiedPeer]:
    """Hold a peer's certificate (DER) against the authorities of `line`, at `at` (seconds since 1970)."""
    return _examine(Steps(PEER_STEPS, PeerIdentityRefused), data, authorities, line=line, roles=roles, at=at)


def examine_logged_peer(
    data: bytes,
    authorities: Sequence[AuthorityCertificate],
    issued: Sequence[Identity],
    *,
    line: bytes,
    roles: Collection[Role],
    at: int,
) -> Examination[VerifiedPeer]:
    """As `examine_peer`, by who has the log: `issued` are all identities of the line that took effect there."""
    steps = Steps(LOGGED_PEER_STEPS, PeerIdentityRefused)
    # 8. Everyone can see that it was issued: it was an entry before it was made.
    logged = next((one for one in issued if _is_of(one, data, line)), None)
    steps.check("peer.logged", logged is not None, "no identity in the log is of this certificate")
    return _examine(steps, data, authorities, line=line, roles=roles, at=at)


def _examine(
    steps: Steps,
    data: bytes,
    authorities: Sequence[AuthorityCertificate],
    *,
    line: bytes,
    roles: Collection[Role],
    at: int,
) -> Examination[VerifiedPeer]:
    # 1. A certificate …
    read = steps.attempt("peer.certificate", lambda: _read(data), MalformedInput, TooLarge)
    if read is None:
        return steps.stopped()
    # 2. … that an authority of this line signed, while that was valid, …
    issuer = next((one for one in authorities if _issued(read, one)), None)
    steps.check("peer.authority", issuer is not None, "is signed by no authority of this contract")
    if issuer is not None:
        window = issuer.window
        steps.check("peer.authority", window.not_before <= at < window.not_after, "its authority is not valid now")
    # 3. … for a node to speak TLS with, and nothing else, …
    steps.check("peer.use", read.speaks, "is of another form than a node's (X509-SVID, section 4)")
    # 4. … now, and not for long.
    valid = read.window.not_before <= at < read.window.not_after
    told = f"is valid from {read.window.not_before} to {read.window.not_after}, it is {at}"
    steps.check("peer.validity", valid, told)
    short = read.window.not_after - read.window.not_before <= LONGEST_LIFE + BACKDATED
    steps.check("peer.validity", short, f"is valid for longer than {LONGEST_LIFE} s")
    # 5. "Validators encountering an SVID containing more than one URI SAN MUST reject the SVID" (X509-SVID, section 2).
    name = steps.attempt("peer.name", lambda: _name(read), MalformedInput, TooLarge)
    if name is None:
        return steps.stopped()
    # 6. Of this contract line, …
    steps.check("peer.domain", name.line == line, f"is of another contract than {trust_domain(line)}", found=str(name))
    # 7. … in a role that may be spoken with here.
    wanted = " or ".join(sorted(roles))
    steps.check("peer.role", name.role in roles, f"is a {name.role}, wanted is a {wanted}", found=name.role)
    return steps.examined(lambda: VerifiedPeer(name, read.window))


def _is_of(made: Identity, data: bytes, line: bytes) -> bool:
    """Whether the certificate is what this entry says was issued: name, number, time and key."""
    try:
        read = read_identity(data)
        said = possessed_key(made.key, made.proof, line=line, node=made.node.sign)
    except (MalformedInput, TooLarge, BadSignature):
        return False
    logged = (made.serial, Window(made.not_before, made.not_after), (made.name,), said.key)
    return (read.serial, read.window, read.uris, read.key) == logged


def _read(data: bytes) -> ReadIdentity:
    read = read_identity(data)
    read_p256(read.key)
    return read


def _issued(read: ReadIdentity, authority: AuthorityCertificate) -> bool:
    try:
        check_issued_by(read.certificate, authority.certificate)
    except BadSignature:
        return False
    return True


def _name(read: ReadIdentity) -> SpiffeName:
    if len(read.uris) != 1:
        raise MalformedInput(f"bears {len(read.uris)} URIs, and one is its name")
    name = SpiffeName.parse(read.uris[0])
    if read.hosts != (name.host,) or read.named_otherwise:
        raise MalformedInput(f"bears other names than its URI and {name.host}")
    return name
