"""An engine that does as its path says: hangs, crashes, eats memory, answers rubbish, runs the Python it is sent."""

from __future__ import annotations

import ctypes
import os
import time

from cloister.engines.server import Request, Response, inherited_listener, serve

listener = inherited_listener()


def handle(request: Request) -> Response:
    if request.path == "/hang":
        time.sleep(3600)
    if request.path == "/exit":
        os._exit(3)
    if request.path == "/segfault":
        ctypes.string_at(0)
    if request.path == "/raise":
        raise RuntimeError("a fault nobody foresaw")
    if request.path == "/memory":
        hoard = bytearray(b"x") * 2**32
        return Response(200, "text/plain", str(len(hoard)).encode())
    if request.path == "/rubbish":
        return Response(200, "text/plain\r\nno header\0", b"")
    if request.path == "/run":
        return Response(200, "text/plain", run(request.body.decode()).encode())
    return Response(200, "text/plain", str(len(request.body)).encode())


def run(code: str) -> str:
    """`did it: …` with what the code left in `result`, or the name of the error that stopped it."""
    names: dict[str, object] = {}
    try:
        exec(code, names)
    except BaseException as error:  # noqa: BLE001 - whatever stops it is the answer
        return f"stopped: {type(error).__name__}: {error}"
    return f"did it: {names.get('result')}"


if __name__ == "__main__":
    serve(listener, handle)
