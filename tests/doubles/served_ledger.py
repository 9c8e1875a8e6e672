"""A `MemoryLedger` behind the routes of a ledger that parties and a KMS call."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cloister.formats import canonical
from cloister.formats.ledger_messages import Appended, encode_digest, encode_list
from cloister.hosting.loopback import LOOPBACK, listen, port_of
from cloister.hosting.serving import serve_until
from cloister.peers.exchange import PeerRefused
from cloister.testing.memory_ledger import MemoryLedger


def routes(ledger: MemoryLedger) -> Starlette:
    async def append(request: Request) -> Response:
        made = await ledger.append(await request.body())
        return Response(canonical.encode(Appended(index=made.index, checkpoint=made.checkpoint, path=made.path)))

    async def entries(request: Request) -> Response:
        start, end = (int(request.query_params[name]) for name in ("start", "end"))
        return Response(encode_list(await ledger.entries(start, end)))

    async def checkpoint(_request: Request) -> Response:
        return Response(await ledger.checkpoint())

    async def put_blob(request: Request) -> Response:
        return Response(encode_digest(await ledger.put_blob(await request.body())), status_code=201)

    async def get_blob(request: Request) -> Response:
        try:
            return Response(await ledger.get_blob(bytes.fromhex(request.path_params["digest"])))
        except PeerRefused as error:
            return Response(status_code=error.answer)

    return Starlette(
        routes=[
            Route("/entries", append, methods=["POST"]),
            Route("/entries", entries),
            Route("/checkpoint", checkpoint, methods=["GET", "POST"]),
            Route("/blobs", put_blob, methods=["PUT"]),
            Route("/blobs/{digest}", get_blob),
        ]
    )


@contextlib.asynccontextmanager
async def served_ledger(ledger: MemoryLedger):
    """Its URL on the loopback interface."""
    listener = listen(LOOPBACK, 0)
    url, stop = f"http://{LOOPBACK}:{port_of(listener)}", asyncio.Event()
    task = asyncio.create_task(serve_until(routes(ledger), listener, stop))
    try:
        yield url
    finally:
        stop.set()
        await task
