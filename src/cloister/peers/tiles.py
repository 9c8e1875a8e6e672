"""A log's static files (C2SP tlog-tiles), read from a web server or a folder. They are believed in nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp

from cloister.errors import MalformedInput, TooLarge, Unavailable, UsageError
from cloister.formats.checkpoint import MAXIMUM_NOTE
from cloister.formats.tile import HASH_SIZE, MAXIMUM_BUNDLE, WIDTH, Tile, parse_entry_bundle, parse_hashes
from cloister.formats.tlog_proof import TlogProof
from cloister.hosting.tls import require_private, verifying_context
from cloister.ledger.log_rules import LogRules
from cloister.ledger.proofs import examine_proof
from cloister.ledger.tiles import bundle_of, inclusion_from_tiles, tiles_for_inclusion
from cloister.storage.tile_folder import CHECKPOINT, TileFolder

SECONDS = 30.0  # for one file
AT_ONCE = 8  # files


class NotThere(Unavailable):
    """The log has no such file, now at least."""


class TileSource(Protocol):
    """Where a log's files are."""

    async def read(self, path: str, *, limit: int) -> bytes:
        """The file at `path` below the log's prefix, at most `limit` bytes.

        Raises:
            NotThere: it is not there.
            Unavailable: it cannot be read now.
        """


class TileSite:
    """A log's files on a web server; compressed ones are unpacked under the same caps."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url.rstrip("/")
        self._session = session

    async def read(self, path: str, *, limit: int) -> bytes:
        """The file; no redirect is followed."""
        what = f"{self._url}/{path}"
        try:
            async with self._session.get(what, allow_redirects=False) as response:
                if response.status != 200:
                    missing = NotThere if response.status == 404 else Unavailable
                    raise missing(f"{what} was answered with {response.status}")
                content = bytearray()
                async for chunk in response.content.iter_chunked(65_536):
                    content += chunk
                    if len(content) > limit:
                        raise Unavailable(f"{what} has more than {limit} bytes")
        except TimeoutError as error:
            raise Unavailable(f"{what} did not come within {SECONDS:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{what} cannot be read: {type(error).__name__}") from error
        return bytes(content)


class TileFiles:
    """A log's files in a folder."""

    def __init__(self, folder: TileFolder) -> None:
        self._folder = folder

    async def read(self, path: str, *, limit: int) -> bytes:
        """The file."""
        try:
            data = await asyncio.to_thread(self._folder.read, path, limit=limit)
        except TooLarge as error:
            raise Unavailable(str(error)) from error
        if data is None:
            raise NotThere(f"{self._folder.root / path} is not there")
        return data


@contextlib.asynccontextmanager
async def open_source(place: str, *, authorities: Path | None = None) -> AsyncIterator[TileSource]:
    """The log's files at `place`, a URL or a folder; `authorities` sign the server's certificate, or the usual ones.

    Raises:
        UsageError: it is neither, or over a network in the clear.
    """
    parts = urlsplit(place)
    if parts.scheme not in ("http", "https"):
        folder = TileFolder(Path(place))
        if not folder.exists:
            raise UsageError(f"{place} is neither the address of a log's files nor a folder of them")
        yield TileFiles(folder)
        return
    if not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"{place} is not the address of a log's files")
    require_private(place)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=AT_ONCE, ssl=verifying_context(authorities)),
        timeout=aiohttp.ClientTimeout(total=SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    ) as session:
        yield TileSite(place, session)


async def read_checkpoint(source: TileSource) -> bytes:
    """The log's latest checkpoint, a note."""
    return await source.read(CHECKPOINT, limit=MAXIMUM_NOTE)


async def read_bundle(source: TileSource, tile: Tile) -> tuple[bytes, ...]:
    """The entries of a bundle.

    Raises:
        Unavailable: it is not there, or is no such bundle.
    """
    data = await source.read(tile.path, limit=MAXIMUM_BUNDLE)
    try:
        return parse_entry_bundle(data, tile)
    except MalformedInput as error:
        raise Unavailable(f"{tile.path} is broken: {error}") from error


async def read_tiles(source: TileSource, tiles: Iterable[Tile]) -> dict[Tile, tuple[bytes, ...]]:
    """The hashes of `tiles`; raises as `read_bundle`."""

    async def one(tile: Tile) -> tuple[Tile, tuple[bytes, ...]]:
        try:
            return tile, parse_hashes(await source.read(tile.path, limit=WIDTH * HASH_SIZE), tile)
        except MalformedInput as error:
            raise Unavailable(f"{tile.path} is broken: {error}") from error

    return dict(await asyncio.gather(*map(one, tiles)))


async def prove(source: TileSource, index: int, rules: LogRules) -> tuple[bytes, TlogProof]:
    """Entry `index` of the log, and the proof of it under the latest checkpoint; examined before it is given.

    Raises:
        UsageError: the log has no such entry.
        Unavailable: a file is not there, or is broken.
        Refused: checkpoint, tiles or entry do not fit each other, or not the rules.
    """
    checkpoint = rules.examine(await read_checkpoint(source)).require()
    if index >= checkpoint.size:
        raise UsageError(f"the log has {checkpoint.size} entries, counted from 0: none is {index}")
    tiles = await read_tiles(source, tiles_for_inclusion(index, checkpoint.size))
    bundle = bundle_of(index, checkpoint.size)
    entry = (await read_bundle(source, bundle))[index - bundle.first]
    proof = TlogProof(index, inclusion_from_tiles(index, checkpoint.size, tiles), checkpoint.note)
    return examine_proof(proof, entry, rules).require().entry, proof
