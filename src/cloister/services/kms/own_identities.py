"""A KMS instance's own identities, one for each contract line that it serves, and TLS by them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
from time import monotonic
from typing import Final

import structlog

from cloister.formats.evidence import Role
from cloister.formats.spiffe import host_of
from cloister.hosting.allowance import Allowance, TooMuch
from cloister.hosting.tls import Spoken
from cloister.node.identity import KeptIdentity
from cloister.node.identity_tls import NoIdentity, PeerNotTaken, Speaker, server_context
from cloister.services.kms.kms import Kms

CALLERS: Final[frozenset[Role]] = frozenset({"gateway", "kms"})  # who has anything to ask of a KMS by its identity
LOOK_SECONDS: Final = 0.2  # between looks whether there is another line to speak for


class OwnIdentities:
    """Kept from when the KMS serves a line until it ends."""

    def __init__(self, kms: Kms) -> None:
        self._kms = kms
        self._speakers: dict[bytes, Speaker] = {}  # by the line's digest
        self._kept: dict[bytes, KeptIdentity] = {}
        self._telling = Allowance(per_second=1, brim=8, clock=monotonic)

    def context(self) -> ssl.SSLContext:
        """A server's: callers say by the host name of which line they are."""
        return server_context(self._of_host, CALLERS)

    def is_named(self) -> bool:
        """Whether another instance can be spoken to by an identity."""
        return any(speaker.held for speaker in self._speakers.values())

    def unready(self) -> list[str]:
        """What lacks before nodes of every line can be served, in words."""
        missing = self._kms.unready()
        for line in sorted(self._kms.served()):
            speaker, kept = self._speakers.get(line), self._kept.get(line)
            if speaker is None or speaker.held is None:
                why = kept.trouble if kept is not None and kept.trouble else "it is being issued"
                missing.append(f"this instance's identity in contract {line.hex()[:16]}…: {why}")
        return missing

    def speaking(self) -> Spoken:
        """How another instance is spoken to: by the identity of any line, since all serve the same ones.

        Raises:
            NoIdentity: there is none.
        """
        for speaker in self._speakers.values():
            if speaker.held is not None:
                return speaker.client("kms")
        raise NoIdentity("this KMS instance has no identity yet")

    async def keep(self) -> None:
        """Have an identity for each line that is served, until cancelled."""
        keeping: dict[bytes, asyncio.Task[None]] = {}
        try:
            while True:
                for line in self._kms.served() - keeping.keys():
                    keeping[line] = asyncio.create_task(self._keep(line))
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for task in keeping.values():
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*keeping.values())

    async def _keep(self, line: bytes) -> None:
        speaker = self._speakers[line] = Speaker(line, clock=self._kms.now)
        speaker.refused = self._tell
        obtain = functools.partial(self._kms.own_identity, line)
        self._kept[line] = KeptIdentity(speaker, obtain, clock=self._kms.now)
        await self._kept[line].keep()

    def _of_host(self, host: str | None) -> Speaker | None:
        return next((one for line, one in self._speakers.items() if host == host_of(line, "kms")), None)

    def _tell(self, refusal: PeerNotTaken) -> None:
        """Some of those who are not taken; anyone who reaches the port can be refused as often as it likes."""
        with contextlib.suppress(TooMuch):
            self._telling.take(1, what="refusals")
            structlog.get_logger().info("a caller was not taken", check=refusal.check)
