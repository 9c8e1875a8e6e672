"""An authority of a test's own, and the certificates that it signs."""

import datetime as dt
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cloister.hosting.tls import PeerTls, ServerTls

HOUR = dt.timedelta(hours=1)


@dataclass
class Authority:
    """Signs for any name; its own certificate is `path`."""

    folder: Path
    name: str = "authority"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self):
        self.path = self.folder / f"{self.name}.crt"
        builder = self._builder(self.name, self.key.public_key())
        own = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.path.write_bytes(own.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def signed(self, name, *, address="127.0.0.1", lasts=HOUR):
        """The files of a certificate for a DNS name and an address, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address(address))]
        builder = self._builder(name, key.public_key(), lasts=lasts)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate, private = (self.folder / f"{name}.{kind}" for kind in ("crt", "key"))
        certificate.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM))
        private.touch(mode=0o600)
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate, private

    def server(self, name, *, clients=(), **options):
        """What a service of that name listens with; callers of the names `clients` may come."""
        certificate, key = self.signed(name, **options)
        return ServerTls(
            certificate=certificate, key=key, client_ca=self.path if clients else None, clients=tuple(clients)
        )

    def peer(self, name, **options):
        """What a service of that name calls others with."""
        certificate, key = self.signed(name, **options)
        return PeerTls(ca=self.path, certificate=certificate, key=key)

    def _builder(self, name, public, *, lasts=HOUR):
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.name)]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * HOUR)
            .not_valid_after(now + lasts)
        )
