"""What `cloister evidence show` says of evidence of every format, made up here; recorded ones: tests/vectors."""

import base64
import io
import json
import re
from dataclasses import replace

import pytest
from rich.console import Console
from tests.doubles.command_line import cloister_command
from tests.doubles.made_evidence import CHIP, made_evidence

from cloister.cli.evidence_show import NOT_VERIFIED, UNSIGNED, show_page
from cloister.cli.explained.formats import FORMATS, MAXIMUM_FILE, UnknownFormat, explain
from cloister.errors import TooLarge
from cloister.formats.snp_report import HOST_VMPL, GuestPolicy, PlatformInfo, SigningKey
from cloister.formats.td_report import TdAttributes
from cloister.testing.made_verifiers import IMAGE
from cloister.testing.tdx_hardware import TD, TdxHardware
from cloister.testing.world import NOON

MADE = made_evidence()


def values(page):
    return {field.name: field.value for part in page.parts for field in part.fields}


def printed(page):
    out = io.StringIO()
    show_page(Console(file=out, width=200, highlight=False, markup=False), page)
    return out.getvalue()


@pytest.mark.parametrize(
    ("wrap", "says"),
    [
        (lambda data: data.hex().encode() + b"\n", "hexadecimal digits of an AWS Nitro document (COSE): decode"),
        (lambda data: b"0x" + data.hex().upper().encode(), "hexadecimal digits of an AWS Nitro document (COSE)"),
        (base64.encodebytes, "Base64 of an AWS Nitro document (COSE): decode it"),
        (lambda data: base64.urlsafe_b64encode(data).rstrip(b"="), "Base64 of an AWS Nitro document (COSE)"),
        (
            lambda data: len(data).to_bytes(4, "little") + data,
            "an AWS Nitro document (COSE) begins at offset 4, behind the bytes ",
        ),
        (lambda data: b"\0" * 16 + data, "an AWS Nitro document (COSE) begins at offset 16"),
    ],
    ids=["hex", "0x", "base64", "base64url", "length", "header"],
)
def test_a_known_format_in_an_unknown_wrapping_is_told_and_not_taken(wrap, says):
    with pytest.raises(UnknownFormat, match=re.escape(says)):
        explain(wrap(MADE["nitro-document"]))


@pytest.mark.parametrize("name", MADE)
def test_the_format_is_found_out_and_every_field_is_explained_in_a_sentence(name):
    page = explain(MADE[name])
    assert page.format == name.partition(":")[0]
    for part in page.parts:
        names = [field.name for field in part.fields]
        assert len(set(names)) == len(names)
        for field in part.fields:
            assert re.fullmatch(r"[A-Za-z0-9_.-]+", field.name)
            assert field.says.endswith("."), field


def test_every_format_of_the_table_is_made_up_here():
    explained = {one.explain(MADE[name]).format for one in FORMATS for name in MADE if _takes(one, MADE[name])}
    assert explained == {name.partition(":")[0] for name in MADE}
    assert len(FORMATS) + 1 == len(explained)  # quotes of TDX and SGX are one format


def _takes(one, data):
    try:
        one.explain(data)
    except Exception:  # noqa: BLE001 - only whether it does
        return False
    return True


@pytest.mark.parametrize("name", MADE)
def test_no_evidence_is_of_two_formats(name):
    assert sum(_takes(one, MADE[name]) for one in FORMATS) == 1


@pytest.mark.parametrize("name", MADE)
def test_a_person_is_told_first_that_nothing_was_verified(name):
    assert printed(explain(MADE[name])).splitlines()[1] == NOT_VERIFIED


@pytest.mark.parametrize(
    ("name", "unsigned"),
    [
        ("snp-report", []),
        ("tsm-report", ["tsm", "certificates.crl"]),
        ("tdx-quote", []),
        ("tdx-quote:buffer", ["behind"]),
        ("quote-record", ["event_log", "agent"]),
        ("azure-evidence", ["header"]),
        ("azure-evidence:tdx", ["header", "td_report"]),
        ("nvidia-envelope", ["devices.0.envelope"]),
        ("event-log", ["event_log"]),
        ("runtime-log", ["event_log"]),
        ("cloister-evidence", ["evidence"]),
        ("cloister-evidence:verifier", ["evidence", "report"]),
    ],
)
def test_what_nobody_signed_is_marked(name, unsigned):
    page = explain(MADE[name])
    assert [part.name for part in page.parts if part.signed_by is None] == unsigned
    assert printed(page).count(UNSIGNED) == len(unsigned)


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"policy": GuestPolicy(1 << 17 | 1 << 19)}, "policy.debug", True),
        ({"policy": GuestPolicy(1 << 17 | 1 << 18)}, "policy.migrate_ma", True),
        ({"policy": GuestPolicy(1 << 17 | 0x0137)}, "policy.abi", "1.55"),
        ({"platform_info": PlatformInfo(0)}, "platform_info.alias_check_complete", False),
        ({"vmpl": HOST_VMPL}, "vmpl", "host"),
        ({"signing_key": SigningKey.VLEK}, "signing_key", "VLEK"),
        ({"report_data": b"\1" * 64}, "report_data", "01" * 64),
        ({"launch_mit_vector": 5}, "launch_mit_vector", 5),
        ({"cpuid": (0x1A, 0x02, 1)}, "product", "Turin"),
        ({"committed_firmware": (1, 55, 12)}, "committed_firmware", "1.55.12"),
    ],
)
def test_a_field_of_an_snp_report_is_said(change, field, value):
    before, after = (values(explain(CHIP.sign(report))) for report in (CHIP.report(), replace(CHIP.report(), **change)))
    assert before[field] != value
    assert after[field] == value


def test_what_a_verifier_says_in_place_of_a_report_is_told_claim_by_claim():
    page = explain(MADE["cloister-evidence:verifier"])
    said = values(page)
    assert (said["verifier"], said["alg"], said["hwmodel"]) == ("google", "RS256", "GCP_INTEL_TDX")
    assert said["submods.container.image_digest"] == f"sha256:{IMAGE.hex()}"
    assert said["submods.confidential_space.support_attributes"] == '["LATEST", "STABLE", "USABLE"]'
    assert said["eat_nonce"] == said["qualifying_data"]
    assert said["__31m"] == "red"
    assert [part.name for part in page.parts][-3:] == ["x5c.0", "x5c.1", "x5c.2"]
    assert "nobody here sees the evidence" in printed(page)


def test_the_components_of_a_tcb_are_those_of_the_product():
    milan, turin = values(explain(MADE["snp-report"])), values(explain(MADE["snp-report:turin"]))
    assert (milan["reported_tcb.snp"], milan["reported_tcb.microcode"]) == (24, 219)
    assert (turin["reported_tcb.fmc"], turin["reported_tcb.bootloader"]) == (1, 4)
    assert "reported_tcb.fmc" not in milan


def test_a_report_of_a_product_that_is_not_known_is_told_without_components():
    said = values(explain(CHIP.sign(replace(CHIP.report(), cpuid=(0x17, 1, 1)))))
    assert said["product"] is None
    assert "reported_tcb" in said
    assert "reported_tcb.snp" not in said


@pytest.mark.parametrize("bit", list(TdAttributes), ids=lambda bit: bit.name)
def test_each_attribute_of_a_td_is_said(bit):
    name = f"td_attributes.{bit.name.lower()}"
    hardware = TdxHardware(at=NOON)
    clear, raised = (
        values(explain(hardware.quote(replace(TD, td_attributes=TdAttributes(bits))))) for bits in (0, int(bit))
    )
    assert (clear[name], raised[name]) == (False, True)


def test_a_buffer_that_is_longer_than_its_quote_says_where_to_cut_it():
    data = MADE["tdx-quote:buffer"]
    (behind,) = explain(data).parts[-1].fields
    assert behind.value == 70
    assert f"head -c {len(data) - 70} cuts it" in behind.says


def test_a_chain_that_cannot_be_read_does_not_hide_what_it_came_with():
    quote = MADE["tdx-quote"].replace(b"-----BEGIN CERTIFICATE-----\nM", b"-----BEGIN CERTIFICATE-----\nN", 1)
    page = explain(quote)
    assert page.format == "tdx-quote"
    assert "malformed" in {field.name for part in page.parts if part.name == "pck_chain" for field in part.fields}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "an empty file"),
        (b"nonsense", "not evidence of a format that is known here"),
        (MADE["snp-report"][:-1], "it begins like an SEV-SNP report, but: an SNP report has 1184 bytes, not 1183"),
        (MADE["tdx-quote"][:-1], "it begins like an Intel quote (TDX 4 and 5, SGX 3), but: a quote of"),
        (b"\x81\0".ljust(1024, b"\0"), "a TDREPORT, which only the same machine can check"),
        (MADE["azure-evidence"][:-2], "it begins like Azure confidential VM evidence (JSON), but:"),
        (MADE["nvidia-report"][:-1], "it begins like an NVIDIA report (SPDM), but: the signature has 96 bytes"),
    ],
)
def test_what_is_no_evidence_says_what_was_tried(data, says):
    with pytest.raises(UnknownFormat) as refused:
        explain(data)
    assert says in str(refused.value)
    assert all(one.what in str(refused.value) for one in FORMATS)


def test_a_gibibyte_is_refused_before_any_work():
    with pytest.raises(TooLarge):
        explain(bytes(MAXIMUM_FILE + 1))


async def test_the_command_prints_json_for_programs(tmp_path):
    (tmp_path / "report.bin").write_bytes(MADE["snp-report"])
    ran = await cloister_command("evidence", "show", "--json", "report.bin", home=tmp_path)
    said = json.loads(ran.out)
    assert ran.code == 0
    assert (said["format"], said["verified"], said["parts"][0]["name"]) == ("snp-report", False, "report")
    fields = {field["name"]: field["value"] for field in said["parts"][0]["fields"]}
    assert (fields["policy.debug"], fields["measurement"]) == (False, (b"m" * 48).hex())


async def test_the_command_never_reads_more_than_the_cap(tmp_path):
    ran = await cloister_command("evidence", "show", "/dev/zero", home=tmp_path)
    assert ran.code == 2
    assert f"has more than {MAXIMUM_FILE} bytes" in ran.err


async def test_what_a_file_says_does_not_move_the_cursor(tmp_path):
    (tmp_path / "log.json").write_bytes(MADE["runtime-log"].replace(b"app-id", b"\\u001b[2Japp"))
    ran = await cloister_command("evidence", "show", "log.json", home=tmp_path)
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert "\ufffd[2Japp" in ran.out


async def test_a_file_that_is_not_there_or_no_evidence_is_wrong_usage(tmp_path):
    ran = await cloister_command("evidence", "show", "absent.bin", home=tmp_path)
    assert (ran.code, "absent.bin cannot be read: No such file" in ran.err) == (2, True)
    ran = await cloister_command("evidence", "show", "-", home=tmp_path)  # its standard input is empty
    assert (ran.code, "an empty file" in ran.err) == (2, True)
