"""Says why a port could not be listened on, and what to do about it."""

from __future__ import annotations

import errno

from cloister.errors import CloisterError, Unavailable, UsageError

FIRST_FREE_PORT = 1024  # ports below are root's, unless net.ipv4.ip_unprivileged_port_start says otherwise


class PortTaken(Unavailable):
    """Another program listens there."""


class PortNotAllowed(UsageError):
    """This user may not listen there."""


def refused_port(address: str, port: int, error: OSError) -> CloisterError:
    """What to raise where `bind` failed with `error`."""
    if error.errno == errno.EADDRINUSE:
        return PortTaken(
            f"port {port} of {address} is taken by another program: end that one (ss -ltnp 'sport = :{port}' names it),"
            " or choose another port"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return PortNotAllowed(
            f"port {port} of {address} is not allowed to this user: ports below {FIRST_FREE_PORT} are root's (sysctl"
            f" net.ipv4.ip_unprivileged_port_start); choose one from {FIRST_FREE_PORT} to 65535"
        )
    return Unavailable(f"port {port} of {address} cannot be had: {error.strerror}")
