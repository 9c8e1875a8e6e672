"""A certificate holds where its issuer's list is here, in date, and does not name it."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from cloister.attest.certificates import ChainRefused, parse_certificate
from cloister.attest.revocation import MAXIMUM_LIST, check_list_signed, check_not_revoked, parse_list
from cloister.errors import MalformedInput, TooLarge
from cloister.testing.certificates import Authority, Life, made_key

NOW = 1_800_000_000
LIFE = Life(NOW - 1000, NOW + 1000)
ROOT = Authority.root("root", LIFE)
MIDDLE = ROOT.authority("middle", LIFE)
LEAF = MIDDLE.issue("leaf", made_key("leaf").public_key(), LIFE)
CHAIN = (LEAF, *MIDDLE.chain)
REVOKED = MIDDLE.revocations([LEAF], LIFE)  # once: signatures, and so lengths, differ each time


def lists(*, of_root=(), of_middle=(), life=LIFE):
    return [parse_list(ROOT.revocations(of_root, life)), parse_list(MIDDLE.revocations(of_middle, life))]


def refused(given, *, at=NOW):
    with pytest.raises(ChainRefused) as caught:
        check_not_revoked(CHAIN, given, at=at)
    return str(caught.value)


def test_a_chain_that_no_list_names_holds():
    check_not_revoked(CHAIN, lists(of_middle=[MIDDLE.certificate]), at=NOW)


def test_a_root_needs_no_list():
    check_not_revoked(ROOT.chain, [], at=NOW)


def test_a_revoked_leaf_is_refused():
    assert refused(lists(of_middle=[LEAF])).startswith("leaf was revoked on 2027-01-15")


def test_a_revoked_authority_is_refused():
    assert refused(lists(of_root=[MIDDLE.certificate])).startswith("middle was revoked on")


def test_no_list_is_verified_with_a_key_that_no_vendor_has():
    key = rsa.RSAPublicNumbers((1 << 64) - 59, (1 << 16383) | 1).public_key()
    issuer = ROOT.issue("middle", key, LIFE)
    with pytest.raises(ChainRefused, match="too weak or too long"):
        check_not_revoked((LEAF, issuer), lists()[1:], at=NOW)
    with pytest.raises(ChainRefused, match="too weak or too long"):
        check_list_signed(lists()[1], issuer)


def test_a_list_whose_issuer_has_a_name_that_is_none_is_malformed():
    data = ROOT.revocations([], LIFE).replace(bytes.fromhex("0603550403"), bytes.fromhex("0603550406"))
    with pytest.raises(MalformedInput, match="a name that is none"):
        parse_list(data)


def test_a_certificate_with_a_number_that_no_list_can_name_is_refused():
    data = LEAF.public_bytes(Encoding.DER)
    number = LEAF.serial_number.to_bytes(8, "big")
    unnamed = parse_certificate(data.replace(number, b"\x80" + number[1:], 1))  # below 0
    with pytest.raises(ChainRefused, match="which no list can name"):
        check_not_revoked((unnamed, *MIDDLE.chain), lists(), at=NOW)


def test_a_missing_list_is_no_consent():
    assert refused(lists()[:1]) == "there is no revocation list of middle"


def test_a_list_by_another_key_of_the_same_name_is_none():
    other = Authority.root("middle", LIFE)
    assert refused([lists()[0], parse_list(other.revocations([], LIFE))]) == "there is no revocation list of middle"


def test_a_list_that_held_under_one_key_does_not_hold_under_another_of_the_same_name():
    """That it held is remembered, for that issuer alone."""
    held = lists()
    check_not_revoked(CHAIN, held, at=NOW)
    other = Authority.root("root", LIFE, key=made_key("another root")).certificate
    with pytest.raises(ChainRefused, match="no revocation list of root"):
        check_not_revoked((*CHAIN[:-1], other), held, at=NOW)


def test_a_list_past_its_next_update_says_nothing():
    assert "ended on" in refused(lists(), at=NOW + 1001)


def test_a_list_from_the_future_says_nothing():
    assert "after now" in refused(lists(), at=NOW - 1001)


def test_the_newest_of_several_lists_counts():
    older = lists(life=Life(NOW - 2000, NOW + 1000))
    assert "was revoked" in refused(older + lists(of_middle=[LEAF]))
    assert "was revoked" in refused(lists(of_middle=[LEAF]) + older)


@pytest.mark.parametrize("life", [LIFE, Life(NOW - 2000, NOW + 1000)])
def test_what_any_list_in_date_names_is_revoked_in_whatever_order_they_come(life):
    naming = lists(of_middle=[LEAF], life=life)
    assert "leaf was revoked" in refused([*naming, *lists()])
    assert "leaf was revoked" in refused([*lists(), *naming])


def test_a_list_of_some_certificates_only_is_malformed():
    builder = x509.CertificateRevocationListBuilder().issuer_name(MIDDLE.certificate.subject)
    builder = builder.last_update(LIFE.moments[0]).next_update(LIFE.moments[1])
    delta = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True).sign(MIDDLE.key, hashes.SHA384())
    with pytest.raises(MalformedInput, match="not complete"):
        parse_list(delta.public_bytes(Encoding.DER))


def test_a_list_that_was_hashed_to_less_than_256_bits_says_nothing():
    builder = x509.CertificateRevocationListBuilder().issuer_name(MIDDLE.certificate.subject)
    builder = builder.last_update(LIFE.moments[0]).next_update(LIFE.moments[1])
    short = parse_list(builder.sign(MIDDLE.key, hashes.SHA224()).public_bytes(Encoding.DER))
    assert "is signed with sha224" in refused([lists()[0], short])


@pytest.mark.parametrize("signs_lists", [True, False])
def test_an_authority_whose_key_is_not_for_lists_revokes_nothing(signs_lists):
    usage = x509.KeyUsage(False, False, False, False, False, True, signs_lists, False, False)
    key = made_key("usage")
    extensions = [(x509.BasicConstraints(ca=True, path_length=0), True), (usage, True)]
    authority = Authority(key, (ROOT.issue("usage", key.public_key(), LIFE, extensions), *ROOT.chain))
    leaf = authority.issue("leaf", made_key("leaf").public_key(), LIFE)
    given = [lists()[0], parse_list(authority.revocations([], LIFE))]
    if signs_lists:
        check_not_revoked((leaf, *authority.chain), given, at=NOW)
    else:
        with pytest.raises(ChainRefused, match="may not sign revocation lists"):
            check_not_revoked((leaf, *authority.chain), given, at=NOW)


def test_a_list_over_its_cap_is_refused():
    with pytest.raises(TooLarge):
        parse_list(bytes(MAXIMUM_LIST + 1))


@given(st.binary(max_size=200) | st.binary(max_size=200).map(b"-----BEGIN X509 CRL-----".__add__))
def test_any_bytes_are_a_list_or_malformed(data):
    with pytest.raises(MalformedInput):
        parse_list(data)


@given(st.integers(0, len(REVOKED) - 1), st.integers(1, 255))
def test_a_list_with_a_byte_changed_is_malformed_or_of_nobody(at, change):
    data = bytearray(REVOKED)
    data[at] ^= change
    with pytest.raises((MalformedInput, ChainRefused)):
        check_not_revoked(CHAIN, [lists()[0], parse_list(bytes(data))], at=NOW)
