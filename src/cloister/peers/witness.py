"""A witness, as a log calls it (C2SP tlog-witness)."""

from __future__ import annotations

from typing import Self

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.add_checkpoint import AddCheckpoint
from cloister.formats.checkpoint import MAXIMUM_NOTE, NoteSignature, parse_signature_lines, parse_size
from cloister.hosting.tls import PeerTls
from cloister.ledger.witness_rules import SizeConflict
from cloister.peers.exchange import Exchange

SECONDS = 5.0
SIZE_TYPE = "text/x.tlog.size"


class WitnessClient:
    """Calls one witness; an asynchronous context manager."""

    def __init__(self, name: str, url: str, *, seconds: float = SECONDS, peers: PeerTls | None = None) -> None:
        """`name` is the witness's key name, `url` its submission prefix; `peers` say how a remote one is known."""
        self._exchange = Exchange(f"the witness {name}", url, seconds=seconds, peers=peers)

    async def __aenter__(self) -> Self:
        await self._exchange.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._exchange.__aexit__(*raised)

    async def add_checkpoint(self, request: AddCheckpoint) -> tuple[NoteSignature, ...]:
        """The witness's signature lines, none of them checked.

        Raises:
            SizeConflict: it last cosigned another size than `request.old_size`.
            Refused, PeerRefused: it will not cosign this checkpoint.
            Unavailable: no whole answer in time.
        """
        answer = await self._exchange.ask(
            "POST",
            "/add-checkpoint",
            body=request.encode(),
            limit=MAXIMUM_NOTE,
            expected=((200, None), (409, SIZE_TYPE)),
        )
        try:
            if answer.status == 409:
                raise SizeConflict(parse_size(answer.body.decode("ascii").removesuffix("\n")))
            return parse_signature_lines(answer.body)
        except (MalformedInput, TooLarge, UnicodeDecodeError) as error:
            raise self._exchange.broken(MalformedInput(str(error))) from error
