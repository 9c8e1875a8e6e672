"""TPM quotes: each step of examination and appraisal is broken alone."""

import hashlib

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from cloister.attest.tpm import (
    TPM_APPRAISAL_STEPS,
    TPM_STEPS,
    SignedQuote,
    TpmRejected,
    appraise_tpm,
    examine_tpm,
    rsa_key,
)
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.event_log import SHA1, SHA256, SHA384
from cloister.formats.tpm_policy import TpmPolicy
from cloister.formats.tpm_quote import (
    MAXIMUM_TPM,
    RSAPSS,
    RSASSA,
    parse_tpm2b_quote,
    parse_tpm_public,
    parse_tpm_quote,
    parse_tpm_signature,
)
from cloister.testing.tpm_hardware import ATTESTATION_KEY, MadeTpm, sized

NONCE = b"\7" * 32
PCRS = {SHA256: {index: bytes([index]) * 32 for index in range(8)}}
TPM = MadeTpm(PCRS)
POLICY = TpmPolicy(bank="sha256", pcrs={0: (bytes(32),), 4: (b"\4" * 32, b"\5" * 32)})
OTHER = MadeTpm(PCRS, seed="other")


def signed(tpm=TPM, *, quote=None, signature=None, pcrs=None, signer=None):
    message = tpm.quote(NONCE) if quote is None else quote
    raw = (signer or tpm).sign(message) if signature is None else signature
    return SignedQuote(parse_tpm_quote(message), parse_tpm_signature(raw), tpm.pcrs if pcrs is None else pcrs)


def examined(tpm=TPM, *, names=None, **changes):
    return examine_tpm(
        signed(tpm, **changes), parse_tpm_public(tpm.public), names=[tpm.name] if names is None else names
    )


def appraised(*, policy=POLICY, nonce=NONCE):
    return appraise_tpm(examined().require(), policy, nonce=nonce)


@pytest.mark.parametrize(
    "tpm",
    [
        pytest.param(TPM, id="ECDSA on P-256"),
        pytest.param(MadeTpm(PCRS, hash=SHA384, curve=ec.SECP384R1()), id="ECDSA on P-384"),
        pytest.param(MadeTpm(PCRS, scheme=RSASSA), id="RSASSA"),
        pytest.param(MadeTpm(PCRS, scheme=RSAPSS, hash=SHA384), id="RSAPSS"),
        pytest.param(MadeTpm(PCRS | {SHA384: {7: bytes(48)}}), id="two banks"),
    ],
)
def test_a_quote_of_a_known_key_is_authentic(tpm):
    examination = examined(tpm)
    assert examination.passed == list(TPM_STEPS)
    assert examination.require().pcrs == tpm.pcrs
    assert examination.require().extra_data == NONCE


def test_an_authentic_quote_with_the_named_values_is_appraised():
    assert appraised().passed == list(TPM_APPRAISAL_STEPS)
    assert appraised().require().pcrs == {0: bytes(32), 4: b"\4" * 32}


@pytest.mark.breaks("tpm.key")
@pytest.mark.parametrize(
    ("tpm", "names"),
    [
        pytest.param(TPM, [], id="no key is taken"),
        pytest.param(OTHER, [TPM.name], id="the key of another tpm"),
        pytest.param(MadeTpm(PCRS, attributes=ATTESTATION_KEY & ~(1 << 16)), None, id="a key that is not restricted"),
        pytest.param(MadeTpm(PCRS, attributes=ATTESTATION_KEY & ~(1 << 1)), None, id="a key that may leave its tpm"),
        pytest.param(MadeTpm(PCRS, attributes=ATTESTATION_KEY & ~(1 << 5)), None, id="a key that was brought in"),
        pytest.param(MadeTpm(PCRS, attributes=ATTESTATION_KEY & ~(1 << 18)), None, id="a key that does not sign"),
        pytest.param(MadeTpm(PCRS, attributes=ATTESTATION_KEY | 1 << 17), None, id="a key that decrypts"),
    ],
)
def test_a_key_that_is_no_known_attestation_key_fails_alone(tpm, names):
    assert examined(tpm, names=names).failed == ["tpm.key"]


QUOTE = TPM.quote(NONCE)


@pytest.mark.breaks("tpm.signature")
@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"signer": OTHER}, id="signed by another key"),
        pytest.param({"signature": TPM.sign(TPM.quote(b"\1" * 32))}, id="the signature over another quote"),
        pytest.param({"signer": MadeTpm(PCRS, scheme=RSASSA)}, id="a scheme of another kind of key"),
        pytest.param({"signature": TPM.sign(QUOTE)[:4] + sized(b"") * 2}, id="an empty signature"),
    ],
)
def test_a_signature_that_does_not_hold_fails_alone(change):
    assert examined(**change).failed == ["tpm.signature"]


@pytest.mark.breaks("tpm.pcr-selection")
@pytest.mark.parametrize("selected", [{}, {SHA256: ()}])
def test_a_quote_over_no_pcrs_fails_alone(selected):
    """CVE-2022-0317: the digest of nothing holds for no values at all."""
    examination = examined(quote=TPM.quote(NONCE, selected=selected), pcrs={})
    assert examination.failed == ["tpm.pcr-selection"]


@pytest.mark.breaks("tpm.pcr-selection")
def test_a_quote_over_the_sha1_bank_fails_alone():
    assert examined(MadeTpm({SHA1: {0: bytes(20)}})).failed == ["tpm.pcr-selection"]


def values(**changes):
    return {SHA256: PCRS[SHA256] | {int(name[3:]): value for name, value in changes.items()}}


@pytest.mark.breaks("tpm.pcrs")
@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"pcrs": values(pcr4=b"\x09" * 32)}, id="another value"),
        pytest.param({"pcrs": values(pcr9=bytes(32))}, id="a value that was not quoted"),
        pytest.param({"pcrs": {SHA256: {0: bytes(32)}}}, id="values left out"),
        pytest.param({"pcrs": {SHA384: PCRS[SHA256]}}, id="values of another bank"),
        pytest.param({"pcrs": values(pcr0=bytes(31), pcr1=b"\0" + b"\1" * 32)}, id="bytes moved to the next value"),
        pytest.param({"quote": TPM.quote(NONCE, digest=bytes(32))}, id="another digest"),
        pytest.param({"quote": TPM.quote(NONCE, digest=b"")}, id="an empty digest"),
    ],
)
def test_values_that_were_not_quoted_fail_alone(change):
    assert examined(**change).failed == ["tpm.pcrs"]


@pytest.mark.breaks("tpm.nonce")
@pytest.mark.parametrize("nonce", [b"\1" * 32, NONCE[:-1], NONCE + b"\0", b""])
def test_a_quote_that_answers_another_challenge_fails_alone(nonce):
    assert appraised(nonce=nonce).failed == ["tpm.nonce"]


@pytest.mark.breaks("tpm.pcr-values")
@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(TpmPolicy(bank="sha256", pcrs={4: (b"\1" * 32,)}), id="another value"),
        pytest.param(TpmPolicy(bank="sha256", pcrs={4: ()}), id="a pcr that may have no value"),
        pytest.param(TpmPolicy(bank="sha256", pcrs={9: (bytes(32),)}), id="a pcr that was not quoted"),
        pytest.param(TpmPolicy(bank="sha384", pcrs={0: (bytes(48),)}), id="another bank"),
    ],
)
def test_a_value_that_the_policy_does_not_name_fails_alone(policy):
    examination = appraised(policy=policy)
    assert examination.failed == ["tpm.pcr-values"]
    with pytest.raises(TpmRejected, match=r"tpm\.pcr-values"):
        examination.require()


def test_a_policy_names_at_least_one_pcr():
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"bank": "sha256", "pcrs": {}}, TpmPolicy)


def test_every_shortfall_is_told():
    examination = examined(quote=TPM.quote(NONCE, selected={}), signer=OTHER)
    assert examination.failed == ["tpm.signature", "tpm.pcr-selection", "tpm.pcrs"]


def test_a_signature_over_sha1_is_not_taken():
    raw = TPM.sign(QUOTE)
    assert examined(signature=raw[:2] + b"\0\x04" + raw[4:]).failed == ["tpm.signature", "tpm.pcrs"]


def test_a_curve_that_is_not_taken_is_no_known_key():
    public = TPM.public[:16] + b"\0\x05" + TPM.public[18:]
    name = b"\0\x0b" + hashlib.sha256(public).digest()
    assert examine_tpm(signed(), parse_tpm_public(public), names=[name]).failed == ["tpm.key"]


SELECTION = QUOTE.index(b"\0\0\0\1\0\x0b\3")


@pytest.mark.parametrize(
    "quote",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(QUOTE + b"\0", id="bytes that follow"),
        pytest.param(QUOTE[:-1], id="cut short"),
        pytest.param(b"\xffTCH" + QUOTE[4:], id="another magic"),
        pytest.param(QUOTE[:4] + b"\x80\x17" + QUOTE[6:], id="a certification, not a quote"),
        pytest.param(QUOTE[:6] + b"\xff\xff" + QUOTE[8:], id="a name larger than all"),
        pytest.param(QUOTE[: SELECTION - 9] + b"\2" + QUOTE[SELECTION - 8 :], id="safe neither yes nor no"),
        pytest.param(QUOTE[:SELECTION] + b"\0\0\0\x11" + QUOTE[SELECTION + 4 :], id="more banks than there are"),
        pytest.param(QUOTE[: SELECTION + 6] + b"\0" + QUOTE[SELECTION + 7 :], id="a selection of no size"),
        pytest.param(
            QUOTE[: SELECTION + 3] + b"\2" + QUOTE[SELECTION + 4 : SELECTION + 10] * 2 + QUOTE[SELECTION + 10 :],
            id="a bank twice",
        ),
    ],
)
def test_what_is_no_quote_is_malformed(quote):
    with pytest.raises(MalformedInput):
        parse_tpm_quote(quote)


def test_a_sized_quote_is_the_same():
    assert parse_tpm2b_quote(sized(QUOTE)) == parse_tpm_quote(QUOTE)
    for other in (sized(QUOTE) + b"\0", QUOTE):
        with pytest.raises(MalformedInput):
            parse_tpm2b_quote(other)


PUBLIC = TPM.public
RSA_PUBLIC = MadeTpm(PCRS, scheme=RSASSA).public


@pytest.mark.parametrize(
    "public",
    [
        pytest.param(b"\0\x08" + PUBLIC[2:], id="a keyed hash"),
        pytest.param(PUBLIC + b"\0", id="bytes that follow"),
        pytest.param(PUBLIC[:10] + b"\0\x06" + PUBLIC[12:], id="a symmetric algorithm"),
        pytest.param(PUBLIC[:12] + b"\0\x1a" + PUBLIC[14:], id="a scheme that needs a counter"),
        pytest.param(PUBLIC[:18] + b"\0\x22" + PUBLIC[20:], id="a key derivation"),
        pytest.param(RSA_PUBLIC[:16] + b"\x0c\0" + RSA_PUBLIC[18:], id="a modulus of another size"),
    ],
)
def test_what_is_no_signing_key_is_malformed(public):
    with pytest.raises(MalformedInput):
        parse_tpm_public(public)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\0\x1a" + TPM.sign(QUOTE)[2:], id="another scheme"),
        pytest.param(TPM.sign(QUOTE) + b"\0", id="bytes that follow"),
        pytest.param(b"\0\x18", id="cut short"),
    ],
)
def test_what_is_no_signature_is_malformed(raw):
    with pytest.raises(MalformedInput):
        parse_tpm_signature(raw)


PARSERS = (parse_tpm_quote, parse_tpm2b_quote, parse_tpm_signature, parse_tpm_public)


@pytest.mark.parametrize("parse", PARSERS)
def test_each_structure_has_a_cap_before_any_work(parse):
    with pytest.raises(TooLarge):
        parse(bytes(MAXIMUM_TPM + 1))


@pytest.mark.parametrize("parse", PARSERS)
@given(data=st.binary(max_size=200) | st.binary(max_size=99).map(lambda end: QUOTE[: 6 + len(end)] + end))
def test_any_bytes_either_parse_or_are_malformed(parse, data):
    try:
        parse(data)
    except MalformedInput:
        return


@pytest.mark.parametrize("index", [16, 23])
def test_a_policy_names_no_pcr_that_software_sets_back(index):
    with pytest.raises(ValueError, match=f"PCR{index} proves nothing"):
        TpmPolicy(bank="sha256", pcrs={0: (bytes(32),), index: (bytes(32),)})
    with pytest.raises(msgspec.ValidationError, match=f"PCR{index} proves nothing"):
        msgspec.json.decode(b'{"bank":"sha256","pcrs":{"%d":[]}}' % index, type=TpmPolicy)


@pytest.mark.parametrize(
    ("bits", "exponent"), [(2047, 65537), (4097, 65537), (16384, 65537), (2048, 3), (4096, (1 << 64) - 59)]
)
def test_an_rsa_key_of_another_size_or_exponent_than_tpms_have_is_none(bits, exponent):
    assert rsa_key((1 << 4095) | 1, 65537).key_size == 4096
    with pytest.raises(MalformedInput, match="2,048 to 4,096 are taken"):
        rsa_key((1 << (bits - 1)) | 1, exponent)
