"""`cloister endorsements`, run as its users do, against made-up vendors on this machine."""

import asyncio
import json
import time

import pytest
from tests.doubles.command_line import cloister_command
from tests.doubles.vendor_faults import status

from cloister.endorsements.bundle import encode_bundle
from cloister.endorsements.store import EndorsementStore
from cloister.formats.endorsement_bundle import Kept
from cloister.testing.made_endorsements import MadeVendors
from cloister.testing.made_vendors import options, write_evidence
from cloister.testing.tdx_hardware import DAY
from cloister.testing.vendor_services import VendorServices

NOW = int(time.time())
VENDORS = MadeVendors(NOW)


@pytest.fixture
async def services():
    async with VendorServices(VENDORS) as running:
        yield running


@pytest.fixture
def home(tmp_path):
    write_evidence(VENDORS, tmp_path)
    return tmp_path


@pytest.fixture
def store(home):
    return EndorsementStore(home / "store", VENDORS.roots)


async def run(home, verb, *arguments, own_store=True):
    where = ("--store", "store") if own_store else ()
    return await cloister_command(
        "endorsements", verb, *arguments, *where, "--appraisal-policy", "policy.toml", home=home
    )


async def test_what_was_fetched_crosses_the_air_gap_in_one_file(home, services):
    files = ("--for", "snp.bin", "--for", "tdx.bin", "--for", "gpu.json")
    fetched = await run(home, "fetch", *files, "--out", "all.bundle", *options(services).split(), own_store=False)
    assert (fetched.code, fetched.err) == (0, "")
    assert "wrote all.bundle: 12 endorsements" in fetched.out
    imported = await run(home, "import", "all.bundle")
    assert imported.code == 0
    assert imported.out.endswith("12 taken, 0 refused\n")
    listed = await run(home, "list", "--json")
    assert {one["kind"] for one in json.loads(listed.out)} >= {"amd-key", "intel-tcb-info", "nvidia-manifest"}
    assert all(one["in_date"] for one in json.loads(listed.out))
    # What is there is asked for no more: no service is named, and the vendors' own are not there.
    again = await run(home, "fetch", "--for", "snp.bin", "--for", "tdx.bin", "--json")
    assert again.code == 0, again.err
    assert [one["missing"] for one in json.loads(again.out)] == [[], []]


async def test_what_is_missing_is_named_and_the_rest_is_written(home, services):
    async def no_manifests(request):
        return await status(404)(request) if request.path.startswith("/v1/rim") else None

    services.fault = no_manifests
    fetched = await run(home, "fetch", "--for", "gpu.json", "--out", "gpu.bundle", *options(services).split())
    assert fetched.code == 4
    assert "✗ NVIDIA's manifest NV_GPU_DRIVER_GH100_550.90.07: NVIDIA's RIM service does not have" in fetched.out
    assert "wrote gpu.bundle: 2 endorsements" in fetched.out
    assert "2 of what the evidence needs is missing" in fetched.err


async def test_evidence_of_other_roots_is_refused_by_its_check_and_asks_nobody(home, services):
    (home / "tdx.bin").write_bytes(MadeVendors(NOW, seed="another").tdx.quote())
    fetched = await run(home, "fetch", "--for", "tdx.bin", *options(services).split())
    assert fetched.code == 3
    assert "refused by tdx.pck-chain" in fetched.err
    assert services.asked == []


async def test_one_file_that_is_refused_does_not_stop_the_others(home, services):
    (home / "foreign.bin").write_bytes(MadeVendors(NOW, seed="another").tdx.quote())
    files = ("--for", "foreign.bin", "--for", "none.bin", "--for", "tdx.bin")
    fetched = await run(home, "fetch", *files, "--out", "some.bundle", *options(services).split())
    assert fetched.code == 3
    assert "foreign.bin: refused by tdx.pck-chain" in fetched.err
    assert "none.bin cannot be read" in fetched.err
    assert "wrote some.bundle: 4 endorsements" in fetched.out


async def test_the_state_folder_stays_its_owners_alone(home):
    (home / "some.bundle").write_bytes(encode_bundle([VENDORS.amd_key()]))
    imported = await run(home, "import", "some.bundle", own_store=False)
    assert (imported.code, imported.out.splitlines()[-1]) == (0, "1 taken, 0 refused")
    folder = home / ".local" / "state" / "cloister"
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("verb", ["list", "expire"])
@pytest.mark.parametrize("own_store", [True, False], ids=["named", "default"])
async def test_a_store_that_is_not_there_is_said_and_not_made(verb, own_store, home):
    before = {*home.rglob("*")}
    ran = await run(home, verb, own_store=own_store)
    assert (ran.code, ran.out) == (2, "")
    assert "there is no store of endorsements at" in ran.err
    assert {*home.rglob("*")} == before


@pytest.mark.parametrize("verb", ["list", "expire"])
async def test_a_folder_that_is_no_store_is_said_and_left_as_it_is(verb, home):
    (home / "store").mkdir()
    ran = await run(home, verb)
    assert (ran.code, ran.out) == (2, "")
    assert "store is no store of endorsements" in ran.err
    assert [*(home / "store").iterdir()] == []


@pytest.mark.parametrize("verb", ["list", "expire"])
async def test_what_a_store_has_under_other_roots_is_counted_and_nothing_is_made(verb, home, store):
    for kept in (VENDORS.amd_key(), VENDORS.amd_revocations()):
        store.take(kept, at=NOW).require()
    before = {*home.rglob("*")}
    ran = await cloister_command("endorsements", verb, "--store", "store", home=home)
    assert (ran.code, ran.out) == (2, "")
    assert "2 endorsements under other roots: give the --appraisal-policy" in ran.err
    assert {*home.rglob("*")} == before


async def test_an_empty_store_is_not_praised_for_lasting(home, store):
    ran = await run(home, "expire")
    assert (ran.code, ran.out) == (0, "the store is empty: nothing in it can end\n")


async def test_a_damaged_file_refuses_what_would_take_its_place(home, store):
    store.take(VENDORS.amd_revocations(), at=NOW).require()
    path = store.find("amd-revocations", "Milan").path
    path.write_bytes(b"damaged")
    (home / "some.bundle").write_bytes(encode_bundle([VENDORS.amd_key(), VENDORS.amd_revocations()]))
    imported = await run(home, "import", "some.bundle")
    assert imported.code == 3
    assert "1 taken, 1 refused" in imported.out
    assert f"{path.relative_to(home)} is damaged" in imported.out


async def test_what_was_collected_beside_evidence_is_taken_along(home):
    for number, data in enumerate(VENDORS.amd_key().chain, 1):
        (home / f"snp.bin.amd-certificates.{number}").write_bytes(data)
    (home / "snp.bin.amd-revocations.4").write_bytes(VENDORS.amd_revocations().data)
    fetched = await run(home, "fetch", "--for", "snp.bin", "--amd-kds", "http://127.0.0.1:1", "--out", "snp.bundle")
    assert fetched.code == 0, fetched.out
    assert "wrote snp.bundle: 2 endorsements" in fetched.out


async def test_a_file_that_is_no_evidence_is_named(home):
    (home / "notes.txt").write_text("no evidence")
    fetched = await run(home, "fetch", "--for", "notes.txt")
    assert fetched.code == 2
    assert "notes.txt: not evidence" in fetched.err


async def test_a_mirror_without_tls_is_refused(home):
    fetched = await run(home, "fetch", "--for", "snp.bin", "--amd-kds", "http://kds.example")
    assert fetched.code == 2
    assert "https, or http on this machine" in fetched.err


async def test_of_a_bundle_what_passes_is_taken_and_what_does_not_is_named(home):
    foreign = MadeVendors(NOW, seed="another")
    bundle: list[Kept] = [VENDORS.amd_key(), foreign.tcb_info(), VENDORS.amd_revocations(age=31 * DAY)]
    (home / "some.bundle").write_bytes(encode_bundle(bundle))
    imported = await run(home, "import", "some.bundle")
    assert imported.code == 3
    assert imported.out.endswith("1 taken, 2 refused\n")
    assert "refused by endorsement.origin" in imported.out
    assert "refused by endorsement.date" in imported.out
    told = json.loads((await run(home, "import", "--json", "some.bundle")).out)
    assert [one["refused_by"] for one in told] == [None, "endorsement.date", "endorsement.origin"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("snp.bin", "AMD SEV-SNP attestation report, version 5; for evidence, cloister endorsements fetch --for FILE"),
        ("vcek.der", "files as vendors hand them out are for cloister evidence verify --endorsements"),
        ("vendor", "files as vendors hand them out are for cloister evidence verify --endorsements"),
    ],
)
async def test_what_is_no_bundle_is_told_where_it_belongs_and_no_store_is_made(name, says, home):
    (home / "vcek.der").write_bytes(VENDORS.amd_key().chain[0])
    (home / "vendor").mkdir()
    imported = await run(home, "import", name)
    assert (imported.code, imported.out) == (2, "")
    assert "a bundle is expected, the one file that cloister endorsements fetch --out BUNDLE writes" in imported.err
    assert says in imported.err
    assert not (home / "store").exists()


async def test_a_bundle_that_cannot_be_written_asks_nobody(home, services):
    fetched = await run(home, "fetch", "--for", "snp.bin", "--out", "no/all.bundle", *options(services).split())
    assert (fetched.code, services.asked) == (2, [])
    assert "--out no/all.bundle: there is no folder no, make it first" in fetched.err


async def test_a_vendor_that_has_no_address_here_is_named_with_what_to_do(home):
    fetched = await run(home, "fetch", "--for", "snp.bin", "--amd-kds", "https://kds.invalid")
    assert fetched.code == 4
    assert "was not asked: this machine finds no address for kds.invalid" in fetched.out
    assert "name a mirror that can be, with --amd-kds" in fetched.err
    assert "cloister endorsements import BUNDLE" in fetched.err


async def test_an_older_bundle_does_not_replace_what_is_there(home):
    for age, code in ((DAY, 0), (2 * DAY, 3)):
        (home / "some.bundle").write_bytes(encode_bundle([VENDORS.amd_revocations(age=age)]))
        imported = await run(home, "import", "some.bundle")
        assert imported.code == code
    assert "endorsement.rollback" in imported.err


@pytest.mark.parametrize(
    "data", [b"", b"no bundle", encode_bundle([VENDORS.amd_key()])[:-1]], ids=["empty", "text", "cut"]
)
async def test_a_file_that_is_no_bundle_is_named(data, home):
    (home / "some.bundle").write_bytes(data)
    imported = await run(home, "import", "some.bundle")
    assert imported.code == 2
    assert "some.bundle is no bundle of endorsements" in imported.err


async def test_a_damaged_file_ends_the_list_by_its_name(home, store):
    for kept in (VENDORS.amd_key(), VENDORS.amd_revocations()):
        store.take(kept, at=NOW).require()
    path = store.find("amd-revocations", "Milan").path
    path.write_bytes(b"damaged")
    listed = await run(home, "list")
    assert listed.code == 1
    assert "amd-key" in listed.out
    assert str(path.relative_to(home)) in listed.err


async def test_what_will_end_is_warned_of_and_what_has_ended_is_refused(home, store):
    for kept in (VENDORS.amd_key(), VENDORS.amd_revocations(age=20 * DAY)):
        store.take(kept, at=NOW).require()
    (quiet, warned) = await asyncio.gather(run(home, "expire", "--within", "36h"), run(home, "expire"))
    assert (quiet.code, quiet.out) == (0, "nothing ends within that time\n")
    assert warned.code == 0
    assert warned.out.startswith("✓ amd-revocations")
    store.take(VENDORS.root_revocations(age=31 * DAY), at=NOW - 2 * DAY).require()
    ended = await run(home, "expire", "--json")
    assert ended.code == 3
    assert [one["in_date"] for one in json.loads(ended.out)] == [False, True]
    assert "1 have ended" in ended.err


async def test_a_length_of_time_that_is_none_is_wrong_usage(home):
    ran = await run(home, "expire", "--within", "2 weeks")
    assert ran.code == 2
    assert "no length of time" in ran.err
