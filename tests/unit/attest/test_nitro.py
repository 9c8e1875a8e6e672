"""Nitro documents: each step of examination and appraisal is broken alone."""

import cbor2
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from cloister.attest.nitro import (
    NITRO_APPRAISAL_STEPS,
    NITRO_STEPS,
    NitroExpected,
    NitroRejected,
    appraise_nitro,
    examine_nitro,
)
from cloister.attest.roots import AWS_NITRO_ROOT_G1
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.nitro_document import MAXIMUM_NITRO_DOCUMENT, parse_nitro_document
from cloister.formats.nitro_policy import NitroImage, NitroPolicy
from cloister.testing.certificates import made_key
from cloister.testing.nitro_hardware import MadeNitro, key_usage

NOW = 1_800_000_000
MADE = MadeNitro(NOW)
PCRS = MADE.fields()["pcrs"]
IMAGE = NitroImage(pcr0=PCRS[0], pcr1=PCRS[1], pcr2=PCRS[2])
POLICY = NitroPolicy(
    images=(IMAGE,), pcrs={4: (PCRS[4],)}, maximum_age_seconds=300, maximum_ahead_seconds=5, expressions=()
)
EXPECTED = NitroExpected(user_data=b"\5" * 64, nonce=b"\6" * 32, public_key=None)


def examined(document=None, *, made=MADE, roots=None, at=NOW):
    signed = parse_nitro_document(made.document() if document is None else document)
    return examine_nitro(signed, roots=made.roots if roots is None else roots, at=at)


def appraised(*, policy=POLICY, expected=EXPECTED, at=NOW, **changes):
    return appraise_nitro(examined(MADE.document(**changes)).require(), policy, expected, at=at)


def test_a_document_of_a_pinned_root_is_authentic_and_appraised():
    assert examined().passed == list(NITRO_STEPS)
    assert examined().require().module_id == "i-0123-enc4567"
    assert appraised().passed == list(NITRO_APPRAISAL_STEPS)
    assert appraised().require().pcrs == PCRS


def test_a_tagged_document_is_the_same():
    assert examined(MADE.sign(MADE.payload(), tagged=True)).require() == examined().require()


def test_made_up_hardware_is_none_of_aws():
    assert examined(roots=[AWS_NITRO_ROOT_G1]).failed == ["nitro.chain"]


OTHER = MadeNitro(NOW, seed="other")
WITHOUT_USAGE = MadeNitro(NOW, usage=None)
MAY_NOT_SIGN = MadeNitro(NOW, usage=key_usage(sign=False))
SMALL = MadeNitro(NOW, key=made_key("small", ec.SECP256R1()))


@pytest.mark.breaks("nitro.chain")
@pytest.mark.parametrize(
    ("document", "at"),
    [
        pytest.param(MADE.document(), NOW + 10_801, id="a leaf that has expired"),
        pytest.param(MADE.document(), NOW - 1, id="a leaf that is not valid yet"),
        pytest.param(OTHER.document(), NOW, id="a root that comes along"),
        pytest.param(MADE.document(cabundle=MADE.fields()["cabundle"][::-1]), NOW, id="a bundle turned round"),
        pytest.param(MADE.document(cabundle=OTHER.fields()["cabundle"]), NOW, id="the bundle of another"),
        pytest.param(MADE.document(certificate=b"x"), NOW, id="a certificate that is none"),
        pytest.param(WITHOUT_USAGE.document(), NOW, id="a leaf without a key usage"),
        pytest.param(MAY_NOT_SIGN.document(), NOW, id="a leaf that may not sign"),
    ],
)
def test_a_chain_that_does_not_lead_to_the_root_fails_alone(document, at):
    assert examined(document, at=at).failed == ["nitro.chain"]


@pytest.mark.breaks("nitro.signature")
@pytest.mark.parametrize(
    "document",
    [
        pytest.param(cbor2.dumps([*cbor2.loads(MADE.document())[:3], b"\1" * 96]), id="a signature of another"),
        pytest.param(cbor2.dumps([*cbor2.loads(MADE.document())[:3], bytes(96)]), id="a signature of zeros"),
        pytest.param(
            cbor2.dumps([*cbor2.loads(MADE.document())[:2], MADE.payload(nonce=b"n"), cbor2.loads(MADE.document())[3]]),
            id="a payload exchanged",
        ),
        pytest.param(OTHER.sign(MADE.payload()), id="another module's signature"),
    ],
)
def test_a_signature_that_does_not_hold_fails_alone(document):
    assert examined(document).failed == ["nitro.signature"]


@pytest.mark.breaks("nitro.signature")
def test_a_key_that_is_not_on_p384_fails_alone():
    message = cbor2.loads(SMALL.document())
    message[3] = message[3].rjust(96, b"\0")
    assert examined(cbor2.dumps(message), made=SMALL).failed == ["nitro.signature"]


@pytest.mark.breaks("nitro.time")
@pytest.mark.parametrize("seconds", [NOW - 1, NOW + 10_801])
def test_a_document_outside_its_certificates_time_fails_alone(seconds):
    assert examined(MADE.document(timestamp=seconds * 1000)).failed == ["nitro.time"]


def broken(check, words, **change):
    return pytest.param(check, change, id=words, marks=pytest.mark.breaks(check))


ZEROS = msgspec.structs.replace(POLICY, images=(NitroImage(pcr0=bytes(48), pcr1=PCRS[1], pcr2=PCRS[2]),))


@pytest.mark.parametrize(
    ("check", "change"),
    [
        broken("nitro.age", "too old", at=NOW + 301),
        broken("nitro.age", "ahead of the clock", timestamp=(NOW + 6) * 1000),
        broken("nitro.user-data", "user data by a prefix", user_data=b"\5" * 63),
        broken("nitro.user-data", "no user data", user_data=None),
        broken("nitro.nonce", "a nonce by a prefix", nonce=b"\6" * 31),
        broken("nitro.nonce", "a nonce with more behind it", nonce=b"\6" * 33),
        broken("nitro.nonce", "an empty nonce", nonce=b""),
        broken("nitro.public-key", "a key that nobody expects", public_key=b"key"),
        broken("nitro.debug", "debug mode under a policy that names zeros", pcrs=PCRS | {0: bytes(48)}, policy=ZEROS),
        broken("nitro.image", "another kernel", pcrs=PCRS | {1: b"\7" * 48}),
        broken("nitro.image", "no image at all", pcrs={4: PCRS[4]}),
        broken("nitro.image", "a policy without images", policy=msgspec.structs.replace(POLICY, images=())),
        broken("nitro.pcrs", "another parent instance", pcrs=PCRS | {4: b"\7" * 48}),
        broken("nitro.pcrs", "a pcr left out", pcrs={index: PCRS[index] for index in range(3)}),
    ],
)
def test_each_shortfall_fails_its_own_step_alone(check, change):
    examination = appraised(**change)
    assert examination.failed == [check]
    with pytest.raises(NitroRejected, match=check):
        examination.require()


def test_parts_of_two_images_make_no_third():
    other = NitroImage(pcr0=b"\7" * 48, pcr1=b"\7" * 48, pcr2=b"\7" * 48)
    both = msgspec.structs.replace(POLICY, images=(IMAGE, other))
    assert appraised(policy=both, pcrs=PCRS | {1: b"\7" * 48}).failed == ["nitro.image"]


def test_every_shortfall_is_told_and_says_what_to_do():
    examination = appraised(at=NOW + 301, pcrs=PCRS | {0: bytes(48)}, nonce=None)
    assert examination.failed == ["nitro.age", "nitro.nonce", "nitro.debug", "nitro.image"]
    details = {step.id: step.detail for step in examination.steps}
    assert "start it without --debug-mode" in details["nitro.debug"]
    assert details["nitro.age"] == "the document is 301 s old, and is to be at most 300 s old, or 5 s ahead"


GOOD = MADE.document()
MESSAGE = cbor2.loads(GOOD)
ES256 = bytes.fromhex("a10126")


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(GOOD + b"\0", id="bytes that follow"),
        pytest.param(b"\0\0\0\0" + GOOD, id="bytes before"),
        pytest.param(GOOD[:-1], id="cut short"),
        pytest.param(b"\xd1" + GOOD, id="another tag"),
        pytest.param(cbor2.dumps([ES256, *MESSAGE[1:]]), id="another algorithm"),
        pytest.param(cbor2.dumps([bytes.fromhex("a201382204f6"), *MESSAGE[1:]]), id="a header with more in it"),
        pytest.param(cbor2.dumps([bytes.fromhex("a101390022"), *MESSAGE[1:]]), id="another spelling of the header"),
        pytest.param(cbor2.dumps([b"", {1: -35}, *MESSAGE[2:]]), id="the algorithm unprotected"),
        pytest.param(cbor2.dumps([MESSAGE[0], {4: b"k"}, *MESSAGE[2:]]), id="an unprotected header"),
        pytest.param(cbor2.dumps([*MESSAGE[:2], None, MESSAGE[3]]), id="a payload that is elsewhere"),
        pytest.param(cbor2.dumps([*MESSAGE[:3], MESSAGE[3][:64]]), id="a signature of another size"),
        pytest.param(cbor2.dumps(MESSAGE[:3]), id="three parts"),
        pytest.param(MADE.sign(MADE.payload() + b"\0"), id="bytes behind the document"),
        pytest.param(MADE.sign(MADE.payload()[:-1] + cbor2.dumps("nonce") + b"\x40\xff"), id="a field twice"),
    ],
)
def test_what_is_no_signed_document_is_malformed(document):
    with pytest.raises(MalformedInput):
        parse_nitro_document(document)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("module_id", ""),
        ("module_id", None),
        ("module_id", b"i-0123"),
        ("digest", "SHA256"),
        ("timestamp", 0),
        ("timestamp", 1.0),
        ("timestamp", True),
        ("timestamp", -1),
        ("pcrs", {}),
        ("pcrs", {32: bytes(48)}),
        ("pcrs", {0: bytes(32)}),
        ("pcrs", {"0": bytes(48)}),
        ("pcrs", {-1: bytes(48)}),
        ("pcrs", [bytes(48)]),
        ("certificate", b""),
        ("certificate", bytes(1025)),
        ("cabundle", []),
        ("cabundle", [b""]),
        ("cabundle", [b"x"] * 8),
        ("public_key", b""),
        ("public_key", bytes(1025)),
        ("user_data", bytes(513)),
        ("user_data", "text"),
        ("nonce", bytes(513)),
        ("more", 1),
    ],
)
def test_a_field_of_another_type_or_size_is_malformed(name, value):
    with pytest.raises(MalformedInput):
        parse_nitro_document(MADE.document(**{name: value}))


def test_absent_and_null_are_both_nothing():
    payload = MADE.payload(nonce=None)[:-1] + cbor2.dumps("nonce") + b"\xf6\xff"
    assert parse_nitro_document(MADE.sign(payload)).document.nonce is None


def test_a_document_has_a_cap_before_any_work():
    with pytest.raises(TooLarge):
        parse_nitro_document(bytes(MAXIMUM_NITRO_DOCUMENT + 1))


parts = st.none() | st.binary(max_size=80) | st.integers() | st.dictionaries(st.integers(), st.binary(max_size=40))


@given(
    st.binary(max_size=200)
    | st.lists(parts, max_size=5).map(cbor2.dumps)
    | st.binary(max_size=200).map(lambda payload: cbor2.dumps([MESSAGE[0], {}, payload, bytes(96)]))
)
def test_any_bytes_either_parse_or_are_malformed(data):
    with pytest.raises(MalformedInput):
        parse_nitro_document(data)
