"""SEV-SNP reports, TCB versions and certificate tables parse in one way, or not at all."""

import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.snp_certificate_table import ARK, ASK, MAXIMUM_TABLE, VCEK, VLEK, parse_certificate_table
from cloister.formats.snp_report import HOST_VMPL, GuestPolicy, PlatformInfo, parse_snp_report
from cloister.formats.snp_tcb import Product, Tcb, product_of_cpuid, product_of_name
from cloister.testing.snp_hardware import SnpHardware

MILAN = SnpHardware()
GOOD = MILAN.sign(MILAN.report())
RESERVED = {
    2: [0x04C, 0x04F, 0x188, 0x18A, 0x19F, 0x1EB, 0x1EF, 0x1F8, 0x29F],
    3: [0x04C, 0x18B, 0x19F, 0x1EB, 0x1EF, 0x1F8, 0x207, 0x29F],
    4: [0x18B, 0x1F8, 0x207, 0x29F],
    5: [0x18B, 0x1EB, 0x1EF, 0x208, 0x29F, 0x2A0 + 48, 0x2E7, 0x2E8 + 48, 0x32F, 0x330, 0x49F],
}


def changed(data, at, value):
    return data[:at] + bytes([value]) + data[at + 1 :]


@pytest.mark.parametrize("product", Product)
@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_every_field_of_a_report_is_read_back(product, version):
    hardware = SnpHardware(product)
    report = replace(hardware.report(version), vmpl=3, author_key_en=False, mask_chip_key=True)
    parsed = parse_snp_report(hardware.sign(report))
    assert parsed.report == report
    assert parsed.report.product is (None if version == 2 else product)
    assert len(parsed.signed) == 672


def test_a_report_that_the_host_asked_for_says_so():
    assert parse_snp_report(MILAN.sign(replace(MILAN.report(), vmpl=HOST_VMPL))).report.vmpl == HOST_VMPL


@pytest.mark.parametrize("data", [b"", GOOD[:672], GOOD[:-1], GOOD + b"\0", GOOD * 2])
def test_a_report_has_its_size(data):
    with pytest.raises(MalformedInput, match="1184 bytes"):
        parse_snp_report(data)


@pytest.mark.parametrize("version", [0, 1, 6, 255])
def test_versions_that_nobody_published_are_refused(version):
    with pytest.raises(MalformedInput, match=f"version {version}"):
        parse_snp_report(changed(GOOD, 0, version))


@pytest.mark.parametrize(("version", "at"), [(version, at) for version, all_of in RESERVED.items() for at in all_of])
def test_reserved_bytes_are_zero(version, at):
    data = MILAN.sign(MILAN.report(version))
    parse_snp_report(data)
    with pytest.raises(MalformedInput, match=r"reserved bytes|key information"):
        parse_snp_report(changed(data, at, 1))


@pytest.mark.parametrize(
    ("at", "value"),
    [(0x34, 0), (0x34, 2), (0x37, 1), (0x30, 4), (0x0A, 0), (0x0B, 4), (0x0F, 0x80), (0x48, 2 << 2), (0x48, 0x20)],
    ids=["no-algorithm", "algorithm", "algorithm-high", "vmpl", "bit-17", "bit-26", "bit-63", "signer", "keys"],
)
def test_a_field_outside_of_its_values_is_refused(at, value):
    with pytest.raises(MalformedInput):
        parse_snp_report(changed(GOOD, at, value))


def test_policy_and_platform_bits_have_the_manuals_places():
    policy = GuestPolicy(0x00B0_0A37)
    assert policy.abi == (0x0A, 0x37)
    assert [name for name in ("SMT", "DEBUG", "MIGRATE_MA", "SINGLE_SOCKET", "CXL_ALLOW") if policy.allows(name)] == [
        "SINGLE_SOCKET",
        "CXL_ALLOW",
    ]
    assert GuestPolicy(0xB0000).allows("DEBUG")
    assert PlatformInfo(0x25).has("ALIAS_CHECK_COMPLETE")
    assert not PlatformInfo(0x1F).has("ALIAS_CHECK_COMPLETE")


@given(st.binary(max_size=1300) | st.binary(min_size=1180, max_size=1180).map(b"\5\0\0\0".__add__))
def test_any_bytes_are_a_report_or_malformed(data):
    with pytest.raises(MalformedInput):
        parse_snp_report(data)


@given(st.integers(0, 1183), st.integers(0, 255))
def test_a_report_that_parses_has_one_encoding(at, value):
    data = changed(GOOD, at, value)
    try:
        parsed = parse_snp_report(data)
    except MalformedInput:
        return
    assert parsed.signed == data[:672]
    assert (parsed == parse_snp_report(GOOD)) is (data == GOOD)


@pytest.mark.parametrize(
    ("product", "data", "levels"),
    [
        (Product.MILAN, "04000000000018db", {"bootloader": 4, "tee": 0, "snp": 24, "microcode": 219}),
        (Product.GENOA, "0a01000000001954", {"bootloader": 10, "tee": 1, "snp": 25, "microcode": 84}),
        (Product.TURIN, "0001000200000047", {"fmc": 0, "bootloader": 1, "tee": 0, "snp": 2, "microcode": 71}),
    ],
)
def test_a_tcb_version_is_read_as_its_product_has_it(product, data, levels):
    tcb = Tcb.parse(bytes.fromhex(data), product)
    assert tcb.levels() == levels
    assert tcb.encode(product).hex() == data
    assert tcb.below(tcb) == []


@given(st.binary(max_size=9), st.sampled_from(Product))
def test_any_bytes_are_a_tcb_version_or_malformed(data, product):
    try:
        tcb = Tcb.parse(data, product)
    except MalformedInput:
        return
    assert tcb.encode(product) == data


def test_a_newer_component_makes_up_for_no_older_one():
    old, new = Tcb(None, 3, 0, 255, 255), Tcb(None, 4, 0, 1, 1)
    assert old.below(new) == ["bootloader 3 is below 4"]
    assert new.below(old) == ["snp 1 is below 255", "microcode 1 is below 255"]
    assert old.below(replace(old, fmc=0)) == ["there is no fmc, and 0 is demanded"]


@pytest.mark.parametrize(
    ("family", "model", "product"),
    [
        (0x19, 0x01, Product.MILAN),
        (0x19, 0x11, Product.GENOA),
        (0x19, 0xA0, Product.GENOA),
        (0x1A, 0x02, Product.TURIN),
        (0x1A, 0x11, Product.TURIN),
        (0x19, 0x21, None),
        (0x1A, 0x50, None),
        (0x17, 0x31, None),
        (0x00, 0x00, None),
    ],
)
def test_a_product_is_known_by_its_cpuid(family, model, product):
    assert product_of_cpuid(family, model) is product


def test_a_product_is_known_by_the_name_in_its_certificate():
    names = ["Milan-B0", "Milan", "Genoa", "Bergamo-A1", "Siena", "Turin-C1", "Rome", ""]
    products = [Product.MILAN, Product.MILAN, *[Product.GENOA] * 3, Product.TURIN, None, None]
    assert [product_of_name(name) for name in names] == products


def table(*entries, closing=bytes(24), gap=0, behind=b""):
    head, body, at = b"", b"", (len(entries) + 1) * 24 + gap
    for kind, content in entries:
        head += kind.bytes + at.to_bytes(4, "little") + len(content).to_bytes(4, "little")
        body += content + bytes(gap)
        at += len(content) + gap
    return head + closing + bytes(gap) + (body[: len(body) - gap] if gap else body) + behind


OTHER = uuid.uuid5(uuid.NAMESPACE_DNS, "example.org")
FULL = table((ARK, b"root"), (OTHER, b"?"), (ASK, b"between"), (VCEK, b"chip"))


def test_a_certificate_table_gives_its_chain_the_chips_key_first():
    assert parse_certificate_table(FULL).chain() == (b"chip", b"between", b"root")
    assert parse_certificate_table(FULL).get(VLEK) is None
    assert parse_certificate_table(table()).chain() == ()
    assert parse_certificate_table(table((ARK, b"root"), (VCEK, b"chip"), gap=8)).chain() == (b"chip", b"root")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(23),
        FULL[:72],
        FULL[:-1],
        FULL + b"\0",
        table((VCEK, b"a"), (VCEK, b"b")),
        table((VCEK, b"a"), closing=bytes(16) + b"\1" + bytes(7)),
        table((VCEK, b"abcd"))[:16] + (47).to_bytes(4, "little") + table((VCEK, b"abcd"))[20:],
        table((VCEK, b"abcd"))[:16] + (49).to_bytes(4, "little") + table((VCEK, b"abcd"))[20:],
    ],
    ids=["empty", "short", "no-end", "cut", "longer", "twice", "closing", "before", "behind"],
)
def test_a_certificate_table_that_is_not_laid_out_is_malformed(data):
    with pytest.raises(MalformedInput):
        parse_certificate_table(data)


def test_certificate_tables_over_their_caps_are_refused():
    with pytest.raises(TooLarge):
        parse_certificate_table(bytes(MAXIMUM_TABLE + 1))
    with pytest.raises(TooLarge, match="16 entries"):
        parse_certificate_table(table(*((uuid.UUID(int=number + 1), b"a") for number in range(17))))


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda data: FULL[: len(data)] + data))
def test_any_bytes_are_a_certificate_table_or_malformed(data):
    try:
        found = parse_certificate_table(data)
    except (MalformedInput, TooLarge):
        return
    assert all(content in data for _, content in found.entries)
