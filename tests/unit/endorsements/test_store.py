"""A store keeps the newest of each, hands out nothing that has ended, and names the file that is damaged."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloister.attest.endorsements import describe
from cloister.endorsements.store import DamagedEndorsement, EndorsementStore
from cloister.errors import Unavailable, UsageError
from cloister.formats.endorsement_bundle import kind_of
from cloister.formats.snp_report import SigningKey
from cloister.testing.made_endorsements import MadeVendors
from cloister.testing.snp_hardware import SnpHardware
from cloister.testing.tdx_hardware import DAY

NOON = 1_800_000_000
VENDORS = MadeVendors(NOON)


@pytest.fixture
def store(tmp_path):
    return EndorsementStore(tmp_path, VENDORS.roots)


def test_what_was_taken_is_found_by_kind_and_subject_after_a_restart(store):
    for kept in VENDORS.all():
        assert store.take(kept, at=NOON).failed == []
    again = EndorsementStore(store.folder.parent, VENDORS.roots)
    for kept in VENDORS.all():
        own = describe(kept)
        found = again.get(own.kind, own.subject, at=NOON)
        assert type(found) is type(kept)
        assert describe(found).subject == own.subject


def test_what_is_not_there_is_nothing(store):
    assert store.get("amd-revocations", "Milan", at=NOON) is None
    assert list(store.of_kind("amd-revocations")) == []


def test_what_was_refused_is_not_kept(store):
    refused = store.take(VENDORS.amd_revocations(age=31 * DAY), at=NOON)
    assert refused.failed == ["endorsement.date"]
    assert store.find("amd-revocations", "Milan") is None


def test_what_has_ended_is_not_handed_out_and_is_still_remembered(store):
    store.take(VENDORS.amd_revocations(), at=NOON).require()
    assert store.get("amd-revocations", "Milan", at=NOON + 30 * DAY) is None
    assert store.find("amd-revocations", "Milan") is not None
    older = VENDORS.amd_revocations(age=2 * DAY)
    assert store.take(older, at=NOON).failed == ["endorsement.rollback"]


def test_something_newer_takes_its_place_and_something_older_does_not(store):
    old, new = VENDORS.amd_revocations(age=2 * DAY), VENDORS.amd_revocations()
    for kept, failed in ((old, []), (new, []), (old, ["endorsement.rollback"])):
        assert store.take(kept, at=NOON).failed == failed
    assert store.get("amd-revocations", "Milan", at=NOON) == new


def test_an_answer_for_something_else_than_was_asked_for_is_not_kept(store):
    assert store.take(VENDORS.amd_revocations(), at=NOON, subject="Genoa").failed == ["endorsement.subject"]
    assert list(store.of_kind("amd-revocations")) == []


@pytest.mark.parametrize("at", [0, 31, 32, 200, -1], ids=lambda at: f"byte {at}")
def test_a_file_with_one_bit_changed_is_refused_by_name(store, at):
    store.take(VENDORS.amd_key(), at=NOON).require()
    found = next(store.of_kind("amd-key"))
    data = bytearray(found.path.read_bytes())
    data[at] ^= 1
    found.path.write_bytes(data)
    for ask in (
        lambda: store.get("amd-key", found.described.subject, at=NOON),
        lambda: store.take(VENDORS.amd_key(), at=NOON),
    ):
        with pytest.raises(DamagedEndorsement, match=found.path.name):
            ask()


def test_a_file_that_was_cut_is_refused_by_name(store):
    store.take(VENDORS.amd_key(), at=NOON).require()
    found = next(store.of_kind("amd-key"))
    os.truncate(found.path, 100)
    with pytest.raises(DamagedEndorsement, match=found.path.name):
        store.find("amd-key", found.described.subject)


def test_a_file_in_the_place_of_another_is_refused_by_name(store):
    first, second = VENDORS.manifests()
    store.take(first, at=NOON).require()
    store.take(second, at=NOON).require()
    files = [one.path for one in store.of_kind("nvidia-manifest")]
    files[0].write_bytes(files[1].read_bytes())
    wrong, _ = store.of_kind("nvidia-manifest")
    assert isinstance(wrong, DamagedEndorsement)
    assert files[0].name in str(wrong)


def test_what_was_taken_under_other_roots_is_kept_apart(store):
    other = MadeVendors(NOON, seed="another")
    apart = EndorsementStore(store.folder.parent, other.roots)
    assert store.take(VENDORS.amd_revocations(), at=NOON).failed == []
    assert apart.find("amd-revocations", "Milan") is None
    assert apart.take(other.amd_revocations(age=2 * DAY), at=NOON).failed == []


def test_a_folder_that_cannot_be_one_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="file/store cannot be used"):
        EndorsementStore(tmp_path / "file" / "store", VENDORS.roots)


def test_a_disk_that_fails_is_named_and_what_was_there_stays(store, monkeypatch):
    old = VENDORS.amd_revocations(age=2 * DAY)
    store.take(old, at=NOON).require()

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(Unavailable, match="No space left"):
        store.take(VENDORS.amd_revocations(), at=NOON)
    monkeypatch.undo()
    assert store.get("amd-revocations", "Milan", at=NOON) == old


DIES = """
import os, sys
from pathlib import Path
from cloister.endorsements.store import EndorsementStore
from cloister.testing.made_endorsements import MadeVendors
vendors = MadeVendors(1_800_000_000)
store = EndorsementStore(Path(sys.argv[1]), vendors.roots)
name, left = sys.argv[2], [int(sys.argv[3])]
def dying(event, _):
    if event == name:
        left[0] -= 1
        if left[0] == 0:
            os._exit(9)
sys.addaudithook(dying)
store.take(vendors.amd_revocations(), at=vendors.at).require()
"""


@pytest.mark.parametrize(("event", "count"), [("tempfile.mkstemp", 1), ("os.rename", 1), ("open", 4)])
def test_a_store_whose_process_died_while_it_wrote_holds_the_old_or_the_new(store, event, count):
    old = VENDORS.amd_revocations(age=2 * DAY)
    store.take(old, at=NOON).require()
    died = subprocess.run([sys.executable, "-c", DIES, store.folder.parent, event, str(count)], check=False, timeout=60)
    assert died.returncode == 9
    assert store.get("amd-revocations", "Milan", at=NOON) == old
    store.take(VENDORS.amd_revocations(), at=NOON).require()
    assert len(list((store.folder / "amd-revocations").iterdir())) == 1


def test_of_many_that_write_at_once_the_newest_stays(store):
    lists = [VENDORS.amd_revocations(age=age * 3600) for age in range(1, 9)]
    stores = [EndorsementStore(store.folder.parent, VENDORS.roots) for _ in lists]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda pair: pair[0].take(pair[1], at=NOON), zip(stores, lists, strict=True)))
    assert store.get("amd-revocations", "Milan", at=NOON) == lists[0]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ages=st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_whatever_comes_in_whatever_order_the_newest_in_date_is_kept(tmp_path_factory, ages):
    store = EndorsementStore(tmp_path_factory.mktemp("store"), VENDORS.roots)
    for age in ages:
        store.take(VENDORS.amd_revocations(age=age * DAY), at=NOON)
    in_date = [age for age in ages if age <= 30]
    kept = store.get("amd-revocations", "Milan", at=NOON)
    assert (kept is None) == (not in_date)
    if kept is not None:
        assert describe(kept).mark[-1] == NOON - min(in_date) * DAY
        assert kind_of(kept) == "amd-revocations"


def test_strangers_chips_do_not_fill_the_disk_and_what_must_be_remembered_stays(tmp_path):
    """Anyone can have a genuine certificate of a chip, and lists are a memory."""
    small = EndorsementStore(tmp_path, VENDORS.roots, most=3)
    for kept in (VENDORS.amd_revocations(), VENDORS.tcb_info(), VENDORS.qe_identity()):
        small.take(kept, at=NOON).require()
    for number in range(5):
        chip = SnpHardware(seed=VENDORS.seed, chip=f"stranger {number}", life=VENDORS.snp.life)
        small.take(VENDORS.amd_key(hardware=chip), at=NOON).require()
        for age, path in enumerate(sorted((small.folder / "amd-key").iterdir(), key=os.path.getmtime, reverse=True)):
            os.utime(path, (1_700_000_000 - age, 1_700_000_000 - age))  # written long ago, in this order
    last = VENDORS.amd_key(hardware=chip)
    assert len(list(small.of_kind("amd-key"))) == 3
    assert small.find("amd-key", describe(last).subject) is not None
    assert small.find("amd-revocations", "Milan") is not None


def test_the_few_keys_of_clouds_are_found_among_many_of_chips(store):
    store.take(VENDORS.amd_key(), at=NOON).require()
    store.take(VENDORS.amd_key(SigningKey.VLEK), at=NOON).require()
    (cloud,) = store.of_clouds()
    assert " VLEK of " in cloud.described.subject
    assert len(list(store.of_kind("amd-key"))) == 2
