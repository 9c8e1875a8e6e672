"""TLS 1.3 between services that are not on one machine: who must show which certificate, and no way around it.

What keeps content from the operator is not this TLS: requests are encapsulated and keys wrapped, hybrid post-quantum,
before they come here. It keeps other machines out, and evidence, log entries and who talks with whom from the network.
Its key agreement is what the platform's OpenSSL gives: classical before 3.5.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import ssl
import stat
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from cloister.errors import UsageError
from cloister.hosting.needed_file import NeededFile

RENEWAL_SECONDS = 10.0  # between looks whether the certificate's files have changed

_log = logging.getLogger(__name__)


class ServerTls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The `[tls]` table of a service: what it shows to callers, and what they must show."""

    certificate: NeededFile  # PEM, the service's own first, then what signed it
    key: NeededFile  # PEM, readable by its owner only
    client_ca: NeededFile | None = None  # PEM: callers must show a certificate that one of these signed
    clients: tuple[str, ...] = ()  # and that bears one of these names (DNS, subject alternative name)

    def __post_init__(self) -> None:
        """Either callers are asked for a certificate and a name, or for neither."""
        if (self.client_ca is None) != (not self.clients):
            raise ValueError(
                "client_ca and clients are given together: who signs callers' certificates, and their names"
            )


class PeerTls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The `[peers]` table of a service: how it knows the services that it calls, and what it shows them."""

    ca: NeededFile  # PEM: who signs their certificates; the machine's own list of authorities is not asked
    certificate: NeededFile  # PEM, shown to them
    key: NeededFile  # PEM, readable by its owner only


@dataclass(slots=True)
class Shown:
    """How TLS is spoken with a certificate of ours, from its files."""

    context: ssl.SSLContext
    certificate: Path
    key: Path
    _loaded: tuple[int, ...] = field(default=(), repr=False)

    def renew(self) -> None:
        """Load certificate and key again if their files have changed; connections from now on are shown the new ones.

        Raises:
            UsageError: they do not fit; the ones of before stay.
        """
        found = _ages(self.certificate, self.key)
        if not found or found != self._loaded:
            _load(self.context, self.certificate, self.key)
            self._loaded = found


@dataclass(frozen=True, slots=True)
class Spoken:
    """How a client speaks TLS to one kind of peer: what it shows and trusts, and the host name that it insists on."""

    context: ssl.SSLContext
    host: str


@dataclass(frozen=True, slots=True)
class Named:
    """A server's context that renews what it shows by itself."""

    context: ssl.SSLContext

    def renew(self) -> None:
        """Nothing is looked for in files."""


@dataclass(frozen=True, slots=True)
class TlsServer:
    """What a listening socket needs to speak TLS."""

    shown: Shown | Named
    clients: frozenset[str]  # names, one of which a caller's certificate must bear; empty where none is asked for

    def admits(self, transport: asyncio.BaseTransport) -> bool:
        """Whether the caller's certificate, which the handshake has verified, bears a name that may call."""
        return not self.clients or not self.clients.isdisjoint(caller_names(transport))


def caller_names(transport: asyncio.BaseTransport) -> frozenset[str]:
    """The names (DNS, subject alternative name) in the certificate that a caller has shown; none if it showed none."""
    shown = transport.get_extra_info("peercert") or {}
    return frozenset(name for kind, name in shown.get("subjectAltName", ()) if kind == "DNS")


def open_server_tls(tls: ServerTls) -> TlsServer:
    """The server's side of `tls`.

    Raises:
        UsageError: a file cannot be read, others may read the key, or key and certificate do not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # every connection shows its certificate: a resumed one would be judged by an older look
    context.set_alpn_protocols(["http/1.1"])
    if tls.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, tls.client_ca)
    shown = Shown(context, tls.certificate, tls.key)
    shown.renew()
    return TlsServer(shown, frozenset(tls.clients))


def verifying_context(authorities: Path | None) -> ssl.SSLContext:
    """A client's side that shows nothing: `authorities` are the only ones trusted, or the machine's if there are none.

    Raises:
        UsageError: the file cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and name
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if authorities is None:
        context.load_default_certs()
    else:
        _trust(context, authorities)
    return context


def peer_tls(url: str, peers: PeerTls | None) -> Shown | None:
    """How to speak to the service at `url`: in the clear on this machine only, and never where TLS was meant.

    Raises:
        UsageError: `url` is on another machine and not https, or it is https and there are no `peers`; or, as
            `open_server_tls`, their files are not what they should be.
    """
    require_known(url, peers)
    if not url.startswith("https://") or peers is None:
        return None
    shown = Shown(verifying_context(peers.ca), peers.certificate, peers.key)
    shown.renew()
    return shown


def require_known(url: str, peers: PeerTls | None) -> None:
    """Refuse the URL of a service that could not be known for what it is.

    Raises:
        UsageError: as `peer_tls`, whatever the files hold.
    """
    require_private(url)
    if url.startswith("https://") and peers is None:
        raise UsageError(f"{url} needs the table [peers]: ca, certificate and key, with which services know each other")


def require_private(url: str) -> None:
    """Refuse a URL that would go over a network in the clear.

    Raises:
        UsageError: it is of another machine, and not https.
    """
    if url.startswith(("https://", "unix:")) or is_loopback(urlsplit(url).hostname or ""):
        return
    raise UsageError(f"{url} is not on this machine: write https://, here and in the [tls] of what it names")


def is_loopback(host: str) -> bool:
    """Whether `host` is an address of this machine's loopback interface, or the name localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.asynccontextmanager
async def renewing(shown: Iterable[Shown | Named]) -> AsyncIterator[None]:
    """Within the context, changed certificate files are taken into use after `RENEWAL_SECONDS`."""
    tasks = [asyncio.create_task(_keep_renewing(one.renew)) for one in shown]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_renewing(renew: Callable[[], None]) -> None:
    told = ""
    while True:
        await asyncio.sleep(RENEWAL_SECONDS)
        try:
            renew()
        except UsageError as error:  # a certificate and its key are seldom replaced in one moment
            if told != str(error):
                _log.warning("the certificate of before stays in use: %s", error)
            told = str(error)
        else:
            told = ""


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
        if mode & 0o077:
            raise UsageError(f"the key file {key} is readable by others (mode {mode:o}); make it 600")
        # A context keeps what it took before it failed: another one tries them first.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise UsageError(f"{certificate} and {key} are no certificate (PEM) and its key: {error.reason}") from error
    except OSError as error:
        raise UsageError(f"the certificate {certificate} or its key {key} cannot be read: {error.strerror}") from error


def _trust(context: ssl.SSLContext, authorities: Path) -> None:
    try:
        context.load_verify_locations(cafile=authorities)
    except ssl.SSLError as error:
        raise UsageError(f"{authorities} holds no certificates (PEM): {error.reason}") from error
    except OSError as error:
        raise UsageError(f"the certificates {authorities} cannot be read: {error.strerror}") from error


def _ages(*paths: Path) -> tuple[int, ...]:
    try:
        found = [path.stat() for path in paths]
    except OSError:
        return ()  # loading says what is wrong
    return tuple(part for file in found for part in (file.st_mtime_ns, file.st_ino))
