"""Every step before the certificate of a TLS peer counts: each row breaks one link and nothing else."""

import subprocess
from dataclasses import replace as altered
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.doubles.identity_world import HOUR, IdentityWorld, other_authority, serial

from cloister.contract.identity_certificate import Window, read_authority, read_identity
from cloister.formats.evidence import Role
from cloister.formats.spiffe import SpiffeName
from cloister.testing.world import DAY, NOON, Node
from cloister.trust.identity import PEER_STEPS, PeerIdentityRefused, examine_logged_peer, examine_peer

WORLD = IdentityWorld()


class Case:
    """A service of the world shows its certificate; a row changes one thing."""

    def __init__(self, **changes):
        self.world = WORLD
        self.authorities = (WORLD.certificate,)
        self.roles: set[Role] = {"service"}
        self.at = NOON
        self.certificate = WORLD.leaf()
        for name, value in changes.items():
            setattr(self, name, value)

    def examine(self):
        return examine_peer(self.certificate, self.authorities, line=self.world.line, roles=self.roles, at=self.at)


def test_a_certificate_in_order_names_its_node():
    peer = Case().examine().require()
    assert peer.name == WORLD.name()
    assert peer.window == Window(NOON - 60, NOON + HOUR)


def signed(*, key=None, leave_out=(), add=(), names=None, hashed=None):
    """A certificate by the world's authority with other parts than it would ever give."""
    shown = read_identity(WORLD.leaf()).certificate
    builder = (
        x509.CertificateBuilder()
        .serial_number(shown.serial_number)
        .subject_name(shown.subject)
        .issuer_name(shown.issuer)
        .public_key(key or WORLD.tls.private.public_key())
        .not_valid_before(datetime.fromtimestamp(NOON - 60, UTC))
        .not_valid_after(datetime.fromtimestamp(NOON + HOUR, UTC))
    )
    for one in shown.extensions:
        value = one.value
        if isinstance(value, x509.SubjectAlternativeName) and names is not None:
            value = x509.SubjectAlternativeName(names)
        if not isinstance(value, tuple(leave_out)):
            builder = builder.add_extension(value, critical=one.critical)
    for value, critical in add:
        builder = builder.add_extension(value, critical=critical)
    return builder.sign(WORLD.key().private, hashed or SHA256()).public_bytes(Encoding.DER)


def uri(text=None):
    return x509.UniformResourceIdentifier(text or str(WORLD.name()))


def host():
    return x509.DNSName(WORLD.name().host)


def by_a_stranger():
    key, issuer = other_authority(WORLD.line)
    return Case(certificate=WORLD.leaf(authority=key, issuer=issuer))


def of_an_expired_authority():
    expired = altered(WORLD.certificate, window=Window(NOON - DAY, NOON))
    return Case(authorities=(expired,))


def of_another_contract():
    return Case(certificate=WORLD.leaf(name=SpiffeName(bytes(32), 0, "service", bytes(32))))


SIGNS = x509.BasicConstraints(ca=True, path_length=None)
ONLY_SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
BREAKS = [
    ("peer.certificate", "no certificate", lambda: Case(certificate=b"no certificate")),
    (
        "peer.certificate",
        "a key on another curve",
        lambda: Case(certificate=signed(key=ec.generate_private_key(ec.SECP384R1()).public_key())),
    ),
    ("peer.authority", "a stranger's", by_a_stranger),
    ("peer.authority", "no authority", lambda: Case(authorities=())),
    ("peer.authority", "an authority that expired", of_an_expired_authority),
    (
        "peer.use",
        "an authority's",
        lambda: Case(certificate=signed(leave_out=(x509.BasicConstraints,), add=((SIGNS, True),))),
    ),
    ("peer.use", "without key usage", lambda: Case(certificate=signed(leave_out=(x509.KeyUsage,)))),
    (
        "peer.use",
        "a server's alone",
        lambda: Case(certificate=signed(leave_out=(x509.ExtendedKeyUsage,), add=((ONLY_SERVER, False),))),
    ),
    ("peer.use", "one extension more", lambda: Case(certificate=signed(add=((x509.OCSPNoCheck(), False),)))),
    ("peer.validity", "an expired one", lambda: Case(at=NOON + HOUR)),
    ("peer.validity", "one of the future", lambda: Case(certificate=WORLD.leaf(window=Window(NOON + 60, NOON + HOUR)))),
    (
        "peer.validity",
        "one for days",
        lambda: Case(certificate=WORLD.leaf(window=Window(NOON - 60, NOON + 2 * DAY))),
    ),
    (
        "peer.name",
        "two URIs",
        lambda: Case(certificate=signed(names=[uri(), uri("spiffe://elsewhere/x"), host()])),
    ),
    ("peer.name", "no URI", lambda: Case(certificate=signed(names=[host()]))),
    ("peer.name", "a name of others", lambda: Case(certificate=signed(names=[uri("spiffe://elsewhere/x"), host()]))),
    (
        "peer.name",
        "a host name of its choice",
        lambda: Case(certificate=signed(names=[uri(), x509.DNSName("database.internal")])),
    ),
    (
        "peer.name",
        "a mailbox beside it",
        lambda: Case(certificate=signed(names=[uri(), host(), x509.RFC822Name("someone@example.org")])),
    ),
    ("peer.domain", "another contract's", of_another_contract),
    ("peer.role", "another role's", lambda: Case(roles={"gateway", "kms"})),
]


@pytest.mark.parametrize(
    ("check", "make"),
    [pytest.param(check, make, id=words, marks=pytest.mark.breaks(check)) for check, words, make in BREAKS],
)
def test_what_is_out_of_order_is_refused_by_that_check_alone(check, make):
    examination = make().examine()
    assert examination.failed == [check]
    with pytest.raises(PeerIdentityRefused, match=check):
        examination.require()


def test_every_step_is_broken_by_a_row():
    assert {check for check, _, _ in BREAKS} == set(PEER_STEPS)


def test_any_of_the_authorities_that_count_will_do():
    _, another = other_authority(WORLD.line, generation=2)
    assert not Case(authorities=(another, WORLD.certificate)).examine().failed


# By who has the log.


def logged(*issued, certificate=None):
    case = Case()
    return examine_logged_peer(
        certificate or case.certificate, case.authorities, issued, line=WORLD.line, roles=case.roles, at=NOON
    )


def test_a_certificate_that_was_logged_passes():
    assert logged(WORLD.make_identity(node=WORLD.kms, role="kms"), WORLD.make_identity()).require().name == WORLD.name()


@pytest.mark.breaks("peer.logged")
@pytest.mark.parametrize(
    "changes",
    [{"serial": serial(8)}, {"not_after": NOON + 60}, {"node": Node()}, {"key": b"none"}],
    ids=["number", "time", "node", "key"],
)
def test_a_certificate_that_was_not_logged_is_refused_by_that_check_alone(changes):
    assert logged(WORLD.make_identity(**changes)).failed == ["peer.logged"]
    assert logged().failed == ["peer.logged"]


def test_openssl_takes_a_certificate_for_its_line_and_refuses_one_outside(tmp_path):
    """An independent judge: the constraints hold for every program that speaks TLS."""

    def pem(name, data):
        path = tmp_path / name
        path.write_bytes(x509.load_der_x509_certificate(data).public_bytes(Encoding.PEM))
        return str(path)

    def verify(leaf, *more):
        told = ["openssl", "verify", "-attime", str(NOON), "-x509_strict", *more]
        return subprocess.run([*told, "-CAfile", authority, leaf], capture_output=True, text=True, check=False)

    authority = pem("authority.pem", WORLD.certificate.certificate.public_bytes(Encoding.DER))
    mine = pem("mine.pem", WORLD.leaf())
    assert verify(mine, "-purpose", "sslclient", "-verify_hostname", WORLD.name().host).returncode == 0
    assert "hostname mismatch" in verify(mine, "-verify_hostname", WORLD.name("gateway").host).stderr
    other = pem("other.pem", WORLD.leaf(name=SpiffeName(bytes(32), 0, "service", bytes(32))))
    assert "permitted subtree violation" in verify(other).stderr


def test_an_authority_of_the_same_secret_is_the_same_key():
    assert WORLD.key().public == IdentityWorld.key(WORLD, 1).public != WORLD.key(2).public
    assert WORLD.key().public != WORLD.key(line=bytes(32)).public


def test_an_authority_is_read_for_its_own_line_and_generation_alone():
    data = WORLD.certificate.certificate.public_bytes(Encoding.DER)
    assert read_authority(data, line=WORLD.line, generation=1).key == WORLD.key().public
    assert serial(1) == read_identity(WORLD.leaf()).serial
