"""Where a PostgreSQL database is and how it is reached; never its password's text."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from cloister.errors import UsageError
from cloister.secret import SecretBytes
from cloister.storage.key_file import read_secret

SCHEME = "postgresql"
PORT = 5432
MAXIMUM_PASSWORD = 1024  # bytes
FORM = "postgresql://USER@HOST[:PORT][,HOST…]/DATABASE, or postgresql://USER@/DATABASE?host=/FOLDER of its unix socket"


@dataclass(frozen=True, slots=True)
class Address:
    """One database; of several hosts the one that takes writes is used."""

    hosts: tuple[tuple[str, int], ...]  # name or address, or the folder of a unix socket; port
    user: str
    database: str
    password: SecretBytes | None = None  # None: PGPASSWORD or ~/.pgpass, which the driver reads as every client does
    trusted: ssl.SSLContext | None = None  # None: this machine's, over loopback or a unix socket

    def __str__(self) -> str:
        """Without the password."""
        where = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"the database {self.database} at {where}"


def parse_address(url: str, *, password: Path | None = None, ca: Path | None = None) -> Address:
    """The address that `url` names; `password` is a file with it alone, `ca` has who signs the server's certificate.

    Raises:
        UsageError: it is no such URL, it has a password in it, or it leads to another machine without `ca`.
    """
    split = _split(url)
    hosts = _hosts(split)
    if ca is None and not all(_is_here(host) for host, _ in hosts):
        raise UsageError("a database on another machine is reached over TLS only: give ca, who signs its certificate")
    return Address(
        hosts=hosts,
        user=unquote(split.username or ""),
        database=unquote(split.path.removeprefix("/")),
        password=None if password is None else _password(password),
        trusted=None if ca is None else _trusted(ca),
    )


def _split(url: str) -> SplitResult:
    try:
        split = urlsplit(url)
        user, password = split.username, split.password
    except ValueError as error:
        raise UsageError(f"a database is named as {FORM}") from error
    if password is not None:
        raise UsageError("a database's URL has no password in it: it goes into a file that only its owner may read")
    if split.scheme != SCHEME or not user or split.path in ("", "/") or split.fragment:
        raise UsageError(f"a database is named as {FORM}")
    return split


def _hosts(split: SplitResult) -> tuple[tuple[str, int], ...]:
    named = split.netloc.rpartition("@")[2]
    options = dict(parse_qsl(split.query, keep_blank_values=True))
    folder = options.pop("host", None)
    if options or bool(named) == bool(folder) or (folder is not None and not folder.startswith("/")):
        raise UsageError(f"a database is named as {FORM}")
    if folder is not None:
        return ((folder, PORT),)
    return tuple(_host(one) for one in named.split(","))


def _host(text: str) -> tuple[str, int]:
    try:
        split = urlsplit(f"//{text}")
        host, port = split.hostname, split.port
    except ValueError as error:
        raise UsageError(f"a database is named as {FORM}") from error
    if not host:
        raise UsageError(f"a database is named as {FORM}")
    return host, port or PORT


def _is_here(host: str) -> bool:
    if host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _password(path: Path) -> SecretBytes:
    secret = read_secret(path, limit=MAXIMUM_PASSWORD)
    words = secret.reveal().removesuffix(b"\n")
    if not 1 <= len(words) <= MAXIMUM_PASSWORD or b"\n" in words:
        raise UsageError(f"the file {path} has the password of a database in one line, up to {MAXIMUM_PASSWORD} bytes")
    return SecretBytes(words)


def _trusted(ca: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cafile=ca)
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(f"the certificates of {ca} cannot be read: {error.strerror or error}") from error
    return context
