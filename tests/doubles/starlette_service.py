"""A service process: `/slow` answers after a second; `hang` as the argument never finishes its start-up."""

import asyncio
import contextlib
import sys
from pathlib import Path

from starlette.responses import PlainTextResponse
from starlette.routing import Route

from cloister.hosting import logs
from cloister.hosting.application import application
from cloister.hosting.health import Health, Metrics
from cloister.hosting.serving import serve


async def slow(request):
    await asyncio.sleep(1)
    return PlainTextResponse("done")


@contextlib.asynccontextmanager
async def lifespan(app):
    if sys.argv[2] == "fail":
        raise ValueError("canary")
    if sys.argv[2] == "hang":
        sys.stderr.write("starting\n")
        await asyncio.sleep(3600)
    yield


logs.configure("double")
serve(
    application(Health("double", Metrics("double"), missing=list), [Route("/slow", slow)], lifespan=lifespan),
    port=0,
    ready=Path(sys.argv[1]),
)
