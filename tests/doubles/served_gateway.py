"""A gateway on a free port for the length of a test, and receipts that only count."""

import contextlib

from cloister.hosting.http_inbound_server import serving
from cloister.hosting.http_message import Origin
from cloister.hosting.loopback import listen, port_of


@contextlib.asynccontextmanager
async def served(gateway, grace_seconds=2):
    """The origin at which `gateway` is served."""
    listener = listen("127.0.0.1", 0)
    origin = Origin("127.0.0.1", port_of(listener))
    async with gateway.running(), serving(gateway, listener, limits=gateway.limits.http, grace_seconds=grace_seconds):
        yield origin


class Receipts:
    """Counts the answers it is shown."""

    def __init__(self, error=None):
        self.error = error
        self.sealed: list[tuple[bytes, str, int]] = []

    def begin(self, method, path, headers):
        if self.error:
            raise self.error
        return Receipt(self, path)


class Receipt:
    """Of one exchange."""

    def __init__(self, receipts, path):
        self.receipts, self.path = receipts, path
        self.seen = [b"", b""]

    def request(self, piece):
        self.seen[0] += piece

    def asked(self):
        pass

    def answer(self, piece):
        self.seen[1] += piece

    def forget_answer(self):
        self.seen[1] = b""

    def fields(self, key, status):
        self.receipts.sealed.append((key.epoch, self.path, status))
        return (("cloister-receipt", "receipt"),)
