"""Reports, device certificates, manifests and envelopes: their bytes parse into what they say, or are malformed."""

import base64
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.dice_certificate import DeviceName, parse_device_name, parse_fwids
from cloister.formats.nvidia_envelope import MAXIMUM_ENVELOPE, parse_nvidia_envelope
from cloister.formats.nvidia_report import DRIVER_VERSION, MAXIMUM_REPORT, parse_nvidia_report
from cloister.formats.nvidia_rim import MAXIMUM_RIM, parse_manifest, parse_rim_file
from cloister.formats.small_xml import (
    MAXIMUM_ATTRIBUTES,
    MAXIMUM_DEPTH,
    MAXIMUM_NAMESPACES,
    MAXIMUM_TAGS,
    MAXIMUM_WORD,
    parse_small_xml,
)
from cloister.testing.certificates import Life
from cloister.testing.nvidia_hardware import MadeDevice, MadeRim, NvidiaVendor, der, measured

VENDOR = NvidiaVendor(Life(0, 10**9))
DEVICE = MadeDevice(vendor=VENDOR)
NONCE = bytes(range(32))
REPORT = DEVICE.report(NONCE)
RIM = MadeRim(version="550.90.07", measurements={7: [measured(7), measured(8)]})
RIM_FILE = RIM.file(VENDOR.rim_signer)
MANIFEST = RIM.document().encode()
SHA384 = bytes.fromhex("0609608648016503040202")
FWID = der(0x30, SHA384 + der(0x04, bytes(range(48))))
ENTRY = {
    "arch": "HOPPER",
    "nonce": NONCE.hex(),
    "evidence": base64.b64encode(REPORT).decode(),
    "certificate": base64.b64encode(DEVICE.chain()).decode(),
}


def malformed(parse, *inputs):
    for data in inputs:
        with pytest.raises(MalformedInput):
            parse(data)


def test_a_report_is_read_field_by_field():
    report = parse_nvidia_report(REPORT)
    assert report.signed.nonce == NONCE
    assert report.signed.text(DRIVER_VERSION) == "550.90.07"
    assert report.signed.measurements[8].value == measured(7)
    assert (report.signed.measurements[8].kind, report.signed.measurements[8].raw) == (1, False)
    assert report.signed_bytes + report.signature == REPORT
    assert report.stray == b""


def test_one_stray_zero_is_told_apart_and_anything_more_is_malformed():
    assert parse_nvidia_report(REPORT + b"\0").stray == b"\0"
    malformed(parse_nvidia_report, REPORT + b"\1", REPORT + b"\0\0", REPORT + REPORT)


def test_another_message_or_version_is_malformed():
    for at in (0, 1, 2, 3, 36, 37, 38, 39, 40):
        malformed(parse_nvidia_report, REPORT[:at] + bytes([REPORT[at] ^ 1]) + REPORT[at + 1 :])


def test_a_report_that_is_cut_anywhere_is_malformed():
    malformed(parse_nvidia_report, *(REPORT[:size] for size in range(0, len(REPORT), 13)))


def test_a_measurement_or_field_that_comes_twice_is_malformed():
    second = 37 + 8 + 55
    malformed(parse_nvidia_report, REPORT[:second] + b"\1" + REPORT[second + 1 :])
    opaque = REPORT.index(b"\x06\0\x08\0")
    malformed(parse_nvidia_report, REPORT[:opaque] + b"\3" + REPORT[opaque + 1 :])


def test_a_measurement_of_another_specification_is_malformed():
    malformed(parse_nvidia_report, REPORT[:46] + b"\2" + REPORT[47:])


def test_what_is_over_its_cap_is_refused_unread():
    for parse, size in (
        (parse_nvidia_report, MAXIMUM_REPORT),
        (parse_rim_file, MAXIMUM_RIM),
        (parse_manifest, MAXIMUM_RIM),
        (parse_nvidia_envelope, MAXIMUM_ENVELOPE),
    ):
        with pytest.raises(TooLarge):
            parse(bytes(size + 1))


def test_firmware_ids_of_both_kinds_of_extension_are_read():
    composite = der(0x30, der(0x02, b"\1") + der(0x30, b"") + FWID)
    unused = der(0x30, SHA384 + der(0x04, bytes(48)))
    information = der(0x30, der(0x80, b"NVIDIA") + der(0xA6, FWID + unused) + der(0x87, b"\0"))
    assert parse_fwids(composite) == parse_fwids(information) == (bytes(range(48)),)
    assert parse_fwids(der(0x30, der(0x80, b"NVIDIA"))) == ()


def test_firmware_ids_by_another_hash_or_in_another_coding_are_malformed():
    sha256 = der(0x30, bytes.fromhex("0609608648016503040201") + der(0x04, bytes(32)))
    short = der(0x30, SHA384 + der(0x04, bytes(47)))
    for layer in (sha256, short, FWID[:-1], der(0x31, SHA384)):
        malformed(parse_fwids, der(0x30, der(0xA6, layer)), der(0x30, der(0x02, b"\1") + der(0x30, b"") + layer))
    malformed(parse_fwids, b"\x30\x80\0\0", b"\x30\x81\x01\0", b"\x30\x82\0\x01\0", b"\x3f\x01\0", b"", bytes(5000))
    malformed(parse_fwids, der(0x30, der(0x02, b"\1") + FWID))


def test_a_device_is_named():
    assert parse_device_name(der(0x0C, b"NVIDIA:GH100:48B0")) == DeviceName("NVIDIA", "GH100", "48B0")
    for text in (b"NVIDIA:GH100", b"NVIDIA:GH100:1:2", b"NVIDIA::1", b"N:G:\n", b"N:G:\xff"):
        malformed(parse_device_name, der(0x0C, text))
    malformed(parse_device_name, der(0x16, b"NVIDIA:GH100:48B0"), der(0x0C, b"N:G:1") + b"\0")


def test_a_manifest_is_read_with_its_alternatives_and_active_indices_only():
    found = parse_manifest(MANIFEST)
    assert (found.product, found.edition, found.version) == ("GH100", "GPU", "550.90.07")
    assert found.measurements == {7: (measured(7), measured(8))}


def test_a_file_is_read_with_its_chain_declared_or_not():
    assert len(parse_rim_file(RIM_FILE).certificates) == 3
    declared = b"<?xml version='1.0' encoding='UTF-8'?>\n"
    assert parse_rim_file(declared + RIM_FILE) == parse_rim_file(RIM_FILE) == parse_rim_file(RIM_FILE.strip())
    malformed(parse_rim_file, declared * 2 + RIM_FILE, declared.replace(b"UTF-8", b"UTF-16") + RIM_FILE)


def test_another_spelling_of_base64_is_malformed():
    value = b"<ds:SignatureValue>"
    for spelled in (value + b" ", value + b"=", value + b"A", value + b"\n"):
        malformed(parse_rim_file, RIM_FILE.replace(value, spelled))
    malformed(parse_rim_file, RIM_FILE.replace(b"<ds:X509Certificate>", b"<ds:X509Certificate>\n", 1))


def test_elements_of_the_signature_in_other_places_are_malformed():
    outside = RIM_FILE.replace(b"</ds:X509Data>", b"", 1).replace(b"<ds:X509Data>", b"<ds:X509Data/>", 1)
    malformed(parse_rim_file, outside, RIM_FILE.replace(b"<ds:KeyInfo>", b"<ds:KeyInfo><ds:KeyValue/>"))


@pytest.mark.parametrize("text", [b" ", b"\n", b"told"], ids=["space", "line", "words"])
@pytest.mark.parametrize("name", ["Signature", "SignedInfo", "Reference", "KeyInfo", "X509Data", "X509Certificate"])
def test_text_between_the_elements_of_the_signature_is_malformed(name, text):
    """Nobody signs what stands in KeyInfo; a second spelling of one file would be another file of the same word."""
    end = f"</ds:{name}>".encode()
    malformed(parse_rim_file, RIM_FILE.replace(end, end + text, 1))
    if name != "X509Certificate":
        begin = re.findall(rb"<ds:%s[^>]*>" % name.encode(), RIM_FILE)[0]
        malformed(parse_rim_file, RIM_FILE.replace(begin, begin + text, 1))


SMALL = "<a>%s</a>"


@pytest.mark.parametrize(
    ("inside", "cap"),
    [
        ("<b {}/>".format(" ".join(f'xmlns:x{n}="urn:{n}"' for n in range(MAXIMUM_NAMESPACES))), "namespaces"),
        ("<b/>" * (MAXIMUM_TAGS - 2), "tags"),
        ("<b></b>" * (MAXIMUM_TAGS // 2 - 1), "tags"),
        ("<b>" * (MAXIMUM_DEPTH - 1) + "</b>" * (MAXIMUM_DEPTH - 1), "within one another"),
        ("<b {}/>".format(" ".join(f'x{n}="1"' for n in range(MAXIMUM_ATTRIBUTES))), "attributes"),
        (f'<b x="{"v" * MAXIMUM_WORD}"/>', "name or value"),
        (f"<{'b' * (MAXIMUM_WORD - 1)}/>", "name or value"),
    ],
    ids=["namespaces", "empty elements", "tags", "depth", "attributes", "value", "name"],
)
def test_xml_is_held_to_its_caps_before_libxml2_sees_it(inside, cap):
    """Each cap is met by what stands here, and one more is too many; a document that is no XML tells who refused."""
    assert parse_small_xml((SMALL % inside).encode()) is not None
    more = {
        "namespaces": inside.replace("<b ", '<b xmlns:more="urn:more" '),
        "tags": inside + "<b/>",
        "within one another": inside.replace("<b></b>", "<b><b/></b>"),
        "attributes": inside.replace("<b ", '<b more="1" '),
        "name or value": inside.replace("vvv", "vvvv", 1).replace("bbb", "bbbb", 1),
    }[cap]
    assert more != inside
    for ending in ("", "</this is no XML>"):
        with pytest.raises(TooLarge, match=cap):
            parse_small_xml((SMALL % more + ending).encode())


def test_a_document_whose_canonical_form_would_take_the_cube_of_its_size_is_refused_unread():
    """900 namespaces in scope of 2,700 elements: 59 KB took 17 seconds."""
    declared = " ".join(f'xmlns:x{n:x}="urn:{n:x}"' for n in range(900))
    children = "".join(f"<x{n * 31 % 900:x}:b/>" for n in range(2700))
    with pytest.raises(TooLarge, match="namespaces"):
        parse_rim_file(RIM_FILE.replace(b"<ns0:Entity", f"<a {declared}>{children}</a><ns0:Entity".encode(), 1))


def test_values_and_tags_that_could_be_told_in_two_ways_are_malformed():
    malformed(parse_small_xml, b"<a b='c'/>", b'<a b="c>d"/>', b"<a>b>c</a>", b"<a><b</a>", b"<a", b"<")


def test_an_envelope_is_read():
    (found,) = parse_nvidia_envelope(json.dumps([ENTRY]).encode())
    chain = base64.b64decode(ENTRY["certificate"])
    assert (found.architecture, found.nonce, found.report, found.chain) == ("hopper", NONCE, REPORT, chain)


@pytest.mark.parametrize(
    "change",
    [
        {"arch": "AMPERE"},
        {"nonce": "00"},
        {"nonce": "aA" * 32},
        {"evidence": "!"},
        {"evidence": "AB=="},
        {"certificate": ""},
        {"more": 1},
    ],
)
def test_an_envelope_with_anything_else_is_malformed(change):
    malformed(parse_nvidia_envelope, json.dumps([ENTRY | change]).encode(), b"[]", json.dumps([ENTRY] * 17).encode())


def parsed_or_malformed(parse, data):
    try:
        parse(data)
    except (MalformedInput, TooLarge):
        return


PARSERS = {
    parse_nvidia_report: REPORT,
    parse_fwids: der(0x30, der(0xA6, FWID)),
    parse_device_name: der(0x0C, b"NVIDIA:GH100:48B0"),
    parse_rim_file: RIM_FILE,
    parse_manifest: MANIFEST,
    parse_nvidia_envelope: json.dumps([ENTRY]).encode(),
}


@pytest.mark.parametrize("parse", PARSERS)
@given(st.data())
def test_any_bytes_parse_or_are_malformed(parse, data):
    seed = PARSERS[parse]
    at = data.draw(st.integers(0, len(seed)))
    cut = data.draw(st.integers(0, 9))
    parsed_or_malformed(parse, seed[:at] + data.draw(st.binary(max_size=9)) + seed[at + cut :])
    parsed_or_malformed(parse, data.draw(st.binary(max_size=60)))
