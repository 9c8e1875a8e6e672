"""A certificate that somebody shows: in a file, or at a TLS server."""

from __future__ import annotations

import re
import socket
import ssl
from pathlib import Path
from typing import Final

from cloister.client.durable import read_at_most
from cloister.errors import MalformedInput, Unavailable, UsageError
from cloister.formats.identity import MAXIMUM_CERTIFICATE

SECONDS: Final = 10.0  # for a server to show its certificate
_SERVER: Final = re.compile(r"([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5})")
_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def shown_certificate(source: str, *, host: str | None = None) -> bytes:
    """The first certificate (DER) of a file in PEM or DER, or what the server HOST:PORT shows; nothing is believed.

    `host` is the host name that the server is asked for, where it serves several.

    Raises:
        UsageError: there is no such file.
        MalformedInput: it holds no certificate.
        Unavailable: the server does not answer, or speaks no TLS.
    """
    found = _SERVER.fullmatch(source)
    if found is not None and not Path(source).exists():
        return _of_server(found[1].strip("[]"), int(found[2]), host)
    try:
        data = read_at_most(Path(source), 16 * MAXIMUM_CERTIFICATE)
    except OSError as error:
        raise UsageError(f"the certificate {source} cannot be read: {error.strerror}") from error
    pem = _PEM.search(data)
    if pem is None:
        return data
    try:
        return ssl.PEM_cert_to_DER_cert(pem[0].decode("ascii"))
    except ValueError as error:
        raise MalformedInput(f"{source} holds no certificate") from error


def _of_server(address: str, port: int, host: str | None) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is looked at, and nothing is said to the server
    try:
        with (
            socket.create_connection((address, port), timeout=SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host or address) as spoken,
        ):
            return spoken.getpeercert(binary_form=True) or b""
    except OSError as error:
        raise Unavailable(f"{address}:{port} shows no certificate: {error.strerror or error}") from error
