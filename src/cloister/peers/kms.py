"""The KMS, as gateways and other instances of it call it (docs/formats/http-apis.md). Answers are only parsed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self, TypeVar

import msgspec

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.custody_messages import (
    MAXIMUM_ASSET_REPLY,
    MAXIMUM_INTAKE,
    AssetReply,
    AssetRequest,
    Intake,
    parse_asset_reply,
    parse_intake,
)
from cloister.formats.handover import (
    MAXIMUM_HANDOVER_REPLY,
    HandoverReply,
    HandoverRequest,
    parse_handover_reply,
)
from cloister.formats.identity import MAXIMUM_IDENTITY_REPLY, IdentityReply, IdentityRequest, parse_identity_reply
from cloister.formats.key_bundle import MAXIMUM_BUNDLE
from cloister.formats.release import ReleaseReply, ReleaseRequest, parse_release_reply
from cloister.hosting.tls import PeerTls, Spoken
from cloister.peers.exchange import CBOR, Exchange

T = TypeVar("T")

MAXIMUM_REPLY = 262_144  # bytes
SECONDS = 30.0  # a release waits for the log and its witnesses


class KmsClient:
    """Calls one KMS; an asynchronous context manager.

    Every call raises `Unavailable` where no whole answer came in time, or the KMS says to come back later; `Refused`
    names the check that failed; `PeerRefused` says that the KMS takes no such request.
    """

    def __init__(
        self,
        url: str,
        *,
        seconds: float = SECONDS,
        peers: PeerTls | None = None,
        speaking: Callable[[], Spoken] | None = None,
    ) -> None:
        """`url` is the KMS's prefix, as in http://127.0.0.1:7002; `peers` say how a remote one is known.

        `speaking`, where it is spoken to by this node's identity, says how.
        """
        self._exchange = Exchange("the KMS", url, seconds=seconds, peers=peers, speaking=speaking)

    async def __aenter__(self) -> Self:
        await self._exchange.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._exchange.__aexit__(*raised)

    async def challenge(self) -> bytes:
        """A fresh challenge, 32 bytes: it lives for a minute or so, and is answered once."""
        return await self._exchange.challenge("/challenges")

    async def release(self, request: ReleaseRequest) -> ReleaseReply:
        """The logged release and the wrapped key."""
        return await self._asked("/releases", request, parse_release_reply, limit=MAXIMUM_REPLY)

    async def handover(self, request: HandoverRequest) -> HandoverReply:
        """What this instance hands over to another."""
        return await self._asked("/handovers", request, parse_handover_reply, limit=MAXIMUM_HANDOVER_REPLY)

    async def release_assets(self, request: AssetRequest) -> AssetReply:
        """The logged use and the wrapped assets."""
        return await self._asked("/assets", request, parse_asset_reply, limit=MAXIMUM_ASSET_REPLY)

    async def identity(self, request: IdentityRequest) -> IdentityReply:
        """The logged identity and the certificate."""
        return await self._asked("/identities", request, parse_identity_reply, limit=MAXIMUM_IDENTITY_REPLY)

    async def intake(self, contract: bytes) -> Intake:
        """What the KMS says of the intake key of the contract line with this digest."""
        answer = await self._exchange.ask("GET", f"/intakes/{contract.hex()}", limit=MAXIMUM_INTAKE)
        try:
            return parse_intake(answer.body)
        except (MalformedInput, TooLarge) as error:
            raise self._exchange.broken(error) from error

    async def bundle(self, contract: bytes) -> bytes:
        """The bytes of the current key bundle of the contract line with this digest, at most 4 MiB."""
        return (await self._exchange.ask("GET", f"/bundles/{contract.hex()}", limit=MAXIMUM_BUNDLE)).body

    async def _asked(self, path: str, request: msgspec.Struct, parse: Callable[[bytes], T], *, limit: int) -> T:
        answer = await self._exchange.ask("POST", path, body=canonical.encode(request), headers=CBOR, limit=limit)
        try:
            return parse(answer.body)
        except (MalformedInput, TooLarge) as error:
            raise self._exchange.broken(error) from error
