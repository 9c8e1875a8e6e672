"""TLS between nodes of one contract line: contexts that show this node's newest certificate and examine every peer's.

The key is in this process's memory and in OpenSSL's: it is loaded through a file that has no name and no disk. A
handshake takes the certificate that is the newest then; connections that are open go on with the one of theirs.
OpenSSL checks chain, host name and the host's clock; `trust.identity` checks all of it at the witnessed time.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding

from cloister.contract.identity_certificate import AuthorityCertificate, Window
from cloister.crypto.p256 import P256Key
from cloister.errors import Refused, Unavailable
from cloister.formats.evidence import Role
from cloister.formats.spiffe import SpiffeName, host_of
from cloister.hosting.tls import Spoken
from cloister.trust.identity import examine_peer

_CHECKS: Final = {  # OpenSSL's numbers (x509_vfy.h) for what is found before a certificate can be read here
    9: "peer.validity",  # X509_V_ERR_CERT_NOT_YET_VALID
    10: "peer.validity",  # X509_V_ERR_CERT_HAS_EXPIRED
    26: "peer.use",  # X509_V_ERR_INVALID_PURPOSE
    47: "peer.domain",  # X509_V_ERR_PERMITTED_VIOLATION
    48: "peer.domain",  # X509_V_ERR_EXCLUDED_VIOLATION
    62: "peer.role",  # X509_V_ERR_HOSTNAME_MISMATCH: a host name says the role
    79: "peer.use",  # X509_V_ERR_INVALID_CA
}


class NoIdentity(Unavailable):
    """This node has no certificate that is valid now."""


class PeerNotTaken(ssl.SSLCertVerificationError):
    """A handshake ended since the peer is no node that may be spoken with; names the check."""

    def __init__(self, check: str, shortfall: str) -> None:
        super().__init__(1, f"{check}: {shortfall}")
        self.check = check
        self.reason = self.verify_message = f"{check}: {shortfall}"


@dataclass(frozen=True, slots=True)
class HeldIdentity:
    """A certificate of this node, and its key."""

    name: SpiffeName
    certificate: bytes  # DER
    window: Window
    authorities: tuple[AuthorityCertificate, ...]  # of the line, the issuing one first
    key: P256Key

    def certificate_pem(self) -> bytes:
        """The certificate alone: its authority is an anchor, and no part of the chain."""
        return ssl.DER_cert_to_PEM_cert(self.certificate).encode()

    def authorities_pem(self) -> bytes:
        """All authorities of the line that are trusted now."""
        return b"".join(one.certificate.public_bytes(Encoding.PEM) for one in self.authorities)


class Speaker:
    """This node, as it speaks with others of its line: by the identity that it has got last."""

    def __init__(self, line: bytes, *, clock: Callable[[], float]) -> None:
        """`line` is the digest of its first contract; `clock` says the witnessed time, in seconds since 1970."""
        self._line = line
        self._clock = clock
        self._held: HeldIdentity | None = None
        self._server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._clients: dict[Role, Spoken] = {}
        self.refused: Callable[[PeerNotTaken], None] = lambda _: None  # is told of every peer that is not taken

    def take(self, held: HeldIdentity) -> None:
        """Show this from the next handshake on."""
        self._server = _context(ssl.PROTOCOL_TLS_SERVER, held)
        self._held, self._clients = held, {}

    @property
    def held(self) -> HeldIdentity | None:
        """The identity, if one was taken and has not ended."""
        ended = self._held is None or self._clock() >= self._held.window.not_after
        return None if ended else self._held

    def client(self, role: Role) -> Spoken:
        """How to speak to a node of `role`.

        Raises:
            NoIdentity: there is nothing to show.
        """
        held = self._require()
        if role not in self._clients:
            context = _context(ssl.PROTOCOL_TLS_CLIENT, held)
            context.sslobject_class = _examining(lambda _: self, {role})
            self._clients[role] = Spoken(context, host_of(self._line, role))
        return self._clients[role]

    def server_side(self) -> ssl.SSLContext:
        """What a handshake of now shows.

        Raises:
            NoIdentity: there is nothing.
        """
        self._require()
        return self._server

    def examine(self, shown: bytes, roles: Collection[Role]) -> None:
        """Examine the certificate (DER) that a peer has shown.

        Raises:
            PeerIdentityRefused: it is not that of a node of this line in one of these `roles`.
            NoIdentity: nothing is known to hold it against.
        """
        authorities = self._require().authorities
        examine_peer(shown, authorities, line=self._line, roles=roles, at=int(self._clock())).require()

    def _require(self) -> HeldIdentity:
        if self.held is None:
            raise NoIdentity("this node has no identity yet, or its last one has ended: it asks the KMS for another")
        return self.held


def server_context(speakers: Callable[[str | None], Speaker | None], roles: Collection[Role]) -> ssl.SSLContext:
    """A server's context for good: each handshake is of the speaker that `speakers` has for the host name asked for.

    Callers of other roles, and those that show nothing, are not spoken with.
    """
    context = _bare(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED

    def choose(connection: Any, host: str | None, _context: ssl.SSLContext) -> int | None:
        speaker = speakers(host)
        if speaker is None or speaker.held is None:
            return ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = speaker.server_side()
        connection.speaker = speaker
        return None

    context.sni_callback = choose
    context.sslobject_class = _examining(lambda connection: connection.speaker, roles)
    return context


def _examining(speaker: Callable[[Any], Speaker], roles: Collection[Role]) -> type[ssl.SSLObject]:
    """The class of connections whose handshake ends well only with a peer that was examined."""

    class Examined(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
                speaker(self).examine(self.getpeercert(binary_form=True) or b"", roles)
            except ssl.SSLCertVerificationError as error:
                check = _CHECKS.get(error.verify_code, "peer.authority")
                refusal = PeerNotTaken(check, error.verify_message)
            except Refused as error:
                refusal = PeerNotTaken(error.check, error.shortfall)
            except Unavailable as error:
                refusal = PeerNotTaken("peer.authority", str(error))
            else:
                return
            speaker(self).refused(refusal)
            raise refusal

    return Examined


def _context(protocol: int, held: HeldIdentity) -> ssl.SSLContext:
    context = _bare(protocol)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=held.authorities_pem().decode())
    descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, held.certificate_pem() + held.key.pem())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context


def _bare(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0  # every connection shows its certificate: a resumed one has an older look
    context.set_alpn_protocols(["http/1.1"])
    return context
