"""How much one client may ask of the relay: requests a second, requests and connections at a time.

A client is an address, an IPv6 one by its /64, since whoever has one address of such a network has them all. What is
kept of it is a salted digest, in memory only; the salt is made when the relay starts and thrown away with the whole
table every `SALT_SECONDS`, so that nobody, the relay's operator neither, can tell later who was here. Pure but for the
randomness of the salt; time is an argument.
"""

from __future__ import annotations

import ipaddress
import math
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from cloister.errors import UsageError

SALT_SECONDS: Final = 600.0
MAXIMUM_CLIENTS: Final = 65_536  # about 300 bytes each


@dataclass(frozen=True, slots=True)
class Share:
    """What each client gets."""

    rate: float  # requests a second, in the long run
    burst: int  # requests at once, after a pause
    requests: int  # being answered at a time
    connections: int


class Client:
    """What one client has used. Its connections keep it alive when the table forgets it."""

    __slots__ = ("_share", "_tokens", "_when", "connections", "requests")

    def __init__(self, share: Share, now: float) -> None:
        self._share = share
        self._tokens = float(share.burst)
        self._when = now
        self.requests = 0
        self.connections = 0

    def refused_for(self, now: float) -> float:
        """Take one request from its share: 0 if it was there, else the seconds after which to ask again."""
        if self.requests >= self._share.requests:
            return 1.0
        if now > self._when:
            self._tokens = min(self._tokens + (now - self._when) * self._share.rate, self._share.burst)
            self._when = now
        if self._tokens < 1.0:
            return (1.0 - self._tokens) / self._share.rate
        self._tokens -= 1.0
        return 0.0

    def crowded(self) -> bool:
        """Whether it has as many connections as it may, and one more."""
        return self.connections > self._share.connections

    def flooding(self) -> bool:
        """Whether it goes on connecting though it was told so often that it has as many connections as it may."""
        return self.connections > 2 * self._share.connections

    def idle(self, now: float) -> bool:
        """Whether nothing would be lost by forgetting it."""
        full = self._tokens + (now - self._when) * self._share.rate >= self._share.burst
        return full and not self.connections and not self.requests


class Clients:
    """The clients of one relay."""

    def __init__(self, share: Share, trusted: Iterable[str], now: float) -> None:
        """`trusted` are the networks of front ends whose X-Forwarded-For is believed.

        Raises:
            UsageError: one of them is no network.
        """
        self._share = share
        try:
            self._trusted = [ipaddress.ip_network(network) for network in trusted]
        except ValueError as error:
            raise UsageError(f"trusted_proxies are networks such as 10.0.0.0/8: {error}") from error
        self._table: dict[bytes, Client] = {}
        self._renew(now)

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[Client]:
        return iter(self._table.values())

    def at(self, address: str, now: float) -> Client:
        """The client at `address`, the peer's own."""
        key = blake2b(network_of(address), key=self._salt, digest_size=16).digest()
        client = self._table.get(key)
        if client is None:
            if len(self._table) >= MAXIMUM_CLIENTS:
                self._renew(now)
            client = self._table[key] = Client(self._share, now)
        return client

    def is_front_end(self, address: str) -> bool:
        """Whether `address` is one that speaks for others."""
        return bool(address and self._trusted) and self._trusts(address)

    def behind(self, forwarded: bytes | None) -> str | None:
        """The address that a front end names last, other front ends aside; `None` where it names none.

        Only what trusted hops have added is read, from the right: the rest of X-Forwarded-For is the client's to write.
        """
        for entry in reversed((forwarded or b"").decode("latin-1").split(",")):
            address = entry.strip()
            try:
                ipaddress.ip_address(address)
            except ValueError:
                return None
            if not self._trusts(address):
                return address
        return None

    def forget(self, now: float) -> None:
        """Forget whom nothing holds here, and everyone when it is time."""
        if now - self._renewed >= SALT_SECONDS:
            self._renew(now)
        for key in [key for key, client in self._table.items() if client.idle(now)]:
            del self._table[key]

    def _trusts(self, address: str) -> bool:
        parsed = ipaddress.ip_address(address)
        return any(parsed in network for network in self._trusted)

    def _renew(self, now: float) -> None:
        self._salt = secrets.token_bytes(32)
        self._table = {}
        self._renewed = now


def network_of(address: str) -> bytes:
    """What stands for a client: the bytes of an IPv4 address or of an IPv6 /64; of a unix socket's peer, nothing."""
    if not address:
        return b""
    packed = ipaddress.ip_address(address.partition("%")[0])
    mapped = packed.ipv4_mapped if isinstance(packed, ipaddress.IPv6Address) else None
    return mapped.packed if mapped else packed.packed[:8] if packed.version == 6 else packed.packed


def retry_after(seconds: float) -> int:
    """Whole seconds, at least one, as the header says them."""
    return max(1, math.ceil(seconds))
