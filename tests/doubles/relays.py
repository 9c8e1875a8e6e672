"""The real relay on a free port for the length of a test."""

import contextlib

from cloister.hosting.http_message import Origin
from cloister.services.relay.service import relaying
from cloister.services.relay.settings import RelaySettings


@contextlib.asynccontextmanager
async def relay_before(*gateways, bundle="http://127.0.0.1:1/bundle", port=0, grace_seconds=0.0, **settings):
    """The relay's origin, in front of gateways at these URLs."""
    urls = tuple(map(str, gateways))
    record = RelaySettings(
        port, (bundle,) if isinstance(bundle, str) else bundle, urls, grace_seconds=grace_seconds, **settings
    )
    async with relaying(record) as served:
        yield Origin("127.0.0.1", served)
