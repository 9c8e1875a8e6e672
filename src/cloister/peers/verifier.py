"""A verifier, as nodes and relying parties call it (docs/formats/http-apis.md). Tokens are not examined here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.attestation_request import AttestationRequest
from cloister.formats.jwk import MAXIMUM_KEY_SET, parse_key_set
from cloister.formats.jws import MAXIMUM_TOKEN
from cloister.hosting.tls import PeerTls
from cloister.peers.exchange import CBOR, Exchange

SECONDS = 60.0  # a verifier may have to ask vendors first


class VerifierClient:
    """Calls one verifier; an asynchronous context manager.

    Every call raises `Unavailable` where no whole answer came in time; `RefusedSteps` names every check that failed;
    `PeerRefused` says that the verifier takes no such request.
    """

    def __init__(self, url: str, *, seconds: float = SECONDS, peers: PeerTls | None = None) -> None:
        """`url` is where it is, as in http://127.0.0.1:7010; `peers` say how a remote one is known."""
        self._exchange = Exchange("the verifier", url, seconds=seconds, peers=peers)

    async def __aenter__(self) -> Self:
        await self._exchange.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._exchange.__aexit__(*raised)

    async def challenge(self) -> bytes:
        """A fresh challenge, 32 bytes: it lives for a minute or so, and is answered once."""
        return await self._exchange.challenge("/v1/challenges")

    async def attest(self, request: AttestationRequest) -> bytes:
        """The token on the node that asks, to be examined by whoever relies on it."""
        data = canonical.encode(request)
        answer = await self._exchange.ask("POST", "/v1/attestation", body=data, headers=CBOR, limit=MAXIMUM_TOKEN)
        return answer.body

    async def keys(self) -> Mapping[str, bytes]:
        """The keys by which its tokens are checked, by `kid`: as good as the connection that they came over."""
        answer = await self._exchange.ask("GET", "/.well-known/jwks.json", limit=MAXIMUM_KEY_SET)
        try:
            return parse_key_set(answer.body)
        except (MalformedInput, TooLarge) as error:
            raise self._exchange.broken(error) from error
