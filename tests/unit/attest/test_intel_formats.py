"""Quotes, PCK extensions and collateral are read as Intel's manuals say, or refused by name."""

import json
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.intel_collateral import parse_collateral, signed_document
from cloister.formats.intel_quote import MAXIMUM_QUOTE, declared_length, parse_quote
from cloister.formats.pck_certificate import parse_pck_extensions
from cloister.formats.sgx_report import parse_enclave_report
from cloister.formats.tcb_info import TcbStatus, parse_qe_identity, parse_tcb_info
from cloister.formats.td_report import parse_td_report
from cloister.testing.tdx_hardware import ENCLAVE, QE, TD, TdxHardware, encode_td_report

HARDWARE = TdxHardware(at=1_800_000_000)
OLD_TD = replace(TD, tee_tcb_svn_2=None, mr_service_td=None)
QUOTE = HARDWARE.quote()
EXTENSIONS = HARDWARE.extensions()
TCB_INFO = json.dumps(HARDWARE.tcb_info()).encode()
QE_IDENTITY = json.dumps(HARDWARE.qe_identity()).encode()


@pytest.mark.parametrize(
    ("version", "body", "read"),
    [(5, TD, TD), (5, OLD_TD, OLD_TD), (4, TD, OLD_TD), (3, ENCLAVE, ENCLAVE), (4, ENCLAVE, ENCLAVE)],
)
def test_a_quote_of_each_version_gives_its_body_back(version, body, read):
    quote = parse_quote(HARDWARE.quote(body, version=version))
    assert quote.header.version == version
    assert quote.body == read
    assert quote.signature.quoting_enclave.mr_signer == QE.mr_signer
    assert quote.signature.qe_authentication_data == bytes(range(32))


def changed(at, value):
    return QUOTE[:at] + value + QUOTE[at + len(value) :]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(QUOTE + b"\0", "1 bytes follow the quote", id="a byte behind it"),
        pytest.param(QUOTE[:-1], "in a buffer of", id="a byte too few"),
        pytest.param(changed(0, b"\x06"), "not a quote of version", id="version 6"),
        pytest.param(changed(2, b"\x03"), "attestation key type 3", id="another kind of key"),
        pytest.param(changed(4, b"\x82"), "no TEE type 0x82", id="another TEE"),
        pytest.param(changed(12, b"\0"), "of vendor", id="another vendor's QE"),
        pytest.param(changed(48, b"\x02"), "a body of type 2 and 648", id="a body of another size"),
        pytest.param(changed(48, b"\x07"), "a body of type 7", id="a body of no known type"),
        pytest.param(changed(834, b"\x05"), "certification data of type 5, not 6", id="no QE report"),
        pytest.param(b"", "ends after 0 bytes", id="nothing"),
    ],
)
def test_what_is_no_quote_is_malformed(data, says):
    with pytest.raises(MalformedInput, match=says):
        parse_quote(data)


def test_a_tdreport_in_place_of_a_quote_is_named_as_what_it_is():
    with pytest.raises(MalformedInput, match="a TDREPORT, which only the same machine can check"):
        parse_quote(b"\x81\0\0\0" + bytes(1020))


def test_evidence_over_its_cap_is_refused_unread():
    with pytest.raises(TooLarge):
        parse_quote(bytes(MAXIMUM_QUOTE + 1))


def test_a_buffer_is_cut_at_the_length_that_the_quote_declares():
    assert declared_length(QUOTE + bytes(70)) == len(QUOTE)


def test_the_extensions_give_platform_and_tcb():
    found = parse_pck_extensions(EXTENSIONS)
    assert (found.ppid, found.fmspc, found.pce_id) == (HARDWARE.ppid, HARDWARE.fmspc, HARDWARE.pce_id)
    assert (found.components, found.pce_svn, found.smt_enabled) == (HARDWARE.components, 13, True)


@pytest.mark.parametrize("svn", [0, 127, 128, 255])
def test_security_versions_of_every_size_are_read(svn):
    hardware = replace(HARDWARE, components=(svn,) * 16, pce_svn=40_000 + svn)
    found = parse_pck_extensions(hardware.extensions())
    assert (found.components, found.pce_svn) == ((svn,) * 16, 40_000 + svn)


def test_an_extension_of_another_size_is_malformed():
    with pytest.raises(MalformedInput, match="has 5 bytes, not 6"):
        parse_pck_extensions(replace(HARDWARE, fmspc=bytes(5)).extensions())


def test_tcb_info_of_version_2_is_read_as_one_of_version_3():
    new = HARDWARE.tcb_info(id="SGX")
    levels = []
    for one in new["tcbLevels"]:
        parts = {f"sgxtcbcomp{at:02}svn": part["svn"] for at, part in enumerate(one["tcb"]["sgxtcbcomponents"], 1)}
        levels.append({**one, "tcb": parts | {"pcesvn": one["tcb"]["pcesvn"]}})
        del one["tcb"]["tdxtcbcomponents"]
    old = new | {"version": 2, "tcbLevels": levels}
    for name in ("id", "tdxModule", "tdxModuleIdentities"):
        del old[name]
    del new["tdxModule"], new["tdxModuleIdentities"]
    assert parse_tcb_info(json.dumps(old).encode()) == parse_tcb_info(json.dumps(new).encode())


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"version": 4}, id="version 4"),
        pytest.param({"id": "SGX"}, id="levels of TDX under SGX"),
        pytest.param({"tdxModule": None}, id="no TDX module"),
        pytest.param({"tcbType": 1}, id="another arrangement of components"),
        pytest.param({"tcbLevels": []}, id="no levels"),
        pytest.param({"issueDate": "2026-02-30T00:00:00Z"}, id="no such day"),
        pytest.param({"fmspc": "90c06f0000"}, id="a short FMSPC"),
    ],
)
def test_tcb_info_that_says_something_else_is_malformed(changes):
    with pytest.raises(MalformedInput):
        parse_tcb_info(json.dumps(HARDWARE.tcb_info(**changes)).encode())


def test_a_status_that_nobody_knows_is_malformed():
    info = HARDWARE.tcb_info()
    info["tcbLevels"][0]["tcbStatus"] = "MostlyFine"
    with pytest.raises(MalformedInput, match="MostlyFine"):
        parse_tcb_info(json.dumps(info).encode())


def test_a_qe_identity_is_read():
    identity = parse_qe_identity(QE_IDENTITY)
    assert identity.tcb_levels[1].tcb_status is TcbStatus.OUT_OF_DATE
    assert identity.tcb_levels[1].advisory_ids == ("INTEL-SA-00003",)


def test_the_signed_bytes_are_those_of_the_document():
    spaced = b'{ "b" : [1,  2], "a":"\\u0041" }'
    document = b'{"tcbInfo": %b, "signature":"%b"}' % (spaced, b"ab" * 64)
    assert signed_document(document, "tcbInfo") == (spaced.decode(), "ab" * 64)


@pytest.mark.parametrize("document", [b"{}", b'{"tcbInfo":{},"signature":""}', b"[]", b'{"tcbInfo":{}', b"\xff"])
def test_what_is_no_signed_document_is_malformed(document):
    with pytest.raises(MalformedInput):
        signed_document(document, "tcbInfo")


def test_collateral_has_no_place_for_a_chain_of_its_own():
    whole = msgspec.to_builtins(HARDWARE.collateral())
    assert parse_collateral(json.dumps(whole).encode()).tcb_info == whole["tcb_info"]
    with pytest.raises(MalformedInput, match="pck_certificate_chain"):
        parse_collateral(json.dumps(whole | {"pck_certificate_chain": ""}).encode())


SEEDS = {
    parse_quote: QUOTE,
    parse_pck_extensions: EXTENSIONS,
    parse_tcb_info: TCB_INFO,
    parse_qe_identity: QE_IDENTITY,
    parse_collateral: json.dumps(msgspec.to_builtins(HARDWARE.collateral())).encode(),
    parse_td_report: encode_td_report(TD),
    parse_enclave_report: bytes(384),
}


@st.composite
def mutants(draw, seed):
    """A valid object with some bytes exchanged, and cut."""
    data = bytearray(seed)
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.sampled_from([len(data), draw(st.integers(0, len(data)))]))])


@pytest.mark.parametrize("parse", SEEDS)
@given(data=st.data())
def test_any_bytes_are_parsed_or_malformed(parse, data):
    given = data.draw(st.binary(max_size=700) | mutants(SEEDS[parse]))
    try:
        parse(given)
    except (MalformedInput, TooLarge):
        return
