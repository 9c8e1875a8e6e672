"""A Starlette application behind a real loopback socket, for as long as a context lasts."""

import asyncio
import contextlib

from cloister.hosting.loopback import LOOPBACK, listen, port_of
from cloister.hosting.serving import serve_until


@contextlib.asynccontextmanager
async def served(app, *, port=0, limits=None):
    """The application's URL."""
    listener, stop = listen(LOOPBACK, port), asyncio.Event()
    url = f"http://{LOOPBACK}:{port_of(listener)}"
    serving = asyncio.create_task(serve_until(app, listener, stop, limits=limits))
    try:
        yield url
    finally:
        stop.set()
        await serving
