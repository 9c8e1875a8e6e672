"""An OCSP answer counts where the issuer gave it, or whom it delegated, for this certificate, now, and as asked."""

from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import (
    OCSPCertStatus,
    OCSPResponderEncoding,
    OCSPResponseBuilder,
    OCSPResponseStatus,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from cloister.attest import ocsp
from cloister.attest.certificates import ChainRefused
from cloister.attest.ocsp import MAXIMUM_ANSWER, STAPLED, check_answered_good, parse_answer
from cloister.errors import MalformedInput, TooLarge
from cloister.testing.certificates import Authority, Life, made_key
from cloister.testing.ocsp_answers import Responder

NOW = 1_800_000_000
LIFE = Life(NOW - 1000, NOW + 1000)
ROOT = Authority.root("root", LIFE)
MIDDLE = ROOT.authority("middle", LIFE)
LEAF = MIDDLE.issue("leaf", made_key("leaf").public_key(), LIFE)
CHAIN = (LEAF, *MIDDLE.chain)
RESPONDER = Responder(life=LIFE)
OF_MIDDLE = RESPONDER.answer(MIDDLE.certificate, ROOT)
OF_LEAF = RESPONDER.answer(LEAF, MIDDLE)


def refused(*answers, at=NOW, nonce=STAPLED):
    with pytest.raises(ChainRefused) as caught:
        check_answered_good(CHAIN, [parse_answer(one) for one in answers], nonce=nonce, at=at, whole=True)
    return str(caught.value)


def good(*answers, nonce=STAPLED, whole=True):
    check_answered_good(CHAIN, [parse_answer(one) for one in answers], nonce=nonce, at=NOW, whole=whole)


def test_a_chain_whose_certificates_are_all_answered_for_holds():
    good(OF_LEAF, OF_MIDDLE)
    good(OF_MIDDLE, whole=False)


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_answer_is_no_consent(missing):
    given = [OF_LEAF, OF_MIDDLE]
    del given[missing]
    assert refused(*given) == f"there is no OCSP answer for {('leaf', 'middle')[missing]}"


def test_what_was_revoked_is_refused_and_not_outvoted():
    revoked = replace(RESPONDER, status=OCSPCertStatus.REVOKED).answer(LEAF, MIDDLE)
    assert refused(revoked, OF_LEAF, OF_MIDDLE).startswith("leaf was revoked on 2027")
    assert refused(OF_LEAF, revoked, OF_MIDDLE).startswith("leaf was revoked on 2027")


def test_what_the_responder_does_not_know_is_refused():
    unknown = replace(RESPONDER, status=OCSPCertStatus.UNKNOWN).answer(LEAF, MIDDLE)
    assert refused(unknown, OF_MIDDLE) == "the OCSP responder does not know leaf"


def test_an_answer_has_its_time():
    assert "ended on 2027" in refused(OF_LEAF, OF_MIDDLE, at=NOW + 1001)
    assert "after now" in refused(OF_LEAF, OF_MIDDLE, at=NOW - 1001)


def test_an_answer_that_has_ended_does_not_outvote_a_newer_one():
    ended = Responder(life=Life(NOW - 2000, NOW - 1)).answer(LEAF, MIDDLE)
    good(ended, OF_LEAF, OF_MIDDLE)
    assert "ended on 2027" in refused(ended, OF_MIDDLE)


def test_an_answer_by_another_authority_is_none():
    other = Authority.root("middle", LIFE)
    assert "is signed neither by middle nor" in refused(RESPONDER.answer(LEAF, MIDDLE, signer=other), OF_MIDDLE)


def test_an_answer_about_another_issuers_certificate_is_none():
    other = Authority.root("middle", LIFE)
    given = RESPONDER.answer(LEAF, other, signer=MIDDLE)
    assert refused(given, OF_MIDDLE) == "there is no OCSP answer for leaf"
    good(given, OF_LEAF, OF_MIDDLE)


def test_a_delegated_responder_answers_for_its_issuer_alone():
    delegated = replace(RESPONDER, delegated=True)
    good(delegated.answer(LEAF, MIDDLE), OF_MIDDLE)
    assert "responder is not signed by middle" in refused(delegated.answer(LEAF, MIDDLE, signer=ROOT), OF_MIDDLE)


def test_a_responder_that_was_delegated_for_something_else_or_has_expired_is_none():
    other = replace(RESPONDER, delegated=True, usage=[ExtendedKeyUsageOID.SERVER_AUTH])
    assert "responder was not delegated" in refused(other.answer(LEAF, MIDDLE), OF_MIDDLE)


SENT = b"the nonce of 26 bytes sent"
ASKED = replace(RESPONDER, nonce=SENT)
ASKED_OF_MIDDLE = ASKED.answer(MIDDLE.certificate, ROOT)


@pytest.mark.parametrize("answered", [b"", b"another nonce of that size"], ids=["none", "another"])
def test_an_answer_to_another_question_is_none(answered):
    given = replace(RESPONDER, nonce=answered).answer(LEAF, MIDDLE)
    assert "another nonce" in refused(given, ASKED_OF_MIDDLE, nonce=SENT)


def test_an_answer_to_the_nonce_sent_holds():
    good(ASKED.answer(LEAF, MIDDLE), ASKED_OF_MIDDLE, nonce=SENT)
    good(OF_LEAF, ASKED.answer(LEAF, MIDDLE), ASKED_OF_MIDDLE, nonce=SENT)
    good(ASKED.answer(LEAF, MIDDLE), ASKED_OF_MIDDLE)  # nobody demands one


@pytest.mark.parametrize("size", [0, 15, 33])
def test_a_nonce_that_is_none_is_a_fault_of_the_callers(size):
    with pytest.raises(ValueError, match=f"a nonce of {size} bytes"):
        good(OF_LEAF, OF_MIDDLE, nonce=bytes(size))


@pytest.mark.parametrize("status", [OCSPCertStatus.UNKNOWN, OCSPCertStatus.REVOKED])
@pytest.mark.parametrize("nonce", [STAPLED, SENT])
def test_an_older_good_answer_does_not_outvote_a_fresh_one_that_says_otherwise(status, nonce):
    """Whoever sends evidence chooses what is stapled beside what was asked."""
    fresh = replace(ASKED, status=status).answer(LEAF, MIDDLE)
    older = replace(RESPONDER, life=Life(NOW - 2000, NOW + 1000)).answer(LEAF, MIDDLE)
    good(ASKED.answer(LEAF, MIDDLE), older, ASKED_OF_MIDDLE, nonce=nonce)
    for answers in ([fresh, older], [older, fresh], [fresh, older, ASKED.answer(LEAF, MIDDLE)]):
        assert refused(*answers, ASKED_OF_MIDDLE, nonce=nonce).startswith(
            ("the OCSP responder does not know leaf", "leaf was revoked on")
        )


def test_an_unknown_that_has_ended_is_forgotten():
    ended = replace(RESPONDER, life=Life(NOW - 2000, NOW - 1), status=OCSPCertStatus.UNKNOWN).answer(LEAF, MIDDLE)
    good(ended, OF_LEAF, OF_MIDDLE)


def test_an_error_of_the_responder_is_no_answer():
    error = OCSPResponseBuilder.build_unsuccessful(OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER)
    with pytest.raises(MalformedInput, match="try_later"):
        parse_answer(error)


def test_an_answer_over_its_cap_is_refused():
    with pytest.raises(TooLarge):
        parse_answer(bytes(MAXIMUM_ANSWER + 1))


def crowded(*, singles=1, carried=0, more=b""):
    """An answer that says `singles` times that the leaf is good, and `more`; it carries so many certificates."""
    builder = OCSPResponseBuilder().responder_id(OCSPResponderEncoding.HASH, MIDDLE.certificate)
    builder = builder.certificates([LEAF] * carried) if carried else builder
    first, last = LIFE.moments
    builder = builder.add_response(
        LEAF, MIDDLE.certificate, hashes.SHA384(), OCSPCertStatus.GOOD, first, last, None, None
    )
    der = builder.sign(MIDDLE.key, hashes.SHA384()).public_bytes(Encoding.DER)
    if singles == 1:
        return der
    # RFC 6960, section 4.2.1: OCSPResponse, ResponseBytes, BasicOCSPResponse, ResponseData.
    status, tagged = elements(der)
    kind, wrapped = elements(content(tagged))
    data, *rest = elements(content(wrapped))
    *before, responses = elements(data)
    several = tlv(0x30, content(responses) * singles + more)
    basic = tlv(0x30, b"".join([tlv(0x30, b"".join([*before, several])), *rest]))
    return tlv(0x30, status + tlv(0xA0, tlv(0x30, kind + tlv(0x04, basic))))


def tlv(tag, body):
    return bytes([tag, 0x82]) + len(body).to_bytes(2, "big") + body if len(body) > 255 else short(tag, body)


def short(tag, body):
    return bytes([tag, 0x81, len(body)] if len(body) > 127 else [tag, len(body)]) + body


def content(der):
    return der[2 + (der[1] & 0x7F if der[1] & 0x80 else 0) :]


def elements(der):
    """The parts of a SEQUENCE in DER."""
    rest, found = content(der), []
    while rest:
        longer = rest[1] & 0x7F if rest[1] & 0x80 else 0
        size = 2 + longer + (int.from_bytes(rest[2 : 2 + longer], "big") if longer else rest[1])
        found.append(rest[:size])
        rest = rest[size:]
    return found


def test_an_answer_that_says_much_or_carries_many_is_refused_before_a_signature_is_held():
    parse_answer(crowded(singles=16))
    with pytest.raises(TooLarge, match="of 17 certificates"):
        parse_answer(crowded(singles=17))
    parse_answer(crowded(carried=2))
    with pytest.raises(TooLarge, match="carries 3"):
        parse_answer(crowded(carried=3))


def test_an_answer_of_certificates_of_several_issuers_is_malformed():
    """Nobody may answer for all of them, and each issuer would be one more signature to hold."""

    def responses(answer):
        response = elements(content(elements(answer)[1]))[1]
        return content(elements(elements(content(response))[0])[-1])

    parse_answer(crowded(singles=2, more=responses(OF_LEAF)))
    with pytest.raises(MalformedInput, match="of 2 issuers"):
        parse_answer(crowded(singles=2, more=responses(OF_MIDDLE)))


@pytest.fixture
def verified(monkeypatch):
    """The certificates whose keys were used, in the order they were."""
    used, holds = [], ocsp._is_signed_by

    def counted(response, certificate):
        used.append(certificate)
        return holds(response, certificate)

    monkeypatch.setattr(ocsp, "_is_signed_by", counted)
    ocsp._signer_seen.cache_clear()
    return used


def test_nothing_is_verified_with_a_responders_key_that_the_issuer_did_not_certify(verified):
    """Anybody can make up responders whose keys take milliseconds: 44 answers of two each took seven seconds."""
    given = replace(RESPONDER, delegated=True).answer(LEAF, MIDDLE, signer=ROOT)
    assert "responder is not signed by middle" in refused(given, OF_MIDDLE)
    assert verified == [MIDDLE.certificate]


def test_an_answer_is_verified_once_for_all_devices_and_requests_that_it_comes_with(verified):
    wrong = RESPONDER.answer(LEAF, MIDDLE, signer=Authority.root("middle", LIFE))
    delegated = replace(RESPONDER, delegated=True).answer(LEAF, MIDDLE)
    for _ in range(3):
        assert "is signed neither by middle nor" in refused(wrong, OF_MIDDLE)
        good(delegated, OF_MIDDLE)
    assert len(verified) == 1 + 2 + 1


def test_an_answer_that_says_the_same_many_times_costs_as_one_that_says_it_once(monkeypatch):
    hashed, digest = [], ocsp._digest

    def counted(algorithm, data):
        hashed.append(data)
        return digest(algorithm, data)

    monkeypatch.setattr(ocsp, "_digest", counted)
    good(OF_LEAF, OF_MIDDLE)
    once = len(hashed)
    with pytest.raises(ChainRefused, match="is signed neither by"):
        good(crowded(singles=16), OF_MIDDLE)
    assert (once, len(hashed)) == (4, 6)  # an issuer's name and its key: of two issuers, then of one that is refused


def test_a_responder_that_was_seen_before_has_its_time_all_the_same():
    longer = Responder(life=Life(NOW - 1000, NOW + 5000))
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
    brief = MIDDLE.issue("responder", made_key("responder").public_key(), LIFE, [(usage, False)])
    given = replace(longer, delegated=brief).answer(LEAF, MIDDLE)
    good(given, OF_MIDDLE)
    of_middle = longer.answer(MIDDLE.certificate, ROOT)
    assert "responder expired on 2027" in refused(given, of_middle, at=NOW + 1001)


def test_an_answers_signature_is_held_once_whatever_it_says(monkeypatch):
    held = []
    hold = ocsp._check_signed

    def counted(answer, issuer, *, at):
        held.append(answer)
        hold(answer, issuer, at=at)

    monkeypatch.setattr(ocsp, "_check_signed", counted)
    assert "is signed neither by middle nor" in refused(crowded(singles=16), OF_MIDDLE)
    assert len(held) == 1


@given(st.binary(max_size=100))
def test_any_bytes_are_an_answer_or_malformed(data):
    with pytest.raises(MalformedInput):
        parse_answer(data)


@given(st.integers(0, len(OF_LEAF) - 1), st.integers(1, 255))
def test_an_answer_with_a_byte_changed_is_no_consent(at, change):
    data = bytearray(OF_LEAF)
    data[at] ^= change
    with pytest.raises((MalformedInput, ChainRefused)):
        good(bytes(data), OF_MIDDLE)
