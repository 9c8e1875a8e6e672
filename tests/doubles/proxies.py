"""The real proxy before any relay, and a caller of this machine who holds its token."""

import asyncio
import contextlib
from dataclasses import replace

from cloister.formats.trust_policy import format_trust_policy
from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_message import Origin
from cloister.services.proxy.service import serve_proxy
from cloister.services.proxy.settings import ProxySettings

TOKEN = "cloister-a-token-of-these-tests"
PATH = b"/v1/audio/transcriptions"


@contextlib.asynccontextmanager
async def proxy_before(relay_url, policy, folder, *, clock, **changes):
    """The origin of a proxy that trusts by `policy`; what it keeps is in `folder`. `changes` are settings of it."""
    (folder / "token").write_text(TOKEN + "\n")
    (folder / "token").chmod(0o600)
    (folder / "trust-policy.toml").write_text(format_trust_policy(policy, comment="tests"))
    settings = ProxySettings(
        port=0,
        relay_url=relay_url,
        trust_policy=folder / "trust-policy.toml",
        memory=folder / "client-memory",
        token=folder / "token",
        receipts=folder / "receipts",
        ready=folder / "ready",
    )
    settings = replace(settings, **changes)
    stop = asyncio.Event()
    running = asyncio.create_task(serve_proxy(settings, stop, clock=clock))
    try:
        yield Origin(settings.address, await _port_in(settings.ready), secure=settings.tls is not None)
    finally:
        stop.set()
        await running


async def call(origin, body, content_type, *, target=PATH, method=b"POST", token=TOKEN, headers=(), tls=None):
    """Status, headers and body of the answer."""
    client = HttpClient(origin, tls=tls)
    sent = [(b"content-type", content_type.encode()), *headers]
    if token is not None:
        sent.append((b"authorization", b"Bearer " + token.encode()))
    try:
        async with client.exchange(method, target, sent, body, seconds=60) as reply:
            return reply.status, dict(reply.headers), await reply.body.read(40_000_000)
    finally:
        await client.close()


async def _port_in(ready):
    """The port that a service announces."""
    async with asyncio.timeout(10):
        while not ready.exists():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.01)
    return int(ready.read_text())
