"""A node's identity: asked of the KMS with evidence, kept in memory, and asked for again long before it ends."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from cloister.contract.identity_key import sign_identity_key
from cloister.crypto.p256 import P256Key
from cloister.errors import CloisterError
from cloister.formats import canonical
from cloister.formats.evidence import Evidence, Role
from cloister.formats.identity import IdentityRequest
from cloister.node.identity_tls import HeldIdentity, Speaker
from cloister.node.keys import NodeSecrets
from cloister.peers.kms import KmsClient
from cloister.trust.bundle import VerifiedBundle
from cloister.trust.identity_reply import IdentityAskedFor, examine_identity_reply

FIRST_RETRY_SECONDS: Final = 0.2
LAST_RETRY_SECONDS: Final = 30.0  # between two attempts while the KMS gives nothing
_EARLY, _LATE = 0.45, 0.55  # of its life, between which a certificate is renewed: nodes started together ask apart


class IdentityNode(Protocol):
    """A node, as it shows itself to the KMS to be named."""

    @property
    def line(self) -> bytes:
        """The digest of the first contract of its line."""

    @property
    def role(self) -> Role:
        """In which it runs."""

    @property
    def secrets(self) -> NodeSecrets:
        """Its keys."""

    async def evidence(self, challenge: bytes) -> Evidence:
        """Fresh evidence under the contract in force, which answers `challenge`."""


async def issued_identity(kms: KmsClient, node: IdentityNode, bundle: VerifiedBundle) -> HeldIdentity:
    """A certificate for a fresh key, from the KMS whose `bundle` was examined under a trust policy.

    No client certificate is shown for it, now or later: all that the KMS judges is in the evidence, which binds the
    node's keys, which sign the TLS key.

    Raises:
        Refused: a check failed, here or at the KMS; it is named.
        PeerRefused, Unavailable: the KMS takes no such request, or cannot serve it now.
    """
    key = P256Key.generate()
    challenge = await kms.challenge()
    shown = await node.evidence(challenge)
    signed, proof = sign_identity_key(node.secrets.sign, key, line=node.line, challenge=challenge)
    request = IdentityRequest(contract=node.line, evidence=canonical.encode(shown), key=signed, proof=proof)
    asked = IdentityAskedFor(node.line, node.role, node.secrets.public, key.public)
    issued = examine_identity_reply(await kms.identity(request), asked, bundle).require()
    return HeldIdentity(issued.name, issued.certificate, issued.window, issued.authorities, key)


class KeptIdentity:
    """Has a speaker hold a certificate that is good, for as long as the KMS gives any."""

    def __init__(
        self, speaker: Speaker, obtain: Callable[[], Awaitable[HeldIdentity]], *, clock: Callable[[], float]
    ) -> None:
        """`obtain` gets another one from the KMS; `clock` says the witnessed time, in seconds since 1970."""
        self._speaker = speaker
        self._obtain = obtain
        self._clock = clock
        self.trouble = ""  # why the last attempt brought none, in words
        self.renewed: Callable[[HeldIdentity], None] = lambda _: None  # is told of each one that is taken

    async def renew(self) -> float:
        """Get another one now; in how many seconds the next is due.

        Raises:
            CloisterError: none is given; the one of before stays until it ends.
        """
        held = await self._obtain()
        self._speaker.take(held)
        self.renewed(held)
        left = held.window.not_after - self._clock()
        drawn = secrets.randbelow(1001) / 1000
        return max(FIRST_RETRY_SECONDS, left * (_EARLY + drawn * (_LATE - _EARLY)))

    async def keep(self) -> None:
        """Renew at half life, later each time while none is given, until cancelled."""
        wait = FIRST_RETRY_SECONDS
        while True:
            try:
                due = await self.renew()
            except CloisterError as error:
                if self.trouble != str(error):
                    structlog.get_logger().warning("no identity from the KMS", reason=str(error))
                self.trouble = str(error)
                await asyncio.sleep(wait)
                wait = min(2 * wait, LAST_RETRY_SECONDS)
            else:
                self.trouble, wait = "", FIRST_RETRY_SECONDS
                await asyncio.sleep(due)
