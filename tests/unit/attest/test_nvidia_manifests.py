"""NVIDIA's manifests of reference values: each link of the chain broken alone, and every other form refused."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPCertStatus
from tests.doubles.made_gpus import (
    DEVICE,
    DRIVER_RIM,
    FOREIGN,
    LIFE,
    NO_OCSP,
    NOW,
    RESPONDER,
    RIM_ANSWERS,
    VENDOR,
    trusted,
)

from cloister.attest.certificates import parse_certificate
from cloister.attest.nvidia import rim as rim_module
from cloister.attest.nvidia.rim import examine_nvidia_rim
from cloister.examination import Outcome
from cloister.testing.certificates import Authority, Life, made_key
from cloister.testing.nvidia_hardware import measured, sign_rim
from cloister.testing.ocsp_answers import Responder


def rim_failed(data, *, answers=RIM_ANSWERS, **given):
    return examine_nvidia_rim(data, trusted(answers, **given)).failed


GOOD_RIM = DRIVER_RIM.file(VENDOR.rim_signer)


def test_a_manifest_is_authentic_with_its_signer_answered_for():
    found = examine_nvidia_rim(GOOD_RIM, trusted(RIM_ANSWERS)).require()
    assert found.manifest.measurements == {index: (measured(index),) for index in range(20, 40)}


@pytest.mark.breaks("rim.form")
@pytest.mark.parametrize(
    "change",
    [
        lambda rim: b'<!DOCTYPE x [<!ENTITY a "b">]>' + rim,
        lambda rim: rim.replace(b"<ns0:Entity", b"<!-- x --><ns0:Entity"),
        lambda rim: rim.replace(b"<ns0:Entity", b"<?x y?><ns0:Entity"),
        lambda rim: rim.replace(b"made", b"m&#97;de"),
        lambda rim: rim.replace(b"made", b"<![CDATA[x]]>"),
        lambda rim: rim.replace(b'size="48"', b'size = "48"', 1),
        lambda rim: rim.replace(b"<SoftwareIdentity ", b'<SoftwareIdentity xml:base="x" ', 1),
        lambda rim: rim.replace(b'URI=""', b'URI="#x"'),
        lambda rim: rim.replace(b"enveloped-signature", b"base64"),
        lambda rim: rim.replace(b"ecdsa-sha384", b"hmac-sha384"),
        lambda rim: rim + b" ",
        lambda rim: rim[:-30],
        lambda rim: rim * 20,
        lambda rim: b"",
    ],
    ids=[
        "a dtd with an entity",
        "a comment",
        "an instruction",
        "a character by its number",
        "cdata",
        "another spelling",
        "xml:base",
        "a reference by id",
        "another transform",
        "another signature method",
        "something behind it",
        "cut off",
        "too large",
        "nothing",
    ],
)
def test_xml_beyond_the_one_profile_is_refused(change):
    assert rim_failed(change(GOOD_RIM)) == ["rim.form"]


@pytest.mark.breaks("rim.chain")
def test_a_manifest_with_a_valid_signature_of_a_foreign_chain_is_refused():
    data, answers = DRIVER_RIM.file(FOREIGN.rim_signer), FOREIGN.rim_answers(RESPONDER)
    assert rim_failed(data, answers=answers) == ["rim.chain"]
    assert not rim_failed(data, answers=answers, vendor=FOREIGN)


@pytest.mark.breaks("rim.chain")
def test_nothing_is_made_of_the_document_of_a_signer_that_nobody_vouches_for():
    """A canonical form is dear, and who sends one under a chain of their own would have it made."""
    steps = examine_nvidia_rim(DRIVER_RIM.file(FOREIGN.rim_signer), trusted(RIM_ANSWERS)).steps
    done = [one.id for one in steps if one.outcome is not Outcome.NOT_REACHED]
    assert done == ["rim.form", "rim.chain"]


@pytest.mark.breaks("rim.signature")
def test_a_manifest_is_read_and_verified_once_for_all_devices_that_it_is_tried_for():
    """Whoever sends 512 KiB of them beside the reports of many devices would else have each verified for each."""
    rim_module._covered_seen.cache_clear()
    rim_module._read_seen.cache_clear()
    changed = GOOD_RIM.replace(measured(30).hex().encode(), b"2" * 96)
    for _ in range(3):
        assert rim_failed(changed) == ["rim.signature"]
        assert not rim_failed(GOOD_RIM)
    for held in (rim_module._covered_seen, rim_module._read_seen):
        assert held.cache_info().misses == 2


@pytest.mark.breaks("rim.chain")
def test_the_root_of_devices_vouches_for_no_manifest():
    """A key in any GPU, certified by that root, could otherwise sign what GPUs are to measure."""
    signer = Authority(DEVICE.leaf, tuple(DEVICE.certificates()))
    unanswered = {"answers": (), "unsafe": NO_OCSP}
    assert rim_failed(DRIVER_RIM.file(signer), **unanswered) == ["rim.chain"]
    swapped = replace(trusted(unsafe=NO_OCSP), manifests=[VENDOR.device_root.pin])
    assert not examine_nvidia_rim(DRIVER_RIM.file(signer), swapped).failed


@pytest.mark.breaks("rim.chain")
def test_a_manifest_whose_signer_has_expired_is_refused():
    answers = VENDOR.rim_answers(Responder(life=Life(NOW, NOW + 9000)))
    assert rim_failed(GOOD_RIM, answers=answers, at=NOW + 1001) == ["rim.chain"]


@pytest.mark.breaks("rim.revocation")
def test_a_manifest_whose_signer_was_revoked_is_refused():
    answers = VENDOR.rim_answers(Responder(life=LIFE, status=OCSPCertStatus.REVOKED))
    assert rim_failed(GOOD_RIM, answers=[answers[0], RIM_ANSWERS[1]]) == ["rim.revocation"]
    assert rim_failed(GOOD_RIM, answers=RIM_ANSWERS[1:]) == ["rim.revocation"]


@pytest.mark.breaks("rim.signature")
def test_a_manifest_that_was_changed_after_it_was_signed_is_refused():
    value = measured(30).hex().encode()
    assert rim_failed(GOOD_RIM.replace(value, b"0" * 96)) == ["rim.signature"]


@pytest.mark.breaks("rim.signature")
def test_a_manifest_that_was_seen_before_is_not_taken_for_a_changed_one():
    value = measured(31).hex().encode()
    for _ in range(2):
        assert not rim_failed(GOOD_RIM)
        assert rim_failed(GOOD_RIM.replace(value, b"1" * 96)) == ["rim.signature"]
    assert rim_failed(GOOD_RIM, at=NOW + 1001) == ["rim.chain"]


def test_a_signer_whose_serial_number_is_none_is_refused_without_a_warning():
    signer = VENDOR.rim_signer.certificate
    number = signer.serial_number.to_bytes(8, "big")
    below = signer.public_bytes(Encoding.DER).replace(number, b"\x80" + number[1:], 1)
    chain = (parse_certificate(below), *VENDOR.rim_signer.chain[1:])
    assert rim_failed(DRIVER_RIM.file(Authority(VENDOR.rim_signer.key, chain))) == ["rim.chain"]


@pytest.mark.breaks("rim.signature")
def test_a_manifest_that_another_key_signed_is_refused():
    signer = Authority(made_key("another"), VENDOR.rim_signer.chain)
    assert rim_failed(DRIVER_RIM.file(signer)) == ["rim.signature"]


@pytest.mark.breaks("rim.form")
def test_a_signature_over_another_element_than_the_one_read_is_refused():
    """Signature wrapping: the signed manifest is carried along, and another one is put where it would be read."""
    false = replace(DRIVER_RIM, measurements={20: [bytes(48)]}).document().encode()
    whole, end = GOOD_RIM.strip(), b"</SoftwareIdentity>"
    start = whole.index(b"<ds:Signature ")
    signature = whole[start : -len(end)]
    inside = signature.replace(b"</ds:Signature>", b"<ds:Object>" + whole + b"</ds:Object></ds:Signature>")
    referring = DRIVER_RIM.file(VENDOR.rim_signer, reference="#made").strip()[start - len(whole) :]
    for wrapped in (
        false.removesuffix(end) + inside + end,
        false.removesuffix(end) + whole + signature + end,
        false.removesuffix(end) + signature + whole + end,
        false.removesuffix(end) + referring,
    ):
        assert rim_failed(wrapped) == ["rim.form"]
    assert rim_failed(false.removesuffix(end) + signature + end) == ["rim.signature"]


@pytest.mark.breaks("rim.content")
@pytest.mark.parametrize(
    "change",
    [
        {"edition": "CPU"},
        {"measurements": {}},
        {"version": ""},
    ],
    ids=["of a cpu", "nothing measured", "no version"],
)
def test_a_manifest_that_says_nothing_of_a_device_is_refused(change):
    assert rim_failed(replace(DRIVER_RIM, **change).file(VENDOR.rim_signer)) == ["rim.content"]


@pytest.mark.breaks("rim.content")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('index="21"', 'index="20"'),
        ('active="True" alternatives="1"', 'active="True" alternatives="2"'),
        ('active="True"', 'active="true"'),
        ('size="48"', 'size="32"'),
        ("Hash0", "Hash1"),
        ("<ns0:Payload>", "<ns0:Payload/><ns0:Payload>"),
    ],
    ids=["an index twice", "fewer hashes than said", "half active", "another size", "no first hash", "two payloads"],
)
def test_a_manifest_with_ambiguous_measurements_is_refused(old, new):
    document = DRIVER_RIM.document()
    assert old in document
    assert rim_failed(sign_rim(document.replace(old, new, 1), VENDOR.rim_signer)) == ["rim.content"]
