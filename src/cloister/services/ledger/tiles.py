"""The log as static files (C2SP tlog-tiles): tiles, bundles of entries, and the checkpoint over them.

Every file is made from the entries, and only of what a quorum cosigned; so a file never changes, whoever keeps a copy.
"""

from __future__ import annotations

from typing import Final, Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cloister.errors import MalformedInput
from cloister.formats.tile import ENTRIES, MAXIMUM_BUNDLE, Tile, encode_entry_bundle, parse_tile_path
from cloister.ledger.tiles import tile_hashes
from cloister.storage.ledger_store import StoredCheckpoint

BYTES: Final = "application/octet-stream"
FOR_GOOD: Final = {"cache-control": "public, max-age=31536000, immutable"}
NOT_YET: Final = {"cache-control": "no-store"}  # the next entries may make it


class ShownLog(Protocol):
    """What is asked of the log; all of it is of what a quorum cosigned."""

    @property
    def cosigned(self) -> StoredCheckpoint:
        """The latest cosigned checkpoint."""

    def subtree(self, start: int, end: int) -> bytes:
        """The root over a run of leaves."""

    async def fresh(self) -> None:
        """Know what was acknowledged before this was called."""

    async def entries(self, start: int, end: int, *, limit: int) -> list[bytes]:
        """A run of entries, at most `limit` bytes of them, each as it is in the tree."""


def tile_routes(log: ShownLog) -> list[Route]:
    """The routes below `/tile/`."""

    async def tile(request: Request) -> Response:
        try:
            asked = parse_tile_path(f"tile/{request.path_params['path']}")
        except MalformedInput as error:
            raise HTTPException(404, str(error), headers=NOT_YET) from error
        if not asked.exists(log.cosigned.size):
            await log.fresh()  # another front end may have made it exist
        if not asked.exists(log.cosigned.size):
            raise HTTPException(404, f"the log has {log.cosigned.size} entries, too few for this tile", headers=NOT_YET)
        data = await _bundle(log, asked) if asked.level == ENTRIES else tile_hashes(asked, log.subtree)
        return Response(data, media_type=BYTES, headers=FOR_GOOD)

    return [Route("/tile/{path:path}", tile, methods=["GET"])]


async def _bundle(log: ShownLog, tile: Tile) -> bytes:
    return encode_entry_bundle(await log.entries(tile.first, tile.end, limit=MAXIMUM_BUNDLE))
