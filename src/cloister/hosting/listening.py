"""Where a service listens and to whom: other machines only over TLS, other services only by their certificates."""

from __future__ import annotations

import socket
from typing import NamedTuple

from cloister.errors import UsageError
from cloister.hosting.loopback import listen, require_servable
from cloister.hosting.tls import ServerTls, TlsServer, is_loopback, open_server_tls


class Listening(NamedTuple):
    """A socket, and the TLS to be spoken on it."""

    socket: socket.socket
    tls: TlsServer | None


def listen_to_services(address: str, port: int, tls: ServerTls | None) -> Listening:
    """For callers that are services: on an address that other machines reach, each shows who it is.

    Raises:
        UsageError: as `listen` and `open_server_tls`; or callers of other machines would not be asked who they are.
        Unavailable: the port is taken.
    """
    require_for_services(address, tls)
    return _listen(address, port, tls)


def listen_to_everyone(address: str, port: int, tls: ServerTls | None, *, shared: bool = False) -> Listening:
    """For callers that nobody asks who they are; `shared` as in `listen`.

    Raises:
        UsageError: as `listen` and `open_server_tls`; or callers would be asked who they are.
        Unavailable: the port is taken.
    """
    require_for_everyone(address, tls)
    return _listen(address, port, tls, shared=shared)


def require_for_services(address: str, tls: ServerTls | None) -> None:
    """Refuse what `listen_to_services` does not serve, whatever the files hold.

    Raises:
        UsageError: as there.
    """
    require_servable(address, secure=tls is not None)
    if tls is not None and not tls.clients and not is_loopback(address):
        raise UsageError(
            f"{address} is not served to everyone: give [tls] client_ca, who signs callers' certificates, and clients,"
            " the names that may call"
        )


def require_for_everyone(address: str, tls: ServerTls | None) -> None:
    """Refuse what `listen_to_everyone` does not serve, whatever the files hold.

    Raises:
        UsageError: as there.
    """
    require_servable(address, secure=tls is not None)
    if tls is not None and tls.clients:
        raise UsageError("this service asks no caller who it is: leave client_ca and clients out of [tls]")


def listen_with_tokens(address: str, port: int, tls: ServerTls | None) -> Listening:
    """For callers that show a token, and where `tls` asks for them certificates as well.

    Raises:
        UsageError, Unavailable: as `listen` and `open_server_tls`.
    """
    return _listen(address, port, tls)


def _listen(address: str, port: int, tls: ServerTls | None, *, shared: bool = False) -> Listening:
    opened = None if tls is None else open_server_tls(tls)
    return Listening(listen(address, port, secure=opened is not None, shared=shared), opened)
