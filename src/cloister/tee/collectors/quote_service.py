"""The host's TD quote generation service (QGS) over vsock: one exchange, bounded in size and in time.

The host answers there, so that nothing it says is trusted.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Callable
from typing import Final

from cloister.errors import MalformedInput
from cloister.formats.qgs_message import (
    PREFIX_SIZE,
    QgsError,
    announced_length,
    encode_quote_request,
    parse_quote_answer,
)
from cloister.tee.collectors.collected import TeeFault, TeeUnavailable

SECONDS: Final = 30.0  # for one exchange: as long as the kernel waits for a quote of configfs-tsm
CONFIGURATION: Final = "etc/tdx-attest.conf"  # of Intel's own library
DEFAULT_PORT: Final = 4050
_HOST: Final = 2  # VMADDR_CID_HOST
_PORT: Final = re.compile(rb"^\s*port\s*=\s*(\d{1,10})\s*$", re.MULTILINE)


def connect_vsock(port: int) -> socket.socket:
    """A connection to the host.

    Raises:
        OSError: nobody listens there, or this kernel has no vsock.
    """
    connection = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    try:
        connection.settimeout(SECONDS)
        connection.connect((_HOST, port))
    except OSError:
        connection.close()
        raise
    return connection


def port_in(configuration: bytes) -> int:
    """The port that Intel's configuration file names, else the customary one."""
    found = _PORT.search(configuration)
    return int(found.group(1)) if found else DEFAULT_PORT


def quote_of(td_report: bytes, connect: Callable[[], socket.socket], *, seconds: float = SECONDS) -> bytes:
    """The quote that the host's service makes of a TDREPORT, as it came.

    Raises:
        TeeUnavailable, TeeFault: there is none, and why.
    """
    deadline = time.monotonic() + seconds
    try:
        with contextlib.closing(connect()) as connection:
            connection.settimeout(seconds)
            connection.sendall(encode_quote_request(td_report))
            length = announced_length(_exactly(connection, PREFIX_SIZE, deadline))
            return parse_quote_answer(_exactly(connection, length, deadline))
    except OSError as error:
        raise TeeUnavailable(
            f"the host's quote generation service gives no quote ({error.strerror or error}): have it run (qgsd), and"
            f" /{CONFIGURATION} name its vsock port; a TDREPORT alone is no evidence, since nobody can verify it from"
            " afar"
        ) from error
    except QgsError as error:
        raise TeeUnavailable(f"{error}: the host's log says why (journalctl -u qgsd)") from error
    except MalformedInput as error:
        raise TeeFault(f"the host's quote generation service answers what is no quote: {error}") from error


def _exactly(connection: socket.socket, size: int, deadline: float) -> bytes:
    """So many bytes.

    Raises:
        OSError: the connection ends before, or the time does.
    """
    found = b""
    while len(found) < size:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("it took too long")
        connection.settimeout(left)
        piece = connection.recv(size - len(found))
        if not piece:
            raise ConnectionResetError("it hung up")
        found += piece
    return found
