"""A chain leads from its leaf to a pinned root, in date: each rule broken alone."""

import threading
import warnings

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from cloister.attest import certificates
from cloister.attest.certificates import (
    MAXIMUM_CERTIFICATE,
    ChainRefused,
    check_chain,
    check_issued,
    day,
    parse_certificate,
    parse_certificates,
    require_names,
)
from cloister.errors import MalformedInput, TooLarge
from cloister.testing.certificates import Authority, Life, made_key

NOW = 1_800_000_000
LIFE = Life(NOW - 1000, NOW + 1000)
ROOT = Authority.root("root", LIFE)
MIDDLE = ROOT.authority("middle", LIFE)
LEAF = MIDDLE.issue("leaf", made_key("leaf").public_key(), LIFE)
CHAIN = (LEAF, *MIDDLE.chain)


def refused(chain, *, roots=(ROOT.pin,), at=NOW):
    with pytest.raises(ChainRefused) as caught:
        check_chain(chain, roots=roots, at=at)
    return str(caught.value)


def test_a_chain_to_a_pinned_root_holds():
    check_chain(CHAIN, roots=[bytes(32), ROOT.pin], at=NOW)


def test_a_root_by_itself_holds():
    check_chain(ROOT.chain, roots=[ROOT.pin], at=NOW)


def test_a_root_that_comes_along_vouches_for_nothing():
    assert refused(CHAIN, roots=[]) == "the chain ends in root, which is no pinned root"


def test_a_chain_that_ends_below_its_root_is_refused():
    assert "no pinned root" in refused(CHAIN[:-1])


def test_nothing_is_verified_with_a_key_that_nobody_vouched_for(monkeypatch):
    """Else who puts seven authorities of their own below a vendor's root has seven signatures verified."""
    used, verify = [], certificates._verify_seen

    def counted(certificate, issuer):
        used.append(issuer)
        verify(certificate, issuer)

    monkeypatch.setattr(certificates, "_verify_seen", counted)
    stranger = Authority.root("root", LIFE, key=made_key("stranger")).authority("middle", LIFE)
    chain = (stranger.issue("leaf", made_key("leaf").public_key(), LIFE), stranger.certificate, ROOT.certificate)
    assert refused(chain) == "middle is not signed by root"
    assert used == [ROOT.certificate] * 2


def test_a_root_of_the_same_name_and_another_key_is_refused():
    other = Authority.root("root", LIFE, key=made_key("another"))
    assert "no pinned root" in refused((LEAF, MIDDLE.certificate, other.certificate))


def test_a_pinned_key_in_a_certificate_that_it_did_not_sign_is_refused():
    forged = Authority.root("forger", LIFE).issue("root", made_key("root").public_key(), LIFE)
    assert refused((forged,)) == "root is not signed by root"


@pytest.mark.parametrize("chain", [(CHAIN[0], CHAIN[2]), (CHAIN[1], CHAIN[0], CHAIN[2])])
def test_a_chain_with_a_certificate_left_out_or_in_another_order_is_refused(chain):
    assert "is not signed by" in refused(chain)


def test_a_chain_whose_leaf_another_key_signed_is_refused():
    other = Authority.root("middle", LIFE).issue("leaf", made_key("leaf").public_key(), LIFE)
    assert refused((other, *MIDDLE.chain)) == "leaf is not signed by middle"


def test_an_authority_that_was_seen_before_is_not_taken_for_one_with_a_byte_changed():
    check_chain(CHAIN, roots=[ROOT.pin], at=NOW)
    data = bytearray(MIDDLE.certificate.public_bytes(Encoding.DER))
    data[-1] ^= 1
    changed = parse_certificate(bytes(data))
    for _ in range(2):
        assert refused((LEAF, changed, ROOT.certificate)) == "middle is not signed by root"


def test_a_root_whose_key_is_none_is_refused():
    data = ROOT.certificate.public_bytes(Encoding.DER)
    point = ROOT.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    changed = parse_certificate(data.replace(point, b"\4" + bytes(96)))
    assert "is not one we know" in refused((*CHAIN[:-1], changed))


def test_a_leaf_signs_no_certificates():
    key, middle = made_key("leaf"), ROOT.authority("middle", LIFE, path_length=1)
    chain = (middle.issue("leaf", key.public_key(), LIFE), *middle.chain)
    false = Authority(key, chain).issue("false", made_key("false").public_key(), LIFE)
    assert refused((false, *chain)) == "leaf may not sign certificates: it is no CA"


def test_no_more_authorities_stand_below_one_than_it_allows():
    below = MIDDLE.authority("below", LIFE)
    leaf = below.issue("leaf", made_key("leaf").public_key(), LIFE)
    assert refused((leaf, *below.chain)) == "middle may have 0 CAs below it, not 1"


def test_an_authority_whose_key_is_for_something_else_signs_nothing():
    usage = x509.KeyUsage(True, *[False] * 8)
    key = made_key("usage")
    extensions = [(x509.BasicConstraints(ca=True, path_length=0), True), (usage, True)]
    chain = (ROOT.issue("usage", key.public_key(), LIFE, extensions), *ROOT.chain)
    leaf = Authority(key, chain).issue("leaf", made_key("leaf").public_key(), LIFE)
    assert "its key usage does not say so" in refused((leaf, *chain))


@pytest.mark.parametrize("critical", [True, False])
def test_a_critical_extension_that_nobody_holds_is_refused(critical):
    unknown = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), critical)
    chain = (MIDDLE.issue("leaf", made_key("leaf").public_key(), LIFE, [unknown]), *MIDDLE.chain)
    if critical:
        assert refused(chain) == "leaf has the extension 1.2.3.4, which is not held here"
    else:
        check_chain(chain, roots=[ROOT.pin], at=NOW)


@pytest.mark.parametrize("critical", [True, False])
def test_an_authority_for_some_names_only_is_refused(critical):
    names = x509.NameConstraints([x509.DirectoryName(LEAF.subject)], None)
    key = made_key("names")
    extensions = [(x509.BasicConstraints(ca=True, path_length=0), True), (names, critical)]
    chain = (ROOT.issue("names", key.public_key(), LIFE, extensions), *ROOT.chain)
    leaf = Authority(key, chain).issue("leaf", made_key("leaf").public_key(), LIFE)
    assert refused((leaf, *chain)) == "names has the extension 2.5.29.30, which is not held here"


def test_a_certificate_that_was_hashed_to_less_than_256_bits_is_refused():
    first, last = LIFE.moments
    builder = x509.CertificateBuilder(MIDDLE.certificate.subject, LEAF.subject, LEAF.public_key(), 1, first, last)
    chain = (builder.sign(MIDDLE.key, hashes.SHA224()), *MIDDLE.chain)
    assert refused(chain) == "leaf is signed with sha224: SHA-256 or a longer one is needed"


def test_a_weak_key_signs_nothing():
    key = made_key("weak", ec.SECP192R1())
    weak = Authority.root("weak", LIFE, key=key)
    assert "too weak" in refused(weak.chain, roots=[weak.pin])


@pytest.mark.parametrize(
    ("bits", "exponent", "taken"),
    [
        (2048, 65537, True),
        (4096, 65537, True),
        (2047, 65537, False),
        (4097, 65537, False),
        (16384, 65537, False),
        (2048, 3, False),
        (4096, (1 << 64) - 59, False),
    ],
)
def test_an_rsa_key_is_of_a_size_that_vendors_use_before_anything_is_verified_with_it(
    bits, exponent, taken, monkeypatch
):
    """With 16,384 bits and an exponent of 64, a signature that is none takes milliseconds to be told so."""
    verified = []
    monkeypatch.setattr(certificates, "_verify_seen", lambda *pair: verified.append(pair))
    key = rsa.RSAPublicNumbers(exponent, (1 << (bits - 1)) | 1).public_key()
    issuer = MIDDLE.issue("issuer", key, LIFE, [(x509.BasicConstraints(ca=True, path_length=0), True)])
    if taken:
        check_issued(LEAF, issuer, below=0)
    else:
        with pytest.raises(ChainRefused, match="too weak or too long"):
            check_issued(LEAF, issuer, below=0)
    assert len(verified) == taken


@pytest.mark.parametrize("position", [0, 1, 2])
def test_each_certificate_has_its_time(position):
    lives = [LIFE] * 3
    lives[position] = Life(NOW - 10, NOW + 10)
    root = Authority.root("root", lives[2])
    middle = root.authority("middle", lives[1])
    chain = (middle.issue("leaf", made_key("leaf").public_key(), lives[0]), *middle.chain)
    for good in (NOW - 10, NOW + 10):
        check_chain(chain, roots=[root.pin], at=good)
    name = ("leaf", "middle", "root")[position]
    assert refused(chain, roots=[root.pin], at=NOW - 11).startswith(f"{name} is valid from 2027-01-15")
    assert refused(chain, roots=[root.pin], at=NOW + 11).startswith(f"{name} expired on 2027-01-15")


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (0, "1970-01-01 00:00:00 UTC"),
        (253_402_300_799, "9999-12-31 23:59:59 UTC"),
        (253_402_300_800, "253402300800 s after 1970"),
        (2**64, "18446744073709551616 s after 1970"),
        (-1, "-1 s after 1970"),
    ],
)
def test_a_moment_that_no_calendar_has_is_told_all_the_same(moment, words):
    assert day(moment) == words


def test_an_empty_chain_and_an_endless_one_are_refused():
    assert "1 to 8" in refused(())
    assert "1 to 8" in refused(CHAIN * 3)


def test_certificates_are_read_in_both_forms():
    der = [one.public_bytes(Encoding.DER) for one in CHAIN]
    pem = b"".join(one.public_bytes(Encoding.PEM) for one in CHAIN)
    assert [parse_certificate(one) for one in der] == list(parse_certificates(pem)) == list(CHAIN)
    assert parse_certificates(der[0]) == (LEAF,)


def test_a_chain_that_is_cut_is_malformed_and_not_a_shorter_one():
    pem = b"".join(one.public_bytes(Encoding.PEM) for one in CHAIN)
    with pytest.raises(MalformedInput, match="cut"):
        parse_certificates(pem[:-60])


def test_a_certificate_with_something_behind_it_is_malformed():
    with pytest.raises(MalformedInput):
        parse_certificate(LEAF.public_bytes(Encoding.DER) + b"\0")


def test_a_signature_that_is_no_whole_number_of_octets_is_malformed():
    key = made_key("leaf").public_key()
    even = next(one for one in iter(lambda: MIDDLE.issue("leaf", key, LIFE), None) if one.signature[-1] % 2 == 0)
    data = bytearray(even.public_bytes(Encoding.DER))
    data[-len(even.signature) - 1] = 1  # unused bits, which would be zero
    with pytest.raises(MalformedInput, match="octets"):
        parse_certificate(bytes(data))


def test_a_serial_number_of_zero_is_read_without_a_warning_wherever_it_stands():
    identifier = x509.AuthorityKeyIdentifier(b"key", [x509.DirectoryName(ROOT.certificate.subject)], 1)
    leaf = ROOT.issue("leaf", made_key("leaf").public_key(), LIFE, [(identifier, False)])
    data = leaf.public_bytes(Encoding.DER)
    named = data.index(b"\x82\x01\x01", data.index(b"key"))
    parse_certificate(data[:named] + b"\x82\x01\x00" + data[named + 3 :])


def test_a_name_that_pyca_only_warns_of_is_malformed():
    """A common name that says it is a country, of four letters."""
    data = LEAF.public_bytes(Encoding.DER).replace(bytes.fromhex("0603550403"), bytes.fromhex("0603550406"))
    with pytest.raises(MalformedInput, match="a name that is none"):
        parse_certificate(data)


def test_threads_that_read_names_leave_the_processs_warnings_as_they_were():
    before = list(warnings.filters)
    entered, left = threading.Event(), threading.Event()

    def first():
        require_names(lambda: entered.wait(0.2))  # in vain, where only one is let in
        left.set()

    def enter():
        entered.set()
        left.wait(5)

    def second():
        require_names(enter)

    threads = [threading.Thread(target=one) for one in (first, second)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert warnings.filters == before


def test_what_others_warn_of_while_names_are_read_raises_nothing():
    with pytest.warns(UserWarning, match="of another thread"):
        require_names(lambda: warnings.warn("of another thread", UserWarning, stacklevel=1))


def test_certificates_over_their_caps_are_refused():
    with pytest.raises(TooLarge):
        parse_certificate(bytes(MAXIMUM_CERTIFICATE + 1))
    with pytest.raises(TooLarge):
        parse_certificates(LEAF.public_bytes(Encoding.PEM) * 9)


@given(st.binary(max_size=200) | st.binary(max_size=200).map(b"-----BEGIN CERTIFICATE-----".__add__))
def test_any_bytes_are_certificates_or_malformed(data):
    with pytest.raises(MalformedInput):
        parse_certificates(data)


@given(st.integers(0, len(LEAF.public_bytes(Encoding.DER)) - 1), st.integers(1, 255))
def test_a_certificate_with_a_byte_changed_is_malformed_or_signed_by_nobody(at, change):
    data = bytearray(LEAF.public_bytes(Encoding.DER))
    data[at] ^= change
    with pytest.raises((MalformedInput, ChainRefused)):
        check_chain((parse_certificate(bytes(data)), *MIDDLE.chain), roots=[ROOT.pin], at=NOW)


def test_made_up_namesakes_share_neither_key_nor_serial_number():
    """Or a list that revokes one, or a chain of one vendor, would be taken for another's."""
    life = Life(NOW - 1000, NOW + 1000)
    first, second = (Authority.root("root", life, key=made_key(seed)) for seed in ("one", "two"))
    below = [one.authority("middle", life) for one in (first, second)]
    assert below[0].key.public_key() != below[1].key.public_key()
    leaves = [
        first.issue("leaf", made_key("a").public_key(), life),
        first.issue("leaf", made_key("b").public_key(), life),
        first.issue("leaf", made_key("a").public_key(), Life(NOW, NOW + 1)),
        first.issue("leaf", made_key("a").public_key(), life, [(x509.OCSPNoCheck(), False)]),
    ]
    assert len({one.serial_number for one in leaves}) == 4
    again = first.issue("leaf", made_key("a").public_key(), life)
    assert again.serial_number == leaves[0].serial_number


def test_a_certificate_that_comes_twice_in_a_chain_is_refused():
    """A root signs itself: with it twice, a chain would be the same in another spelling (RFC 5280 section 6.1)."""
    life = Life(NOW - 1000, NOW + 1000)
    root = Authority.root("root", life)
    middle = root.authority("middle", life)
    chain = (middle.issue("leaf", made_key("leaf").public_key(), life), *middle.chain)
    check_chain(chain, roots=[root.pin], at=NOW)
    with pytest.raises(ChainRefused, match="comes twice in the chain to root"):
        check_chain((*chain, root.certificate), roots=[root.pin], at=NOW)
