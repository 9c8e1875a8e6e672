"""Vendors' services are asked over loopback: whole evidence is completed by them, and a lying one can but withhold."""

import asyncio
import dataclasses
import hashlib
import ssl
from dataclasses import replace

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.doubles import vendor_evidence as made
from tests.doubles.certificates import Authority
from tests.doubles.vendor_evidence import NOON, VENDORS, failed
from tests.doubles.vendor_faults import body, status

from cloister.attest.endorsements import describe
from cloister.endorsements.amd_kds import AmdKds
from cloister.endorsements.asker_limits import AskerLimits
from cloister.endorsements.bare_evidence import BareEvidence
from cloister.endorsements.completion import complete
from cloister.endorsements.fetchers import Fetchers, VendorUrls
from cloister.endorsements.store import EndorsementStore
from cloister.endorsements.vendor_site import Patience, VendorSite, VendorUnavailable, VendorUnknown
from cloister.endorsements.wanted import WantedAmdList, WantedKey, WantedManifest
from cloister.errors import MalformedInput, UsageError
from cloister.formats.endorsement_bundle import kind_of
from cloister.formats.snp_report import SigningKey
from cloister.formats.snp_tcb import Product
from cloister.testing.certificates import Life
from cloister.testing.made_endorsements import MadeVendors
from cloister.testing.snp_hardware import SnpHardware
from cloister.testing.tdx_hardware import DAY, ENCLAVE
from cloister.testing.vendor_services import VendorServices

EVIDENCE = {
    "snp": made.snp(),
    "snp, version 2": made.snp(version=2),
    "tdx": made.tdx(),
    "sgx": BareEvidence("sgx", VENDORS.tdx.quote(ENCLAVE, version=3)),
    "azure-snp": made.azure_snp(),
    "azure-tdx": made.azure_tdx(),
    "gpu": made.gpu(),
}
IMPATIENT = Patience(answer_seconds=5, total_seconds=5, tries=2, first_pause_seconds=0.001)


@pytest.fixture
def store(tmp_path):
    return EndorsementStore(tmp_path, VENDORS.roots)


@pytest.fixture
async def services():
    async with VendorServices(VENDORS) as running:
        yield running


@pytest.fixture
async def fetchers(services):
    async with Fetchers.of_vendors(services.urls, patience=IMPATIENT) as running:
        yield running


@pytest.mark.parametrize("name", EVIDENCE)
async def test_an_empty_store_is_filled_and_asks_no_more(name, store, services, fetchers):
    evidence = EVIDENCE[name]
    found = await complete(evidence, store, fetchers, at=NOON, asker="tests")
    assert found.missing == ()
    if name != "sgx":
        assert failed(evidence, found.endorsements) == []
    asked = len(services.asked)
    again = await complete(evidence, store, None, at=NOON, asker="tests")
    assert (again.endorsements, again.missing) == (found.endorsements, ())
    await complete(evidence, store, fetchers, at=NOON, asker="tests")
    assert len(services.asked) == asked


async def test_amd_is_asked_by_chip_and_each_level_of_the_reported_tcb(store, services, fetchers):
    report = replace(VENDORS.snp.report(), current_tcb=replace(VENDORS.snp.tcb, snp=99).encode(Product.MILAN))
    await complete(BareEvidence("snp", VENDORS.snp.sign(report)), store, fetchers, at=NOON, asker="tests")
    chip = VENDORS.snp.chip_id.hex()
    assert f"/vcek/v1/Milan/{chip}?blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219" in services.asked


async def test_turins_chips_are_asked_for_by_eight_bytes_and_their_fmc(store, services, fetchers):
    turin = VENDORS.chip(Product.TURIN)
    found = await complete(made.snp(chip=turin), store, fetchers, at=NOON, asker="tests")
    assert found.missing == ()
    path = f"/vcek/v1/Turin/{turin.chip_id[:8].hex()}?fmcSPL=01&blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219"
    assert path in services.asked


async def test_a_report_of_version_2_is_asked_for_as_one_product_after_the_other(store, services, fetchers):
    genoa = VENDORS.chip(Product.GENOA)
    found = await complete(made.snp(version=2, chip=genoa), store, fetchers, at=NOON, asker="tests")
    assert found.missing == ()
    assert failed(made.snp(version=2, chip=genoa), found.endorsements) == []


async def test_a_vlek_is_asked_for_nowhere(store, services, fetchers):
    evidence = made.snp(kind=SigningKey.VLEK)
    found = await complete(evidence, store, fetchers, at=NOON, asker="tests")
    assert "AMD's service does not have VLEKs" in str(found.missing[0])
    assert services.asked == []


async def test_evidence_that_is_none_asks_nobody(store, services, fetchers):
    other = MadeVendors(NOON, seed="another")
    for evidence in (BareEvidence("tdx", other.tdx.quote()), made.gpu(other.gpu), made.azure_snp(b"{}")):
        with pytest.raises(Exception, match=r"tdx\.pck-chain|gpu\.chain|azure\.runtime-data"):
            await complete(evidence, store, fetchers, at=NOON, asker="tests")
    assert services.asked == []


async def test_who_asks_at_once_for_the_same_gets_one_answer(store, services, fetchers):
    wanted = WantedAmdList(Product.MILAN)
    answers = await asyncio.gather(*(fetchers.fetch(wanted, unproven=None) for _ in range(20)))
    assert len(set(answers)) == 1
    assert services.asked == ["/vcek/v1/Milan/cert_chain", "/vcek/v1/Milan/crl"]


async def test_who_leaves_does_not_take_the_answer_from_others(store, services, fetchers):
    wanted = WantedAmdList(Product.MILAN)
    leaving, staying = (asyncio.create_task(fetchers.fetch(wanted, unproven=None)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert kind_of(await staying) == "amd-revocations"


async def test_an_asker_of_what_nothing_has_proven_has_a_limit_and_others_have_theirs(services):
    limits = AskerLimits(seconds=100, each=2, all=3)
    now = [0.0]

    def wanted(number):
        return WantedKey(Product.MILAN, bytes([number]) * 64, VENDORS.snp.tcb)

    async def ask(number, asker):
        with pytest.raises((VendorUnknown, VendorUnavailable), match=r"does not have|come back in") as told:
            await limited.fetch(wanted(number), unproven=asker)
        return "come back" not in str(told.value)

    async with Fetchers.of_vendors(services.urls, limits=limits, clock=lambda: now[0]) as limited:
        assert [await ask(number, "one") for number in range(3)] == [True, True, False]
        assert [await ask(number, "other") for number in range(3, 6)] == [True, False, False]  # of all together
        now[0] = 101.0
        assert await ask(6, "one")


async def test_what_is_proven_has_no_such_limit(services):
    limits = AskerLimits(seconds=100, each=0, all=0)
    async with Fetchers.of_vendors(services.urls, limits=limits) as limited:
        await limited.fetch(WantedAmdList(Product.MILAN), unproven=None)
        with pytest.raises(VendorUnavailable, match="unproven reports asked"):
            await limited.fetch(WantedAmdList(Product.GENOA), unproven="one")


async def test_reports_that_nothing_has_proven_are_counted_and_quotes_are_not(store, services):
    async with Fetchers.of_vendors(services.urls, limits=AskerLimits(each=0)) as limited:
        (missing,) = (await complete(made.snp(), store, limited, at=NOON, asker="tests")).missing
        assert "unproven reports asked" in missing.reason
        assert missing.retry
        for evidence in (made.tdx(), made.gpu(), made.azure_tdx()):
            assert (await complete(evidence, store, limited, at=NOON, asker="tests")).missing == ()
        (missing,) = (await complete(made.azure_snp(), store, limited, at=NOON, asker="tests")).missing
        assert "unproven reports asked" in missing.reason


async def test_an_answer_of_a_responder_is_asked_for_again_after_some_minutes(store, services):
    now = [0.0]
    async with Fetchers.of_vendors(services.urls, clock=lambda: now[0]) as aging:
        for at, asked in ((0.0, 6), (299.0, 6), (302.0, 10)):
            now[0] = at
            assert (await complete(made.gpu(), store, aging, at=NOON, asker="tests")).missing == ()
            assert len(services.asked) == asked


async def test_what_is_ending_is_asked_for_ahead_of_its_end(store, services, fetchers):
    for kept in VENDORS.all():
        store.take(kept, at=NOON).require()
    for day, asked in ((0, []), (21, []), (22, ["/vcek/v1/Milan/cert_chain", "/vcek/v1/Milan/crl"])):
        found = await complete(made.snp(), store, fetchers, at=NOON + day * DAY, asker="tests")
        assert found.missing == ()
        assert services.asked == asked


async def test_a_certificate_that_lives_for_years_is_asked_for_in_its_last_month(store, services, fetchers):
    store.take(VENDORS.amd_key(), at=NOON).require()
    end = describe(VENDORS.amd_key()).until
    for before, asked in ((31 * DAY, False), (29 * DAY, True)):
        await complete(made.snp(), store, fetchers, at=end - before, asker="tests")
        assert any("blSPL" in one for one in services.asked) is asked


async def test_a_vendor_that_is_silent_is_not_asked_by_everyone_while_what_there_is_counts(store, services):
    now = [0.0]
    for kept in VENDORS.all():
        store.take(kept, at=NOON).require()
    services.fault = status(503)
    async with Fetchers.of_vendors(services.urls, patience=IMPATIENT, clock=lambda: now[0]) as silent:
        for at, asked in ((0.0, 8), (299.0, 8), (302.0, 16)):  # four answers, two tries each
            now[0] = at
            assert (await complete(made.gpu(), store, silent, at=NOON, asker="tests")).missing == ()
            assert len(services.asked) == asked


async def test_what_a_vendor_does_not_have_is_not_asked_for_again_at_once(store, services):
    now = [0.0]
    stranger = made.snp(chip=SnpHardware(seed="made-up", chip="second", life=VENDORS.snp.life))
    async with Fetchers.of_vendors(services.urls, clock=lambda: now[0]) as asked:
        for at, count in ((0.0, 2), (599.0, 2), (601.0, 3)):
            now[0] = at
            (missing,) = (await complete(stranger, store, asked, at=NOON, asker="tests")).missing
            assert "does not have" in missing.reason
            assert len(services.asked) == count


async def test_the_authorities_of_a_product_are_asked_for_once_an_hour(services):
    now = [0.0]
    async with VendorSite("AMD's", services.url) as site:
        kds = AmdKds(site, clock=lambda: now[0])
        for at, count in ((0.0, 1), (3600.0, 1), (3601.0, 2)):
            now[0] = at
            await kds.fetch(WantedAmdList(Product.MILAN))
            assert services.asked.count("/vcek/v1/Milan/cert_chain") == count


async def test_a_responder_that_is_silent_changes_nothing_until_its_last_answer_ends(store, services, fetchers):
    for kept in VENDORS.all():
        store.take(kept, at=NOON).require()
    services.fault = status(503)
    assert (await complete(made.gpu(), store, fetchers, at=NOON, asker="tests")).missing == ()
    later = await complete(made.gpu(), store, fetchers, at=NOON + 29 * DAY + 1, asker="tests")
    assert all("OCSP" in str(one) and one.retry for one in later.missing)
    assert len(later.missing) == 4


async def test_a_revocation_is_learned_and_not_forgotten(store, services, fetchers):
    for kept in VENDORS.all():
        store.take(kept, at=NOON).require()
    services.revoked = True
    for fault in (None, status(503)):
        services.fault = fault
        found = await complete(made.gpu(), store, fetchers, at=NOON, asker="tests")
        assert set(failed(made.gpu(), found.endorsements)) == {"gpu.revocation", "rim.revocation"}


LIES = {
    "of another vendor": (MadeVendors(NOON, seed="another"), "endorsement.origin"),
    "that has ended": (MadeVendors(NOON - 60 * DAY), "endorsement.date"),
    "that is yet to come": (MadeVendors(NOON + 60 * DAY), "endorsement.date"),
}


@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize("kind", ["snp", "tdx", "gpu"])
async def test_a_mirror_that_answers_with_what_it_may_not_can_only_withhold(name, kind, store):
    vendors, check = LIES[name]
    async with VendorServices(vendors) as lying, Fetchers.of_vendors(lying.urls, patience=IMPATIENT) as asked:
        found = await complete(EVIDENCE[kind], store, asked, at=NOON, asker="tests")
    said = [str(one) for one in found.missing]
    assert any(check in one or "does not have" in one for one in said), said
    assert is_refused(EVIDENCE[kind], found.endorsements)


def is_refused(evidence, endorsements):
    """Without Intel's collateral evidence is refused before it is examined."""
    try:
        return failed(evidence, endorsements) != []
    except MalformedInput:
        return True


async def test_the_certificate_of_another_chip_is_no_answer(store, services, fetchers):
    other = SnpHardware(seed="made-up", chip="second", life=VENDORS.snp.life)
    services.fault = body(other.certificate(), of=f"/vcek/v1/Milan/{VENDORS.snp.chip_id.hex()[:8]}")
    found = await complete(made.snp(), store, fetchers, at=NOON, asker="tests")
    assert "endorsement.subject" in str(found.missing[0])
    assert list(store.of_kind("amd-key")) == []


async def test_the_certificate_for_another_tcb_is_no_answer(store, services, fetchers):
    other = VENDORS.snp.certificate(tcb=replace(VENDORS.snp.tcb, snp=99))
    services.fault = body(other, of=f"/vcek/v1/Milan/{VENDORS.snp.chip_id.hex()[:8]}")
    found = await complete(made.snp(), store, fetchers, at=NOON, asker="tests")
    assert "endorsement.subject" in str(found.missing[0])


async def test_a_mirror_that_brings_a_list_from_before_the_one_seen_is_refused_by_name(store, services, fetchers):
    seen = VENDORS.snp.root.revocations([], Life(NOON - DAY // 2, NOON - 60), number=2)
    kept = msgspec.structs.replace(VENDORS.amd_revocations(), data=seen)
    store.take(kept, at=NOON - 3600).require()
    found = await complete(made.snp(), store, fetchers, at=NOON, asker="tests")
    assert "endorsement.rollback" in str(found.missing[0])
    assert store.find("amd-revocations", "Milan").kept == kept


async def test_what_one_platform_brings_of_intels_early_channel_does_not_outlaw_the_rest(store):
    """A month later, everybody's channel still has the number before."""
    for kept in (VENDORS.tcb_info(tcbEvaluationDataNumber=19), VENDORS.qe_identity(tcbEvaluationDataNumber=19)):
        store.take(kept, at=NOON).require()
    later = NOON + 40 * DAY
    async with VendorServices(MadeVendors(later)) as services, Fetchers.of_vendors(services.urls) as asked:
        found = await complete(made.tdx(), store, asked, at=later, asker="tests")
        assert ["endorsement.rollback" in str(one) for one in found.missing] == [True, True]
    async with VendorServices(MadeVendors(later)) as services, Fetchers.of_vendors(services.urls) as asked:
        services.early_number = 19
        found = await complete(made.tdx(), store, asked, at=later, asker="tests")
        assert found.missing == ()
        assert failed(made.tdx(), found.endorsements, at=later) == []
        assert sum("early" in one for one in services.asked) == 2


@pytest.mark.parametrize("named", ["", "../ids", "a/b", "a?b", "a b", "-", "x" * 129])
async def test_an_id_that_is_none_is_asked_for_nowhere(named, services, fetchers):
    with pytest.raises(VendorUnknown, match="has nothing under the id"):
        await fetchers.fetch(WantedManifest(named), unproven=None)
    assert services.asked == []


async def test_a_recorded_answer_of_a_responder_is_none(store, services, fetchers):
    services.fault = answer_recorded
    found = await complete(made.gpu(), store, fetchers, at=NOON, asker="tests")
    assert len(found.missing) == 4
    assert all("another nonce than was sent" in str(one) for one in found.missing)


async def answer_recorded(request):
    """As the responder answered somebody else."""
    recorded = VENDORS.answer(VENDORS.gpu.rom.chain, nonce=b"\0" * 32).data
    return await body(recorded)(request) if request.method == "POST" else None


AB = hashlib.sha256(b"AB").hexdigest()
WRONG = {
    "a certificate that is none": ("snp", "/vcek/v1/Milan/", b"no certificate"),
    "a chain of one": ("snp", "/vcek/v1/Milan/cert_chain", VENDORS.snp.root.certificate.public_bytes(Encoding.PEM)),
    "a list that is none": ("snp", "/vcek/v1/Milan/crl", b"no list"),
    "TCB info that is none": ("tdx", "/tdx/certification/v4/tcb", b"{}"),
    "TCB info without its chain": (
        "tdx",
        "/tdx/certification/v4/tcb",
        b'{"tcbInfo":{},"signature":"' + b"ab" * 64 + b'"}',
    ),
    "an identity that is none": ("tdx", "/tdx/certification/v4/qe", b"[]"),
    "a platform list without its chain": ("tdx", "/sgx/certification/v4/pckcrl", VENDORS.pck_revocations().data),
    "a root list that is none": ("tdx", "/IntelSGXRootCA.der", b"zz"),
    "a manifest that is none": ("gpu", "/v1/rim/", b"<xml/>"),
    "a manifest that is not Base64": ("gpu", "/v1/rim/", b'{"id":"x","rim":"?","sha256":""}'),
    "a manifest of another id": ("gpu", "/v1/rim/", msgspec.json.encode({"id": "x", "rim": "QUI=", "sha256": AB})),
    "a manifest with another digest": ("gpu", "/v1/rim/", b'{"id":"x","rim":"QUI=","sha256":"00"}'),
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_not_what_a_service_answers_is_named_as_that(name, store, services, fetchers):
    kind, path, wrong = WRONG[name]
    services.fault = body(wrong, of=path)
    found = await complete(EVIDENCE[kind], store, fetchers, at=NOON, asker="tests")
    assert any("answered with" in str(one) for one in found.missing)


async def test_a_cache_of_intels_answers_in_hex_digits(store, services, fetchers):
    services.fault = body(VENDORS.root_revocations().data.hex().encode(), of="/IntelSGXRootCA.der")
    assert (await complete(made.tdx(), store, fetchers, at=NOON, asker="tests")).missing == ()


async def test_an_address_without_tls_is_of_this_machine_only():
    for url in ("http://kdsintf.amd.com", "ftp://127.0.0.1", "https://", "https://a:b@kdsintf.amd.com"):
        with pytest.raises(UsageError, match="AMD"):
            Fetchers.of_vendors(VendorUrls(amd_kds_url=url))
    Fetchers.of_vendors(VendorUrls())


async def test_a_mirror_is_known_by_its_certificate(tmp_path, store):
    authority = Authority(tmp_path)
    certificate, key = authority.signed("mirror.test")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with VendorServices(VENDORS, tls=tls) as mirror:
        known = dataclasses.replace(mirror.urls, ca_file=authority.path)
        async with Fetchers.of_vendors(known, patience=IMPATIENT) as asked:
            assert (await complete(made.tdx(), store, asked, at=NOON, asker="tests")).missing == ()
        async with Fetchers.of_vendors(mirror.urls, patience=IMPATIENT) as asked:
            found = await complete(made.snp(), store, asked, at=NOON, asker="tests")
    assert "is not who it should be" in str(found.missing[0])


@pytest.mark.parametrize("data", [None, b"no certificate"], ids=["no file", "no PEM"])
def test_a_ca_that_cannot_be_read_is_named(data, tmp_path):
    path = tmp_path / "ca.pem"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(UsageError, match=r"ca\.pem cannot be used"):
        Fetchers.of_vendors(VendorUrls(ca_file=path))


async def test_who_left_before_a_failure_leaves_nothing_behind(services, fetchers):
    services.fault = status(404)
    leaving = asyncio.create_task(fetchers.fetch(WantedAmdList(Product.MILAN), unproven=None))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(VendorUnknown):  # which the one who left never saw
        await fetchers.fetch(WantedAmdList(Product.MILAN), unproven=None)
