"""A machine's deployment API, as an operator's command line calls it (docs/formats/http-apis.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.deployment_state import MAXIMUM_STATE, DeploymentState, parse_deployment_state
from cloister.formats.node_manifest import MAXIMUM_SIGNED, SentRevisions
from cloister.hosting.tls import PeerTls
from cloister.peers.exchange import CBOR, Exchange

SECONDS = 30.0  # to judge a request, not to do what it says


class DeploymentClient:
    """Calls one machine; an asynchronous context manager.

    Every call raises `Unavailable` where no whole answer came in time, `Refused` where a check is named.
    """

    def __init__(self, url: str, *, seconds: float = SECONDS, peers: PeerTls | None = None) -> None:
        """`url` is where it is, as in http://127.0.0.1:7100; `peers` say how a remote one is known."""
        self.url = url
        self._exchange = Exchange(f"the deployment API at {url}", url, seconds=seconds, peers=peers)

    async def __aenter__(self) -> Self:
        await self._exchange.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._exchange.__aexit__(*raised)

    async def state(self) -> DeploymentState:
        """What it tells of itself."""
        answer = await self._exchange.ask("GET", "/v1/state", limit=MAXIMUM_STATE)
        try:
            return parse_deployment_state(answer.body)
        except (MalformedInput, TooLarge) as error:
            raise self._exchange.broken(error) from error

    async def revision(self, number: int) -> bytes:
        """A revision that it took, as it was signed. Its signature is not checked."""
        return (await self._exchange.ask("GET", f"/v1/revisions/{number}", limit=MAXIMUM_SIGNED)).body

    async def send(self, revisions: Sequence[bytes]) -> None:
        """Have it take signed revisions, and begin to roll out the last."""
        body = canonical.encode(SentRevisions(revisions=tuple(revisions)))
        await self._exchange.ask("POST", "/v1/revisions", body=body, headers=CBOR, limit=4096, expected=((202, None),))
