"""Evidence is completed from a store: whole evidence is then authentic, and what is missing is named."""

import asyncio
import base64
import json
from dataclasses import replace

import cbor2
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from tests.doubles import vendor_evidence as made
from tests.doubles.vendor_evidence import NOON, VENDORS, failed

from cloister.attest.endorsements import describe
from cloister.endorsements.bare_evidence import BareEvidence, read_bare_evidence
from cloister.endorsements.completion import complete
from cloister.endorsements.fetchers import Fetchers
from cloister.endorsements.offered import endorsements_of
from cloister.endorsements.store import EndorsementStore
from cloister.errors import MalformedInput, Refused
from cloister.formats.azure_evidence import parse_azure_evidence
from cloister.formats.endorsement_bundle import MAXIMUM_INTEL_LIST, Kind, kind_of
from cloister.formats.endorsements import Endorsement
from cloister.formats.evidence import GpuEvidence
from cloister.formats.snp_certificate_table import ARK, ASK, CRL, VLEK
from cloister.formats.snp_report import SigningKey
from cloister.formats.snp_tcb import Product
from cloister.formats.tcb_info import MAXIMUM_DOCUMENT
from cloister.testing.certificates import made_key
from cloister.testing.made_endorsements import MadeVendors
from cloister.testing.nitro_hardware import MadeNitro
from cloister.testing.snp_hardware import SnpHardware, certificate_table
from cloister.testing.tdx_hardware import DAY, TdxHardware, moment

EVIDENCE = {
    "snp": made.snp(),
    "snp, version 2": made.snp(version=2),
    "tdx": made.tdx(),
    "azure-snp": made.azure_snp(),
    "azure-tdx": made.azure_tdx(),
    "gpu": made.gpu(),
}


@pytest.fixture
def store(tmp_path):
    return EndorsementStore(tmp_path, VENDORS.roots)


@pytest.fixture
def full(store):
    for kept in VENDORS.all():
        store.take(kept, at=NOON).require()
    return store


async def completed(evidence, store, *, at=NOON):
    return await complete(evidence, store, None, at=at, asker="tests")


@pytest.mark.parametrize("name", EVIDENCE)
async def test_evidence_is_authentic_with_what_the_store_has(name, full):
    found = await completed(EVIDENCE[name], full)
    assert found.missing == ()
    assert failed(EVIDENCE[name], found.endorsements) == []


MISSING = {
    "snp": ["AMD's certificate of the Milan chip"],
    "snp, version 2": ["AMD's certificate of the Milan chip", "AMD's certificate of the Genoa chip"],
    "tdx": ["Intel's TCB info of TDX for FMSPC 90c06f000000", "Intel's identity", "platform CA", "Intel's root"],
    "azure-snp": ["AMD's certificate of the Milan chip"],
    "azure-tdx": ["Intel's TCB info of TDX for FMSPC 90c06f000000", "Intel's identity", "platform CA", "Intel's root"],
    "gpu": ["NVIDIA's manifest NV_GPU_DRIVER_GH100_550.90.07", "NV_GPU_VBIOS", "ROM of", "provisioner"],
}


@pytest.mark.parametrize("name", EVIDENCE)
async def test_what_an_empty_store_lacks_is_named_with_the_command_that_gets_it(name, store):
    found = await completed(EVIDENCE[name], store)
    assert found.endorsements == ()
    assert len(found.missing) == len(MISSING[name])
    for words in MISSING[name]:
        assert any(words in one.words for one in found.missing)
    assert all("cloister endorsements fetch --for" in one.reason for one in found.missing)


@pytest.mark.parametrize("name", EVIDENCE)
async def test_nothing_that_has_ended_is_handed_out(name, full):
    found = await completed(EVIDENCE[name], full, at=NOON + 30 * DAY)
    assert found.missing != ()
    assert {kind_of(one) for one in found.kept} <= {"amd-key", "nvidia-manifest"}


async def test_a_nitro_document_needs_nothing(store):
    found = await completed(BareEvidence("nitro", MadeNitro(NOON).document()), store)
    assert (found.endorsements, found.missing) == ((), ())


async def test_the_signers_of_manifests_are_asked_about_once_the_manifests_are_there(store):
    for kept in VENDORS.manifests():
        store.take(kept, at=NOON).require()
    found = await completed(made.gpu(), store)
    assert sorted(one.words.rpartition(" for ")[2] for one in found.missing) == [
        f"ROM of {VENDORS.gpu.serial}",
        "provisioner",
        "rim issuer",
        "rim signer",
    ]


async def test_a_part_of_intels_collateral_by_itself_is_not_handed_out(store):
    store.take(VENDORS.tcb_info(), at=NOON).require()
    found = await completed(made.tdx(), store)
    assert found.endorsements == ()
    assert len(found.missing) == 3


async def test_intels_documents_are_handed_out_byte_by_byte(full):
    (endorsement,) = (await completed(made.tdx(), full)).endorsements
    kept = full.get("intel-tcb-info", "TDX 90c06f000000", at=NOON)
    assert json.loads(endorsement.data)["tcb_info"] == kept.body


def test_the_longest_of_intels_parts_fit_into_one_endorsement():
    document, chain, data = "x" * MAXIMUM_DOCUMENT, "x" * 64 * 1024, bytes(MAXIMUM_INTEL_LIST)
    kept = (
        msgspec.structs.replace(VENDORS.tcb_info(), body=document, issuer_chain=chain),
        msgspec.structs.replace(VENDORS.qe_identity(), body=document, issuer_chain=chain),
        msgspec.structs.replace(VENDORS.pck_revocations(), data=data, issuer_chain=chain),
        msgspec.structs.replace(VENDORS.root_revocations(), data=data),
    )
    (endorsement,) = endorsements_of(kept)
    assert msgspec.convert(msgspec.to_builtins(endorsement), Endorsement) == endorsement


async def test_a_clouds_key_is_found_by_the_report_that_it_signed(full):
    evidence = made.snp(kind=SigningKey.VLEK)
    missing = await completed(evidence, full)
    assert [one.words for one in missing.missing] == ["the certificate of the cloud's VLEK"]
    for chip in (SnpHardware(seed="made-up", chip="other", life=VENDORS.snp.life), VENDORS.snp):
        full.take(VENDORS.amd_key(SigningKey.VLEK, hardware=chip), at=NOON).require()
    found = await completed(evidence, full)
    assert found.missing == ()
    assert failed(evidence, found.endorsements) == []


async def test_what_evidence_brings_is_examined_and_kept(store):
    brought = tuple(endorsements_of([VENDORS.amd_key(), VENDORS.amd_revocations()]))
    evidence = replace(made.snp(), endorsements=brought)
    assert (await completed(evidence, store)).missing == ()
    found = await completed(made.snp(), store)  # from the store now
    assert failed(made.snp(), found.endorsements) == []


@pytest.mark.parametrize("name", ["tdx", "gpu"])
async def test_what_other_platforms_bring_is_kept_as_well(name, store):
    brought = tuple(endorsements_of(VENDORS.all()))
    evidence = replace(EVIDENCE[name], endorsements=brought)
    found = await completed(evidence, store)
    assert found.missing == ()
    assert failed(EVIDENCE[name], found.endorsements) == []


async def test_the_certificate_that_azures_evidence_has_in_it_is_the_one_that_is_judged(full):
    """A key's certificate may be signed more than once: two of them would make a chain of four."""
    evidence = made.azure_snp()
    given = parse_azure_evidence(evidence.report).vcek
    stored = full.get("amd-key", describe(VENDORS.amd_key()).subject, at=NOON)
    assert stored.chain[0] != given
    for _ in range(2):
        found = await completed(evidence, full)
        assert found.endorsements[0].data == given
        assert failed(evidence, found.endorsements) == []


async def test_another_chips_certificate_in_azures_evidence_does_not_take_the_place_of_its_own(full):
    other = SnpHardware(seed="made-up", chip="second", life=VENDORS.snp.life).certificate()
    told = json.loads(made.azure_snp().report)
    told["vcek"] = base64.urlsafe_b64encode(other).decode()
    found = await completed(BareEvidence("azure-snp", json.dumps(told).encode()), full)
    assert found.endorsements[0].data != other


async def test_what_a_host_lays_beside_a_report_is_kept(store):
    """The one way in which a VLEK comes."""
    vlek = VENDORS.amd_key(SigningKey.VLEK)
    entries = dict(zip((VLEK, ASK, ARK, CRL), (*vlek.chain, VENDORS.amd_revocations().data), strict=True))
    report = made.snp(kind=SigningKey.VLEK).report
    members = {"provider": "sev_guest", "outblob": report, "auxblob": certificate_table(entries)}
    evidence = read_bare_evidence(cbor2.dumps(members, canonical=True))
    found = await completed(evidence, store)
    assert found.missing == ()
    assert failed(made.snp(kind=SigningKey.VLEK), found.endorsements) == []


async def test_a_table_that_is_none_brings_nothing(full):
    members = {"provider": "sev_guest", "outblob": made.snp().report, "auxblob": b"no table"}
    evidence = read_bare_evidence(cbor2.dumps(members, canonical=True))
    assert evidence.endorsements == ()
    assert (await completed(evidence, full)).missing == ()


def test_what_was_collected_is_read_whole():
    endorsements = tuple(endorsements_of([VENDORS.amd_key()]))
    (device,), report = made.gpu().gpu, made.snp().report
    told = {
        "platform": "snp",
        "challenge": bytes(32),
        "report_data": bytes(64),
        "report": report,
        "endorsements": endorsements,
        "gpus": [GpuEvidence(report=device.report, chain=device.chain)],
        "remarks": ["a remark"],
    }
    evidence = read_bare_evidence(msgspec.json.encode(told))
    assert (evidence.platform, evidence.report) == ("snp", report)
    assert evidence.endorsements == endorsements
    assert evidence.gpu[0].report == device.report


async def test_old_collateral_that_evidence_brings_does_not_replace_what_was_seen(full):
    old = VENDORS.tdx.collateral(
        tcb_info=VENDORS.tdx.tcb_info(tcbEvaluationDataNumber=17, issueDate=moment(NOON - 9 * DAY))
    )
    evidence = replace(made.tdx(), endorsements=(Endorsement(kind="intel-collateral", data=msgspec.json.encode(old)),))
    (endorsement,) = (await completed(evidence, full)).endorsements
    assert json.loads(json.loads(endorsement.data)["tcb_info"])["tcbEvaluationDataNumber"] == 18


async def test_rubbish_that_evidence_brings_is_passed_over(full):
    rubbish = tuple(
        Endorsement(kind=kind, data=b"rubbish")
        for kind in ("amd-certificates", "amd-revocations", "intel-collateral", "nvidia-manifest", "ocsp-answer")
    )
    for evidence in EVIDENCE.values():
        found = await completed(replace(evidence, endorsements=rubbish), full)
        assert found.missing == ()


async def test_a_damaged_file_is_named_among_what_is_missing(full):
    path = full.find("amd-revocations", "Milan").path
    path.write_bytes(b"damaged")
    (missing,) = (await completed(made.snp(), full)).missing
    assert str(path) in missing.reason


UNPROVEN = {
    "a quote of another root": BareEvidence("tdx", TdxHardware(at=NOON, seed="another").quote()),
    "a quote by another attestation key": BareEvidence(
        "tdx", VENDORS.tdx.quote(keys={"attestation": made_key("another", SECP256R1())})
    ),
    "runtime data that the hardware did not hash": made.azure_snp(made.RUNTIME + b" "),
    "a GPU of another root": made.gpu(replace(VENDORS.gpu, vendor=MadeVendors(NOON, seed="another").nvidia)),
}


@pytest.mark.parametrize("name", UNPROVEN)
async def test_evidence_whose_own_signature_does_not_hold_asks_for_nothing(name, full):
    with pytest.raises(Refused):
        await completed(UNPROVEN[name], full)


MALFORMED = {
    "a report that hides its chip": BareEvidence(
        "snp", VENDORS.snp.sign(replace(VENDORS.snp.report(), chip_id=bytes(64)))
    ),
    "a report of an unknown product": BareEvidence(
        "snp", VENDORS.snp.sign(replace(VENDORS.snp.report(), cpuid=(0x1B, 0, 0)))
    ),
    "a report that is none": BareEvidence("snp", b"report"),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_no_evidence_of_a_known_product_asks_for_nothing(name, full):
    with pytest.raises(MalformedInput):
        await completed(MALFORMED[name], full)


@pytest.mark.parametrize("product", list(Product))
async def test_each_product_is_completed(product, store):
    chip = VENDORS.chip(product)
    for kept in (VENDORS.amd_key(hardware=chip), VENDORS.amd_revocations(hardware=chip)):
        store.take(kept, at=NOON).require()
    found = await completed(made.snp(chip=chip), store)
    assert found.missing == ()
    assert [one.kind for one in found.endorsements] == ["amd-certificates"] * 3 + ["amd-revocations"]


class Dating:
    """AMD's service, that dates its list when it is asked, and takes its time."""

    kinds: frozenset[Kind] = frozenset({"amd-revocations"})

    async def fetch(self, wanted):
        await asyncio.sleep(0.01)
        return VENDORS.amd_revocations(age=-1)


async def test_what_a_vendor_dates_while_it_is_asked_is_not_of_the_future(store):
    store.take(VENDORS.amd_key(), at=NOON).require()
    async with Fetchers([Dating()]) as fetchers:
        found = await complete(EVIDENCE["snp"], store, fetchers, at=NOON, asker="tests")
    assert found.missing == ()
