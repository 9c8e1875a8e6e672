"""A service completes evidence from its store, and is told what the store has seen: what has ended since, too."""

import msgspec
import pytest
from tests.doubles import vendor_evidence as made
from tests.doubles.vendor_evidence import NOON, VENDORS

from cloister.attest.endorsed import sort_endorsements
from cloister.attest.seen import SEEN_NOTHING
from cloister.attest.snp.authentic import examine_snp
from cloister.endorsements.endorsing import AsCarried, StoredEndorsements
from cloister.endorsements.offered import endorsements_of
from cloister.endorsements.store import EndorsementStore
from cloister.formats.evidence import parse_evidence
from cloister.testing.certificates import Life
from cloister.testing.tdx_hardware import DAY
from cloister.testing.world import World

NODE = parse_evidence(World().bundle().evidence)
REPORT = made.snp().report


def evidence(*kept):
    """A node's evidence with a made-up guest's report, and what it brings along."""
    brought = tuple(endorsements_of(kept))
    return msgspec.structs.replace(NODE, platform="snp", report=REPORT, endorsements=brought)


@pytest.fixture
def store(tmp_path):
    return EndorsementStore(tmp_path, VENDORS.roots)


async def gathered(shown, tmp_path, *, at=NOON):
    return await StoredEndorsements(tmp_path, None).gather(shown, VENDORS.roots, at=at, asker="tests")


def failed(shown, found, *, at=NOON):
    endorsed = sort_endorsements(found.completes(shown)).snp
    return examine_snp(REPORT, endorsed, roots=VENDORS.roots.amd, at=at, unsafe=(), seen=found.seen).failed


async def test_what_is_stored_stands_in_the_place_of_what_came_along(store, tmp_path):
    for kept in (VENDORS.amd_key(), VENDORS.amd_revocations()):
        store.take(kept, at=NOON).require()
    shown = evidence(VENDORS.amd_key(), VENDORS.amd_revocations(age=2 * DAY))
    found = await gathered(shown, tmp_path)
    assert failed(shown, found) == []
    assert len(found.endorsements) == 4


async def test_an_older_list_that_came_along_is_not_taken_though_the_newer_one_has_ended(store, tmp_path):
    """Over a restart, too: the memory is the store's."""
    newer = VENDORS.snp.root.revocations([], Life(NOON - DAY // 2, NOON - 60), number=2)
    store.take(msgspec.structs.replace(VENDORS.amd_revocations(), data=newer), at=NOON - 3600).require()
    shown = evidence(VENDORS.amd_key(), VENDORS.amd_revocations())
    found = await gathered(shown, tmp_path)
    assert failed(shown, found) == ["snp.freshness"]
    assert "AMD's revocation list for Milan" in found.missing[0]


async def test_what_came_along_first_is_no_older_than_itself(tmp_path):
    shown = evidence(VENDORS.amd_key(), VENDORS.amd_revocations())
    assert failed(shown, await gathered(shown, tmp_path)) == []
    assert failed(shown, await gathered(shown, tmp_path)) == []


async def test_who_has_no_store_takes_what_came_along_and_remembers_nothing():
    shown = evidence(VENDORS.amd_key(), VENDORS.amd_revocations())
    found = await AsCarried().gather(shown, VENDORS.roots, at=NOON, asker="tests")
    assert (found.endorsements, found.seen) == (shown.endorsements, SEEN_NOTHING)
