"""An engine of a test's own, behind a unix socket as the sandboxed ones are."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from cloister.formats.binary_http import Request, Response
from cloister.hosting import http_exchange
from cloister.hosting.http_server import HttpServer
from cloister.services.gateway.engine_link import MAXIMUM_ANSWER

_FRAMING = ("content-length", "transfer-encoding", "connection")  # the server's own to say


class AskedEngine(Protocol):
    """What answers requests."""

    async def ask(self, request: Request, *, seconds: float) -> Response:
        """The answer; raising cuts the connection, as a crash does."""


@contextlib.asynccontextmanager
async def served_engine(engine: AskedEngine) -> AsyncIterator[str]:
    """The path of a unix socket on which `engine` answers."""

    async def answer(asked: http_exchange.Request) -> http_exchange.Response:
        headers = tuple(
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in asked.headers
            if name != b"host" and name.decode("latin-1") not in _FRAMING
        )
        body = await asked.body.read(MAXIMUM_ANSWER)
        reply = await engine.ask(Request(asked.method, "http", "engine", asked.target, headers, body), seconds=600)
        fields = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers if name not in _FRAMING
        ]
        return http_exchange.Response(reply.status, fields, reply.body)

    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = str(Path(folder) / "engine.sock")
        listener.bind(path)
        listener.listen()
        server = HttpServer(answer, http_exchange.Limits())
        await server.start(listener)
        try:
            yield path
        finally:
            await server.close(0)
