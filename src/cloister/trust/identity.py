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
from cloister.crypto.p256 import read_p256
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.evidence import Role
from cloister.formats.identity import BACKDATED, LONGEST_LIFE
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
    steps = Steps(PEER_STEPS, PeerIdentityRefused)
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
