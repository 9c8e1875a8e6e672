"""An SEV-SNP report is AMD's word where everything about it holds: each link broken alone."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from cloister.attest.certificates import fingerprint
from cloister.attest.roots import AMD_ARKS
from cloister.attest.seen import SEEN_NOTHING, SeenEndorsements, SeenList
from cloister.attest.snp.authentic import SNP_STEPS, SnpEndorsements, SnpRefused, examine_snp
from cloister.attest.snp.endorsement_key import (
    CSP_ID,
    HARDWARE_ID,
    PRODUCT_NAME,
    RESERVED_LEVELS,
    SECURITY_PATCH_LEVELS,
)
from cloister.examination import Outcome
from cloister.formats.snp_report import SigningKey
from cloister.formats.snp_tcb import Product, Tcb
from cloister.testing.certificates import Life
from cloister.testing.snp_hardware import LIFE, SnpHardware, der_integer, der_text

NOW = 1_800_000_000
MILAN = SnpHardware()
GOOD = MILAN.sign(MILAN.report())
GIVEN = MILAN.endorsements()
VLEK = replace(MILAN.report(), signing_key=SigningKey.VLEK, chip_id=bytes(64))


def examined(report=GOOD, endorsements=None, *, hardware=MILAN, roots=None, at=NOW, unsafe=(), seen=SEEN_NOTHING):
    given = endorsements or (GIVEN if hardware is MILAN else hardware.endorsements())
    return examine_snp(report, given, roots=roots or hardware.roots, at=at, unsafe=unsafe, seen=seen)


def shortfall(examination, check):
    with pytest.raises(SnpRefused, match=check):
        examination.require()
    return next(step.detail for step in examination.steps if step.id == check)


@pytest.mark.parametrize("product", Product)
@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_a_report_of_each_product_and_version_is_authentic(product, version):
    hardware = SnpHardware(product)
    examination = examined(hardware.sign(hardware.report(version)), hardware=hardware)
    assert examination.passed == list(SNP_STEPS)
    authentic = examination.require()
    assert authentic.report == hardware.report(version)
    assert authentic.key.product is product
    assert authentic.reported == authentic.current == authentic.committed == authentic.launch == hardware.tcb


def test_a_report_signed_by_a_vlek_is_authentic():
    examination = examined(MILAN.sign(VLEK), MILAN.endorsements(SigningKey.VLEK))
    assert examination.passed == list(SNP_STEPS)
    assert examination.require().key.csp_id == "CN=a made-up cloud"


def test_made_up_hardware_is_refused_under_amds_own_roots():
    assert examined(roots=AMD_ARKS).failed == ["snp.chain"]


@pytest.mark.breaks("snp.form")
@pytest.mark.parametrize(
    "report", [b"", GOOD[:-1], GOOD + b"\0", b"\6" + GOOD[1:]], ids=["nothing", "cut", "longer", "version 6"]
)
def test_what_is_no_report_is_refused(report):
    assert examined(report).failed == ["snp.form"]


def test_a_gigabyte_is_refused_by_its_size():
    assert "not 1073741824" in shortfall(examined(bytes(1 << 30)), "snp.form")


@pytest.mark.breaks("snp.endorsement")
@pytest.mark.parametrize(
    "values",
    [
        {PRODUCT_NAME: None},
        {PRODUCT_NAME: der_text(b"Naples")},
        {PRODUCT_NAME: b"Milan-B0"},
        {HARDWARE_ID: None},
        {HARDWARE_ID: bytes(63)},
        {HARDWARE_ID: bytes(8)},
        {CSP_ID: der_text(b"CN=both")},
        {SECURITY_PATCH_LEVELS["snp"]: None},
        {SECURITY_PATCH_LEVELS["snp"]: der_integer(256)},
        {SECURITY_PATCH_LEVELS["snp"]: b"\x02\x02\x00\x18"},
        {SECURITY_PATCH_LEVELS["fmc"]: der_integer(0)},
        {RESERVED_LEVELS[0]: der_integer(1)},
    ],
    ids=[
        "no product",
        "an older product",
        "a product without its type",
        "neither chip nor cloud",
        "a hardware id too short",
        "another products hardware id",
        "both chip and cloud",
        "a component left out",
        "a level over 255",
        "a level in two spellings",
        "a component of another product",
        "a level that nobody compares",
    ],
)
def test_a_certificate_that_is_not_amds_kind_is_refused(values):
    assert examined(endorsements=MILAN.endorsements(certificate=MILAN.certificate(values=values))).failed == [
        "snp.endorsement"
    ]


@pytest.mark.parametrize(
    "value", [der_text(b"CN=\xff"), der_text(b"CN=\n"), bytes((0x16, 200)) + b"C" * 200, b"\x16\x00"]
)
def test_a_cloud_whose_name_is_no_text_is_refused(value):
    certificate = MILAN.certificate(SigningKey.VLEK, values={CSP_ID: value})
    given = MILAN.endorsements(SigningKey.VLEK, certificate=certificate)
    assert examined(MILAN.sign(VLEK), given).failed == ["snp.endorsement"]


def test_no_certificate_at_all_says_where_to_get_one():
    assert "fetch it" in shortfall(examined(endorsements=SnpEndorsements((), ())), "snp.endorsement")


def test_a_key_of_another_curve_is_refused():
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    good = x509.load_der_x509_certificate(MILAN.certificate())
    other = MILAN.issuer(SigningKey.VCEK).issue("SEV-VCEK", key, LIFE, [(one.value, False) for one in good.extensions])
    given = MILAN.endorsements(certificate=other.public_bytes(Encoding.DER))
    assert "P-384" in shortfall(examined(endorsements=given), "snp.endorsement")


def test_a_key_of_no_kind_that_is_known_is_refused():
    certificate = bytearray(MILAN.certificate())
    certificate[certificate.index(bytes.fromhex("2a8648ce3d0201")) + 2] ^= 0x39  # the object id of EC keys
    given = MILAN.endorsements(certificate=bytes(certificate))
    assert "Unknown key type" in shortfall(examined(endorsements=given), "snp.endorsement")


def test_a_hardware_id_may_be_an_octet_string():
    wrapped = MILAN.certificate(values={HARDWARE_ID: b"\x04\x40" + MILAN.chip_id})
    assert examined(endorsements=MILAN.endorsements(certificate=wrapped)).failed == []


def test_a_chip_whose_id_begins_like_an_octet_string_is_itself():
    chip = b"\x04\x40" + MILAN.chip_id[2:]
    own = MILAN.endorsements(certificate=MILAN.certificate(values={HARDWARE_ID: chip}))
    assert examined(MILAN.sign(replace(MILAN.report(), chip_id=chip)), own).failed == []


@pytest.mark.breaks("snp.product")
@pytest.mark.parametrize(
    "cpuid",
    [(0x19, 0x11, 1), (0x19, 0xA0, 1), (0x1A, 0x02, 1), (0x19, 0x21, 0), (0, 0, 0)],
    ids=["Genoa", "Bergamo", "Turin", "no server", "nothing"],
)
def test_a_report_of_another_product_is_refused(cpuid):
    assert examined(MILAN.sign(replace(MILAN.report(), cpuid=cpuid))).failed == ["snp.product"]


def test_bergamo_and_siena_are_genoas():
    genoa = SnpHardware(Product.GENOA)
    report = genoa.sign(replace(genoa.report(), cpuid=(0x19, 0xA0, 2)))
    for name in (b"Genoa", b"Bergamo-A1", b"Siena"):
        certificate = genoa.certificate(values={PRODUCT_NAME: der_text(name)})
        assert examined(report, genoa.endorsements(certificate=certificate), hardware=genoa).failed == []


def test_a_report_of_version_2_is_of_the_product_that_its_certificate_names():
    turin = SnpHardware(Product.TURIN)
    assert examined(turin.sign(turin.report(2)), hardware=turin).require().reported.fmc == 1


@pytest.mark.breaks("snp.chain")
@pytest.mark.parametrize("pin", [bytes(32), SnpHardware(seed="another").root.pin], ids=["zeros", "another vendor"])
def test_a_chain_to_another_root_is_refused(pin):
    assert examined(roots={Product.MILAN: pin}).failed == ["snp.chain"]


@pytest.mark.breaks("snp.chain")
def test_a_swapped_chain_of_another_vendor_of_the_same_names_is_refused():
    other = SnpHardware(seed="another")
    swapped = MILAN.endorsements(certificate=other.certificate(values={HARDWARE_ID: MILAN.chip_id}))
    chain = replace(swapped, chain=(MILAN.certificate(), *other.endorsements().chain[1:]))
    assert examined(endorsements=chain, unsafe=["UnsafeAllowSnpWithoutRevocation"]).failed == ["snp.chain"]


@pytest.mark.breaks("snp.chain")
def test_no_list_is_looked_at_for_a_chain_that_somebody_made_up():
    """Of any length, and with a list for each of its certificates: 170 KB took four seconds."""
    other = SnpHardware(seed="another").endorsements()
    long = replace(other, chain=(MILAN.certificate(), *other.chain[1:] * 20))
    for made in (other, long):
        steps = {one.id: one.outcome for one in examined(endorsements=made).steps}
        assert steps["snp.chain"] is Outcome.FAILED
        assert steps["snp.revocation"] is steps["snp.freshness"] is Outcome.NOT_REACHED


@pytest.mark.breaks("snp.chain")
def test_the_root_of_another_product_vouches_for_nothing():
    assert examined(roots={Product.GENOA: MILAN.root.pin}).failed == ["snp.chain"]


@pytest.mark.breaks("snp.chain")
def test_an_asvk_signs_no_vceks_and_an_ask_no_vleks():
    for kind, other, report in (
        (SigningKey.VCEK, SigningKey.VLEK, MILAN.report()),
        (SigningKey.VLEK, SigningKey.VCEK, VLEK),
    ):
        issuer = MILAN.issuer(other)
        certificate = MILAN.certificate(kind, issuer=issuer)
        examination = examined(MILAN.sign(report), MILAN.endorsements(certificate=certificate, issuer=issuer))
        assert examination.failed == ["snp.chain"]


def test_a_chain_has_three_certificates():
    given = MILAN.endorsements()
    for chain in (given.chain[:2], (*given.chain, given.chain[2])):
        examination = examined(endorsements=replace(given, chain=chain), unsafe=["UnsafeAllowSnpWithoutRevocation"])
        assert "has 3 certificates" in shortfall(examination, "snp.chain")


def test_a_chain_out_of_date_is_refused():
    assert examined(at=LIFE.last + 1, unsafe=["UnsafeAllowSnpWithoutRevocation"]).failed == ["snp.chain"]


def test_a_chain_of_rsa_pss_holds_as_amds_do():
    keys = [rsa.generate_private_key(65537, 2048) for _ in range(2)]
    names = ["SEV-Milan", "ARK-Milan"]
    pss = padding.PSS(padding.MGF1(SHA384()), 48)
    made = []
    leaf = x509.load_der_x509_certificate(MILAN.certificate())
    publics = [leaf.public_key(), *(key.public_key() for key in keys)]
    for position, public in enumerate(publics):
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, ["SEV-VCEK", *names][position])])
        issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, [*names, names[1]][position])])
        builder = x509.CertificateBuilder(issuer, subject, public, position + 1, *LIFE.moments)
        extensions = list(leaf.extensions) if position == 0 else []
        for one in extensions:
            builder = builder.add_extension(one.value, one.critical)
        if position:
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        made.append(builder.sign([*keys, keys[1]][position], SHA384(), rsa_padding=pss))
    given = SnpEndorsements(tuple(one.public_bytes(Encoding.PEM) for one in made), ())
    roots = {Product.MILAN: fingerprint(made[2])}
    assert examined(endorsements=given, roots=roots, unsafe=["UnsafeAllowSnpWithoutRevocation"]).failed == []


def revocations(*lists):
    return replace(MILAN.endorsements(), revocations=lists)


@pytest.mark.breaks("snp.revocation")
@pytest.mark.parametrize(
    "lists",
    [
        (),
        (b"no list",),
        (MILAN.root.revocations([MILAN.issuer(SigningKey.VCEK).certificate], LIFE),),
        (MILAN.root.revocations([], Life(LIFE.first, NOW - 1)),),
        (SnpHardware(seed="another").root.revocations([], LIFE),),
        (MILAN.issuer(SigningKey.VCEK).revocations([], LIFE),),
    ],
    ids=["missing", "malformed", "ask-revoked", "stale", "of-another-root", "of-the-ask"],
)
def test_an_ask_needs_a_list_of_its_root_that_does_not_name_it(lists):
    assert examined(endorsements=revocations(*lists)).failed == ["snp.revocation"]


def test_an_asvk_is_revoked_as_an_ask_is():
    issuer = MILAN.issuer(SigningKey.VLEK).certificate
    given = replace(MILAN.endorsements(SigningKey.VLEK), revocations=(MILAN.root.revocations([issuer], LIFE),))
    assert examined(MILAN.sign(VLEK), given).failed == ["snp.revocation"]


def test_revocation_goes_unchecked_only_by_name():
    examination = examined(endorsements=revocations(), unsafe=["UnsafeAllowSnpWithoutRevocation"])
    assert examination.failed == []
    assert any(step.detail == "not checked: UnsafeAllowSnpWithoutRevocation" for step in examination.steps)
    assert examined(endorsements=revocations(), unsafe=["UnsafeAllowSnpDebug"]).failed == ["snp.revocation"]


def met(number, this_update, product=Product.MILAN):
    return SeenEndorsements({product: SeenList(number, this_update)}, {})


@pytest.mark.breaks("snp.freshness")
@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (met(2, LIFE.first), "its number is 1, and 2 was seen before"),
        (met(1, LIFE.first + 1), "it is of 2027-01-03 18:13:20 UTC, and one of 2027-01-03 18:13:21 UTC was seen"),
    ],
    ids=["a lower number", "an earlier day"],
)
def test_an_older_list_than_was_seen_is_refused_while_it_is_in_date(seen, says):
    examination = examined(seen=seen)
    assert examination.failed == ["snp.freshness"]
    assert says in shortfall(examination, "snp.freshness")


def test_an_old_list_from_before_a_revocation_is_refused_by_who_saw_the_newer():
    ask = MILAN.issuer(SigningKey.VCEK).certificate
    asvk = MILAN.issuer(SigningKey.VLEK).certificate
    later = Life(LIFE.first + 1, LIFE.last)
    newer = MILAN.root.revocations([asvk], later, number=2)
    seen = examined(endorsements=revocations(newer)).require().seen
    assert seen == met(2, LIFE.first + 1)
    older = replace(MILAN.endorsements(SigningKey.VLEK), revocations=(MILAN.root.revocations([ask], LIFE),))
    assert examined(MILAN.sign(VLEK), older).failed == []
    assert examined(MILAN.sign(VLEK), older, seen=seen).failed == ["snp.freshness"]
    both = replace(older, revocations=(*older.revocations, newer))
    assert examined(MILAN.sign(VLEK), both, seen=seen).failed == ["snp.revocation"]


def test_what_was_seen_is_taken_again_and_nothing_is_seen_that_was_not_checked():
    first = examined().require().seen
    assert first == met(1, LIFE.first)
    assert examined(seen=first).require().seen == first
    assert examined(seen=met(99, NOW, Product.GENOA)).failed == []
    assert examined(unsafe=["UnsafeAllowSnpWithoutRevocation"], seen=met(99, NOW)).require().seen == SEEN_NOTHING


def test_a_list_without_a_number_is_older_than_any_with_one():
    unnumbered = revocations(MILAN.root.revocations([], LIFE, number=None))
    assert examined(endorsements=unnumbered).require().seen == met(0, LIFE.first)
    assert examined(endorsements=unnumbered, seen=met(1, LIFE.first)).failed == ["snp.freshness"]


def test_a_list_of_a_number_that_no_memory_holds_is_refused():
    endless = revocations(MILAN.root.revocations([], LIFE, number=2**53 + 1))
    assert "number 9007199254740993" in shortfall(examined(endorsements=endless), "snp.revocation")


@pytest.mark.breaks("snp.signing-key")
@pytest.mark.parametrize("signer", [SigningKey.VLEK, SigningKey.NONE], ids=["a VLEK", "none"])
def test_a_report_that_says_another_kind_of_key_is_refused(signer):
    vcek = MILAN.key(SigningKey.VCEK, MILAN.tcb)
    assert examined(signed_by(vcek, replace(MILAN.report(), signing_key=signer))).failed == ["snp.signing-key"]


def signed_by(key, report):
    """Signed with the VCEK, whatever the report says."""

    class Other(SnpHardware):
        def key(self, kind, tcb):
            return key

    return Other().sign(report)


@pytest.mark.breaks("snp.chip-id")
@pytest.mark.parametrize(
    "chip",
    [bytes(64), bytes(63) + b"\1", MILAN.chip_id[:8].ljust(64, b"\0")],
    ids=["a hidden chip", "another chip", "a chip whose id begins alike"],
)
def test_a_report_of_another_chip_or_of_a_hidden_one_is_refused(chip):
    assert examined(MILAN.sign(replace(MILAN.report(), chip_id=chip))).failed == ["snp.chip-id"]


@pytest.mark.breaks("snp.chip-id")
def test_a_certificate_of_no_chip_matches_no_report_that_hides_its_own():
    own = MILAN.endorsements(certificate=MILAN.certificate(values={HARDWARE_ID: bytes(64)}))
    assert examined(MILAN.sign(replace(MILAN.report(), chip_id=bytes(64))), own).failed == ["snp.chip-id"]


@pytest.mark.breaks("snp.chip-id")
def test_turins_chip_ids_have_8_bytes_and_zeros():
    turin = SnpHardware(Product.TURIN)
    longer = turin.chip_id[:8] + b"\1".ljust(56, b"\0")
    assert examined(turin.sign(replace(turin.report(), chip_id=longer)), hardware=turin).failed == ["snp.chip-id"]


def test_a_genuine_vcek_of_another_chip_is_refused():
    other = SnpHardware(chip="second")
    assert examined(endorsements=other.endorsements()).failed == ["snp.chip-id", "snp.signature"]


@pytest.mark.breaks("snp.reported-tcb")
@pytest.mark.parametrize("name", ["bootloader", "tee", "snp", "microcode"])
def test_each_component_of_the_reported_tcb_is_the_certificates(name):
    tcb = replace(MILAN.tcb, **{name: getattr(MILAN.tcb, name) + 1})
    report = replace(MILAN.report(), reported_tcb=tcb.encode(Product.MILAN))
    assert examined(MILAN.sign(report)).failed == ["snp.reported-tcb"]


@pytest.mark.breaks("snp.reported-tcb")
def test_turins_fmc_is_the_certificates_too():
    turin = SnpHardware(Product.TURIN)
    report = replace(turin.report(), reported_tcb=replace(turin.tcb, fmc=2).encode(Product.TURIN))
    assert examined(turin.sign(report), hardware=turin).failed == ["snp.reported-tcb"]


def test_a_tcb_with_reserved_bytes_is_refused_whichever_it_is():
    for name in ("reported_tcb", "current_tcb", "committed_tcb", "launch_tcb"):
        wrong: dict[str, Any] = {name: b"\4\0\1\0\0\0\x18\xdb"}
        report = replace(MILAN.report(), **wrong)
        assert "reserved bytes of Milan" in shortfall(examined(MILAN.sign(report)), "snp.reported-tcb")


def test_a_vcek_fetched_for_the_current_and_not_the_reported_tcb_is_refused():
    newer = Tcb(None, 4, 0, 24, 222)
    report = MILAN.sign(replace(MILAN.report(), current_tcb=newer.encode(Product.MILAN)))
    assert examined(report).failed == []
    examination = examined(report, MILAN.endorsements(certificate=MILAN.certificate(tcb=newer)))
    assert examination.failed == ["snp.reported-tcb", "snp.signature"]
    assert "the CURRENT one: fetch the certificate for the REPORTED TCB" in shortfall(examination, "snp.reported-tcb")


@pytest.mark.breaks("snp.signature")
@pytest.mark.parametrize(
    "at", [0x50, 0x90, 0x1F8, 0x2A0, 0x2A0 + 72], ids=["report data", "measurement", "vector", "r", "s"]
)
def test_a_byte_changed_in_what_was_signed_or_in_the_signature_is_refused(at):
    changed = bytearray(GOOD)
    changed[at] ^= 1
    assert examined(bytes(changed)).failed == ["snp.signature"]


@pytest.mark.breaks("snp.signature")
def test_a_signature_of_zeros_is_refused():
    assert examined(GOOD[:0x2A0] + bytes(512)).failed == ["snp.signature"]


def test_all_that_failed_is_told():
    other = SnpHardware(Product.GENOA, seed="another", chip="second")
    examination = examined(endorsements=other.endorsements())
    assert examination.failed == ["snp.product", "snp.chain", "snp.chip-id", "snp.signature"]


@settings(max_examples=60)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_no_report_with_a_byte_changed_is_authentic(at, change):
    changed = bytearray(GOOD)
    changed[at] ^= change
    examination = examined(bytes(changed), unsafe=["UnsafeAllowSnpWithoutRevocation"])
    assert examination.failed
    with pytest.raises(SnpRefused):
        examination.require()


@settings(max_examples=60)
@given(st.integers(0, 2), st.integers(0, 500), st.integers(1, 255))
def test_no_chain_with_a_byte_changed_is_authentic(which, at, change):
    chain = [bytearray(one) for one in GIVEN.chain]
    chain[which][at % len(chain[which])] ^= change
    changed = replace(GIVEN, chain=tuple(bytes(one) for one in chain))
    assert examined(endorsements=changed, unsafe=["UnsafeAllowSnpWithoutRevocation"]).failed
