"""What the lean HTTP/1.1 server and client both speak of: origins and heads of messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from cloister.errors import UsageError

Headers = Sequence[tuple[bytes, bytes]]  # names in lower case, in the order they came

_FORBIDDEN = re.compile(rb"[\x00\r\n]")
_PATH = re.compile(r"/[\x21\x22\x24-\x3e\x40-\x7e]*")
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an HTTP/1.1 server listens: a TCP host and port, with TLS or without, or a unix socket."""

    host: str
    port: int
    socket_path: str = ""  # of a unix socket; then host and port only fill the Host header
    secure: bool = False  # https

    @staticmethod
    def parse(url: str) -> Origin:
        """The origin of `http://host[:port]/`, `https://host[:port]/` or `unix:/absolute/path`.

        Raises:
            UsageError: another scheme, or no host.
        """
        if url.startswith("unix:/"):
            return Origin("localhost", 80, url.removeprefix("unix:"))
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise UsageError(f"{url!r} is not a URL: {error}") from error
        if parts.scheme not in ("http", "https") or not host or parts.username is not None:
            raise UsageError(f"{url!r} is not of the form http://host:port, https://host:port or unix:/path")
        secure = parts.scheme == "https"
        return Origin(host, port or (443 if secure else 80), secure=secure)

    @staticmethod
    def split(url: str) -> tuple[Origin, bytes]:
        """The origin of `url` and the path behind it, for a URL without a query.

        Raises:
            UsageError: not an http URL, or it has a query, a fragment or characters outside visible ASCII.
        """
        origin = Origin.parse(url)
        if origin.socket_path:
            return origin, b"/"
        parts = urlsplit(url)
        path = parts.path or "/"
        if parts.query or parts.fragment or not _PATH.fullmatch(path):
            raise UsageError(f"{url!r} is not of the form http://host:port/path or https://host:port/path")
        return origin, path.encode("ascii")

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        if self.socket_path:
            return f"unix:{self.socket_path}"
        return f"{'https' if self.secure else 'http'}://{self.authority}"


def header(headers: Headers, name: bytes) -> bytes | None:
    """The one value of `name` (lower case), or `None` where it is absent or given more than once."""
    values = [value for key, value in headers if key == name]
    return values[0] if len(values) == 1 else None


def encode_head(first_line: bytes, headers: Headers) -> bytes:
    """A message's head, up to and with the empty line.

    Raises:
        ValueError: a name or value holds CR, LF or NUL; it would let a header's value write headers.
    """
    lines = [first_line]
    for name, value in headers:
        if _FORBIDDEN.search(name) or _FORBIDDEN.search(value):
            raise ValueError("a header holds CR, LF or NUL")
        lines.append(b"%b: %b\r\n" % (name, value))
    lines.append(b"\r\n")
    return b"".join(lines)


def status_line(status: int) -> bytes:
    """The first line of a response."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def chunk(data: bytes) -> bytes:
    """One chunk of chunked transfer coding; the empty one ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
