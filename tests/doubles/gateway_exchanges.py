"""What an exchange of the gateway's needs around it, without sockets."""

from tests.doubles.sealed_client import NOON
from tests.doubles.served_gateway import Receipts

from cloister.hosting.http_head import RequestHead
from cloister.services.gateway.buffers import Buffers
from cloister.services.gateway.engine import SocketEngine
from cloister.services.gateway.engines import Engines, QueueLimits
from cloister.services.gateway.exchange import Shared
from cloister.services.gateway.keys import KeyRing
from cloister.services.gateway.replay import ReplayTable
from cloister.services.gateway.request_memory import RequestMemory
from cloister.services.gateway.turn import Turn
from cloister.services.gateway.whole_exchange import STEPS


def nothing_allowed(keys):
    """Shared by exchanges whose `keys` are of a contract that names no endpoint: the engine is never asked."""
    return Shared(
        keys=KeyRing(keys, now=lambda: NOON),
        replays=ReplayTable(window_seconds=300, capacity=10, started=NOON - 10),
        engines=Engines(SocketEngine("/nowhere"), QueueLimits()),
        receipts=Receipts(),
        buffers=Buffers(),
        now=lambda: NOON,
        observe=lambda status, seconds: None,
        memory=RequestMemory(2**30, patience_seconds=10),
        turn=Turn(STEPS),
    )


def request_head(length):
    return RequestHead(b"POST", b"/gateway", b"", b"message/ohttp-req", length, True, 0)


class Connection:
    """Remembers what it is answered."""

    left = 0

    def head(self, status, fields, *, length):
        self.status = status
        return b""

    def receive_into(self, buffer):
        self.place = buffer

    def respond(self, status, fields, body, *, bodiless=False):
        self.status, self.body = status, body

    def respond_with(self, message):
        self.message = message
