"""What is kept of what vendors say: each change fails its own step alone."""

from dataclasses import replace

import msgspec
import pytest

from cloister.attest.endorsements import EndorsementRefused, describe, examine_endorsement
from cloister.errors import MalformedInput
from cloister.formats.appraisal_policy import VendorRoots
from cloister.formats.endorsement_bundle import Kept, kind_of
from cloister.formats.snp_report import SigningKey
from cloister.formats.snp_tcb import Product
from cloister.testing.certificates import Life
from cloister.testing.made_endorsements import MadeVendors, der
from cloister.testing.nvidia_hardware import MadeRim
from cloister.testing.ocsp_answers import Responder
from cloister.testing.snp_hardware import SnpHardware
from cloister.testing.tdx_hardware import DAY, moment

NOON = 1_800_000_000
VENDORS = MadeVendors(NOON)
ALL = VENDORS.all()
NOBODY = VendorRoots(amd={}, intel=(), nitro=(), nvidia_devices=(), nvidia_manifests=())


def examined(kept, *, at=NOON, subject=None, seen=(), roots=VENDORS.roots):
    named = describe(kept).subject if subject is None else subject
    return examine_endorsement(kept, roots=roots, at=at, subject=named, seen=seen)


def named(kept):
    return f"{kind_of(kept)} {describe(kept).subject[:20]}"


@pytest.mark.parametrize("kept", ALL, ids=named)
def test_what_a_vendor_says_now_is_authentic(kept):
    authentic = examined(kept).require()
    assert authentic.kept == kept
    assert authentic.described.kind == kind_of(kept)


@pytest.mark.breaks("endorsement.origin")
@pytest.mark.parametrize("kept", ALL, ids=named)
def test_nothing_is_taken_by_a_chain_to_a_root_that_is_not_pinned(kept):
    assert examined(kept, roots=NOBODY).failed == ["endorsement.origin"]


@pytest.mark.breaks("endorsement.date")
@pytest.mark.parametrize("kept", ALL, ids=named)
def test_nothing_counts_after_its_end(kept):
    end = describe(kept).until
    assert examined(kept, at=end).failed == []
    assert examined(kept, at=end + 1).failed == ["endorsement.date"]


@pytest.mark.breaks("endorsement.date")
@pytest.mark.parametrize("kept", ALL, ids=named)
def test_nothing_counts_before_its_beginning(kept):
    assert examined(kept, at=describe(kept).first - 1).failed == ["endorsement.date"]


@pytest.mark.breaks("endorsement.subject")
@pytest.mark.parametrize("kept", ALL, ids=named)
def test_what_is_true_of_something_else_is_no_answer(kept):
    assert examined(kept, subject="another").failed == ["endorsement.subject"]


def test_a_key_of_another_chip_and_one_at_another_tcb_are_of_other_subjects():
    subject = describe(VENDORS.amd_key()).subject
    other = SnpHardware(chip="second", life=VENDORS.snp.life)
    newer = replace(VENDORS.snp.tcb, microcode=220)
    for kept in (VENDORS.amd_key(hardware=other), VENDORS.amd_key(tcb=newer)):
        assert examined(kept, subject=subject).failed == ["endorsement.subject"]


OLDER: dict[str, tuple[Kept, Kept]] = {
    "an older list of AMD's": (VENDORS.amd_revocations(age=2 * DAY), VENDORS.amd_revocations()),
    "an older list of the platform CA's": (VENDORS.pck_revocations(age=2 * DAY), VENDORS.pck_revocations()),
    "an older list of Intel's root": (VENDORS.root_revocations(age=2 * DAY), VENDORS.root_revocations()),
    "TCB info of an older date": (VENDORS.tcb_info(issueDate=moment(NOON - 2 * DAY)), VENDORS.tcb_info()),
    "TCB info of a lower number": (VENDORS.tcb_info(tcbEvaluationDataNumber=17), VENDORS.tcb_info()),
    "a QE identity of an older date": (VENDORS.qe_identity(issueDate=moment(NOON - 2 * DAY)), VENDORS.qe_identity()),
    "a QE identity of a lower number": (VENDORS.qe_identity(tcbEvaluationDataNumber=17), VENDORS.qe_identity()),
    "an older OCSP answer": (VENDORS.answers(age=2 * DAY)[0], VENDORS.answers()[0]),
}


@pytest.mark.breaks("endorsement.rollback")
@pytest.mark.parametrize("case", OLDER)
def test_what_is_in_date_and_older_than_what_was_seen_is_refused(case):
    older, newer = OLDER[case]
    assert examined(newer, seen=describe(older).mark).failed == []
    assert examined(older, seen=describe(newer).mark).failed == ["endorsement.rollback"]


def test_a_newer_date_does_not_stand_in_for_a_lower_number():
    low = VENDORS.tcb_info(tcbEvaluationDataNumber=17, issueDate=moment(NOON - DAY // 2))
    assert examined(low, seen=describe(VENDORS.tcb_info()).mark).failed == ["endorsement.rollback"]


@pytest.mark.breaks("endorsement.origin")
@pytest.mark.parametrize("kept", [VENDORS.tcb_info(), VENDORS.qe_identity()], ids=kind_of)
def test_a_document_with_one_character_changed_is_not_intels(kept):
    changed = msgspec.structs.replace(kept, body=kept.body.replace("UpToDate", "Revoked", 1))
    assert examined(changed).failed == ["endorsement.origin"]


@pytest.mark.breaks("endorsement.origin")
def test_a_list_by_another_key_of_the_same_name_is_not_the_issuers():
    own, other = VENDORS.amd_revocations(), SnpHardware(seed="other", life=VENDORS.snp.life)
    forged = msgspec.structs.replace(own, data=other.root.revocations([], VENDORS.lists()))
    assert examined(forged).failed == ["endorsement.origin"]


@pytest.mark.breaks("endorsement.origin")
def test_a_vlek_by_the_authority_of_vceks_is_not_amds():
    vcek, vlek = VENDORS.amd_key(), VENDORS.amd_key(SigningKey.VLEK)
    assert examined(vlek).failed == []
    crossed = VENDORS.snp.certificate(SigningKey.VLEK, issuer=VENDORS.snp.issuer(SigningKey.VCEK))
    assert examined(msgspec.structs.replace(vcek, chain=(crossed, *vcek.chain[1:]))).failed == ["endorsement.origin"]


@pytest.mark.breaks("endorsement.origin")
def test_a_manifest_by_another_signer_is_not_nvidias():
    own = VENDORS.manifests()[0]
    rim = MadeRim(version=VENDORS.gpu.driver, measurements={0: [bytes(48)]})
    assert examined(msgspec.structs.replace(own, data=rim.file(VENDORS.nvidia.device_root))).failed == [
        "endorsement.origin"
    ]


@pytest.mark.breaks("endorsement.origin")
def test_a_manifest_under_the_id_of_another_version_is_refused():
    driver, vbios = VENDORS.manifests()
    assert examined(msgspec.structs.replace(driver, id=vbios.id)).failed == ["endorsement.origin"]


@pytest.mark.breaks("endorsement.origin")
def test_an_answer_by_another_authority_is_none():
    own = VENDORS.answers()[0]
    life = VENDORS.lists()
    forged = Responder(life=life).answer(
        VENDORS.gpu.rom.certificate, VENDORS.authorities[1], signer=VENDORS.nvidia.rim_root
    )
    assert examined(msgspec.structs.replace(own, data=forged)).failed == ["endorsement.origin"]


def test_an_answer_that_says_revoked_is_kept_so_that_an_older_good_one_is_not_taken():
    revoked = VENDORS.answer(VENDORS.gpu.rom.chain, revoked=True)
    good = VENDORS.answer(VENDORS.gpu.rom.chain, age=2 * DAY)
    assert examined(revoked).failed == []
    assert examined(good, seen=describe(revoked).mark).failed == ["endorsement.rollback"]


MALFORMED: dict[str, Kept] = {
    "a key that is no certificate": msgspec.structs.replace(VENDORS.amd_key(), chain=(b"x", b"y", b"z")),
    "a list that is none": msgspec.structs.replace(VENDORS.amd_revocations(), data=b"list"),
    "a list of an issuer that is no root of AMD's": msgspec.structs.replace(
        VENDORS.amd_revocations(), issuer=der(VENDORS.tdx.root.certificate)
    ),
    "a root's list of an issuer that is another": msgspec.structs.replace(
        VENDORS.root_revocations(), issuer=der(VENDORS.snp.root.certificate)
    ),
    "a platform CA's list with a chain of documents": msgspec.structs.replace(
        VENDORS.pck_revocations(), issuer_chain=VENDORS.tcb_info().issuer_chain
    ),
    "TCB info that is none": msgspec.structs.replace(VENDORS.tcb_info(), body="{}"),
    "an identity of what quotes nothing here": VENDORS.qe_identity(id="QVE"),
    "a manifest that is none": msgspec.structs.replace(VENDORS.manifests()[0], data=b"<rim/>"),
    "a signature over its form": msgspec.structs.replace(VENDORS.tcb_info(), signature="aB" * 64),
    "a manifest under an id that is none": msgspec.structs.replace(VENDORS.manifests()[0], id="../roots"),
    "an answer of another certificate": msgspec.structs.replace(VENDORS.answers()[0], data=VENDORS.answers()[1].data),
}


@pytest.mark.breaks("endorsement.form")
@pytest.mark.parametrize("case", MALFORMED)
def test_what_does_not_parse_is_named_as_such(case):
    examination = examined(MALFORMED[case], subject="any")
    assert examination.failed == ["endorsement.form"]
    with pytest.raises(EndorsementRefused, match=r"endorsement\.form"):
        examination.require()


@pytest.mark.parametrize("case", [case for case in MALFORMED if "form" not in case and "an id that" not in case])
def test_what_does_not_parse_does_not_describe_itself(case):
    with pytest.raises(MalformedInput):
        describe(MALFORMED[case])


def test_a_turin_chip_is_named_by_eight_bytes():
    turin = SnpHardware(Product.TURIN, life=Life(NOON - DAY, NOON + DAY))
    subject = describe(VENDORS.amd_key(hardware=turin)).subject
    assert subject == f"Turin VCEK of {turin.chip_id[:8].hex()} at {turin.tcb.encode(Product.TURIN).hex()}"
