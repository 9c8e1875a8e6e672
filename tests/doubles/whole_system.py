"""Every service of a local system on real sockets with the real speech engine in its sandbox, and taps on its links."""

import asyncio
import contextlib
import time

from tests.doubles.proxies import proxy_before
from tests.doubles.taps import Tap, tapped

from cloister.hosting.http_message import Origin
from cloister.sandbox.sizes import Sizes
from cloister.services.gateway.engine_choice import what_runs
from cloister.testing.local_system import LocalSystem


@contextlib.asynccontextmanager
async def speech_engine(speech, **settings):
    """The engine that was staged as `speech`; and how a local system is told what it runs."""
    async with speech.service(Sizes(), **settings) as engine:
        yield engine, what_runs(engine.staged, engine.plan)


async def tap_before(service, system, stack, **options):
    """A tap before `service`: everything started from now on reaches it through the tap."""
    tap = Tap(Origin.parse(system.url(service)), **options)
    system.ports[service] = (await stack.enter_async_context(tapped(tap))).port
    return tap


@contextlib.asynccontextmanager
async def proxied(system: LocalSystem, folder):
    """The origin of a proxy of a user of `system`."""
    async with proxy_before(system.url("relay"), system.trust_policy(), folder, clock=time.time) as origin:
        yield origin


async def eventually(true, *, seconds=20.0):
    """Wait for what other services bring about."""
    async with asyncio.timeout(seconds):
        while not await true():  # noqa: ASYNC110 - other services set no event
            await asyncio.sleep(0.1)
