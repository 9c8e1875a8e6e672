"""What a deployment API remembers: revisions in their order, as they were signed, or a store that is not taken."""

import msgspec
import pytest
from tests.doubles.changed_bytes import last_bit_flipped
from tests.doubles.node_manifests import sample_manifest, sample_node

from cloister.crypto.signing import SigningKey
from cloister.services.deployment.history import History, UnknownRevision
from cloister.services.deployment.signed_manifest import sign_node_manifest
from cloister.storage.database import Database
from cloister.storage.database_file import CorruptStore
from cloister.storage.deployment_store import DeploymentStore, KeptProcess, KeptRevision

KEY = SigningKey.generate()
FIRST = sample_manifest()
SECOND = sample_manifest(sample_node(generation=1), number=2, previous=FIRST.digest())
SIGNED = {one.number: sign_node_manifest(one, KEY) for one in (FIRST, SECOND)}


def kept(number, standing="past", **changed):
    return KeptRevision(number, changed.get("signed", SIGNED[number]), standing, 7, "")


@pytest.fixture
async def store(tmp_path):
    database = await Database.open(tmp_path / "deployment.sqlite", migrations="deployment")
    yield DeploymentStore(database)
    await database.close()


def test_what_was_kept_is_what_was_signed():
    history = History.of([kept(1), kept(2, "in force")])
    assert (history.taken, history.in_force, history.rolling) == ({1: FIRST, 2: SECOND}, SECOND, None)
    assert history.signed_of(1) == SIGNED[1]
    with pytest.raises(UnknownRevision, match="this machine has no revision 3"):
        history.signed_of(3)


@pytest.mark.parametrize(
    ("revisions", "sentence"),
    [
        ([kept(1, signed=last_bit_flipped(SIGNED[1]))], "revision 1 is not what was signed"),
        ([kept(1, signed=SIGNED[2])], "revision 1 does not follow"),
        (
            [kept(1), kept(2, signed=sign_node_manifest(msgspec.structs.replace(SECOND, previous=bytes(32)), KEY))],
            "2 does",
        ),
    ],
    ids=["altered", "another", "spliced"],
)
def test_what_was_changed_on_disk_is_named_and_not_used(revisions, sentence):
    with pytest.raises(CorruptStore, match=sentence):
        History.of(revisions)


async def test_of_several_revisions_the_last_is_rolled_out_and_one_is_in_force_at_a_time(store):
    await store.take([(1, b"a"), (2, b"b")], at=1)
    await store.in_force(2, at=2)
    await store.take([(3, b"c")], at=3)
    await store.in_force(3, at=4)
    await store.take([(4, b"d")], at=5)
    await store.failed(4, "why", at=6)
    assert [(one.number, one.standing, one.at, one.said) for one in await store.revisions()] == [
        (1, "missed", 1, ""),
        (2, "past", 4, ""),
        (3, "in force", 4, ""),
        (4, "failed", 6, "why"),
    ]


@pytest.mark.parametrize("numbers", [[1], [3], [2, 4]], ids=["again", "one left out", "one left out between"])
async def test_a_number_that_does_not_follow_is_never_written(store, numbers):
    await store.take([(1, b"a")], at=1)
    await store.in_force(1, at=1)
    with pytest.raises(CorruptStore):
        await store.take([(number, b"x") for number in numbers], at=2)
    assert [one.number for one in await store.revisions()] == [1]


async def test_a_process_is_kept_before_it_has_an_id_and_forgotten_when_it_has_ended(store):
    about = KeptProcess(sample_node(), 7101, 1, 0, None)
    await store.keep(about)
    assert await store.processes() == (about,)
    runs = KeptProcess(sample_node(), 7101, 2, 1, (100, 5, "boot"))
    await store.keep(runs)
    assert await store.processes() == (runs,)
    await store.forget(runs.name)
    assert await store.processes() == ()
