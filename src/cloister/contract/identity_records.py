"""What the fold keeps of one contract line's identities: its authorities, and the newest of what they issued."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloister.contract.identity_certificate import AuthorityCertificate
from cloister.contract.placed import Placed
from cloister.contract.shared_map import SharedMap
from cloister.formats.identity import MAXIMUM_AUTHORITIES, Authority, Identity

if TYPE_CHECKING:
    from cloister.contract.custody_records import LineCustody


@dataclass(frozen=True, slots=True)
class AuthorityRecord:
    """An authority in effect, and the signing key of the KMS instance that made its certificate."""

    placed: Placed
    authority: Authority
    certificate: AuthorityCertificate
    instance: bytes


@dataclass(frozen=True, slots=True)
class IdentityRecord:
    """An identity in effect, and the signing key of the KMS instance that issued it."""

    placed: Placed
    identity: Identity
    instance: bytes


@dataclass(frozen=True, slots=True)
class LineIdentities:
    """The identities of one contract line."""

    authorities: tuple[AuthorityRecord, ...] = ()  # the newest last
    issued: tuple[IdentityRecord, ...] = ()  # the newest last
    nodes: SharedMap[bytes, bytes] = field(default_factory=SharedMap)  # all: signing keys by the nodes' thumbprints

    def trusted(self, custody: LineCustody) -> tuple[AuthorityRecord, ...]:
        """Those whose root is not retired: who knows nodes of this line by certificates trusts all of these."""
        alive = [one for one in self.authorities if one.authority.generation > custody.retired]
        return tuple(alive[-MAXIMUM_AUTHORITIES:])

    def issuing(
        self, custody: LineCustody, *, held: Container[bytes], life: int, at: int
    ) -> tuple[AuthorityRecord, ...]:
        """All that are trusted, and first the one to issue with, of those whose root secrets are `held`; none without.

        A new authority waits for the `life` of what was issued before it: by then every node's renewal has brought it,
        and nobody meets a certificate of an authority that it does not know.
        """
        trusted = self.trusted(custody)
        able = [one for one in reversed(trusted) if one.authority.root in held]
        known = [one for one in able if one.authority.at + life <= at]
        first = (known or able[::-1])[:1]
        return (*first, *(one for one in reversed(trusted) if one not in first)) if first else ()
