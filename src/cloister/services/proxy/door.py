"""Who comes in at a proxy: callers that show a token, at the address that they were given."""

from __future__ import annotations

from dataclasses import dataclass

from cloister.hosting.http_exchange import Request, Response
from cloister.hosting.http_message import header
from cloister.hosting.loopback import LOOPBACK
from cloister.services.proxy import openai_error
from cloister.services.proxy.callers import Callers
from cloister.services.proxy.openai_error import INVALID

OWN = 'it is this machine\'s own, see eval "$(cloister env)"'
TEAM = "whoever runs this proxy gives you yours"


@dataclass(frozen=True, slots=True)
class Door:
    """The door of one proxy."""

    callers: Callers
    hosts: frozenset[bytes]  # that a request's Host may name, where no certificate has named the proxy
    secure: bool = False  # TLS is spoken: callers have seen the proxy's certificate

    @staticmethod
    def on_this_machine(callers: Callers, port: int, address: str = LOOPBACK) -> Door:
        """For callers of this machine, in the clear."""
        return Door(callers, frozenset(f"{name}:{port}".encode() for name in (address, LOOPBACK, "localhost")))

    def wrong_host(self, request: Request) -> Response | None:
        """What stands against the name by which the proxy was called.

        A page that has its own name resolve to 127.0.0.1 sends that name here: DNS rebinding. Over TLS it gets no
        connection, since its name is in no certificate of this proxy.
        """
        if self.secure or header(request.headers, b"host") in self.hosts:
            return None
        message = "this proxy answers to 127.0.0.1 and localhost only, at its own port"
        return openai_error.answer(403, message, kind=INVALID, code="wrong_host")

    def enter(self, request: Request) -> Response | str:
        """The caller's name, empty where there is but one; or what stands against it."""
        scheme, _, shown = (header(request.headers, b"authorization") or b"").partition(b" ")
        name = self.callers.name_of(shown.strip()) if scheme.lower() == b"bearer" else None
        if name is not None:
            return name
        message = f"wrong or missing API key: {TEAM if self.secure else OWN}"
        return openai_error.answer(401, message, kind=INVALID, code="invalid_api_key")
