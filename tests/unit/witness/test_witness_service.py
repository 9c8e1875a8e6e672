"""The witness over HTTP, over its real memory."""

import asyncio
import contextlib
import json
from pathlib import Path

import aiohttp
import pytest
from tests.doubles.served import served

from cloister.crypto.merkle import GrowingTree, consistency_path, leaf_hash
from cloister.crypto.ml_dsa import MlDsaKey
from cloister.crypto.signing import SigningKey
from cloister.errors import Refused
from cloister.formats.add_checkpoint import AddCheckpoint
from cloister.formats.checkpoint import Checkpoint, SignedNote, parse_signature_lines
from cloister.formats.constitution import Log
from cloister.ledger.checkpoints import sign_checkpoint
from cloister.ledger.cosignatures import WitnessKeys, cosignature_time
from cloister.ledger.witness_rules import SizeConflict
from cloister.peers.exchange import PeerRefused
from cloister.peers.witness import WitnessClient
from cloister.services.witness.routes import build
from cloister.services.witness.witness import Witnessing
from cloister.storage.database import Database
from cloister.storage.database_file import CorruptStore
from cloister.storage.witness_store import WitnessStore

SEQUENCE = Path("../shared/vectors/ledger/witness/litewitness-sequence.json")
KEY, LOG_KEY = SigningKey.generate(), SigningKey.generate()
LOG = Log(origin="log.test/cloister", key=LOG_KEY.public)
KEYS = WitnessKeys(KEY, MlDsaKey.generate())
WITNESS = KEYS.named("witness.test")
TREE = GrowingTree()
for number in range(12):
    TREE.append(leaf_hash(bytes([number])))


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@contextlib.asynccontextmanager
async def witness(folder, *, log=LOG, clock=None):
    """The URL of a witness over its memory in `folder`."""
    database = await Database.open(folder / "witness.sqlite", migrations="witness")
    store = WitnessStore(database)
    witnessing = Witnessing(WITNESS.name, KEYS, {log.origin: log}, store, clock=clock or Clock(100))
    try:
        async with served(build(witnessing)) as url:
            yield url
    finally:
        await database.close()


def note(size, root=None):
    return sign_checkpoint(Checkpoint(LOG.origin, size, TREE.root(size) if root is None else root), LOG_KEY)


def body(old, new, root=None):
    path = consistency_path(old, new, TREE.subtree) if 0 < old <= new else ()
    return AddCheckpoint(old, path, note(new, root).encode()).encode()


def request(old, new, root=None):
    path = consistency_path(old, new, TREE.subtree) if 0 < old <= new else ()
    return AddCheckpoint(old, path, note(new, root).encode())


async def post(url, content):
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/add-checkpoint", data=content) as response,
    ):
        return response.status, response.content_type, await response.text()


@pytest.fixture
def published():
    if not SEQUENCE.exists():
        pytest.skip(f"{SEQUENCE} is not here")
    return json.loads(SEQUENCE.read_text(encoding="utf-8"))


async def test_the_published_conversation_is_answered_as_published(tmp_path, published):
    key = bytes.fromhex(published["log_ed25519_public_key_hex"])
    origin = published["requests"][0]["request_body"].split("\n")[2]
    async with witness(tmp_path, log=Log(origin=origin, key=key)) as url:
        for case in published["requests"]:
            status, kind, text = await post(url, case["request_body"].encode())
            # At that commit an unknown origin answered 403; the specification says 404.
            assert status == (404 if "unknown log" in case["assert"] else case["status"])
            if status == 409:
                assert kind == "text/x.tlog.size"
                assert json.dumps(text) in case["assert"]
            if status == 200:
                assert text.startswith("\u2014 witness.test ")


async def test_a_cosignature_holds_and_states_the_time(tmp_path):
    async with witness(tmp_path, clock=Clock(1234)) as url:
        status, _, text = await post(url, request(0, 3).encode())
    assert status == 200
    lines = parse_signature_lines(text.encode())
    assert [len(line.signature) for line in lines] == [8 + 64, 8 + 2420]
    assert cosignature_time(SignedNote(note(3).text, lines), WITNESS) == 1234


async def test_the_same_size_is_cosigned_again_with_a_new_time(tmp_path):
    clock = Clock(100)
    async with witness(tmp_path, clock=clock) as url, WitnessClient(WITNESS.name, url) as client:
        times = []
        for old, now in [(0, 100), (3, 200)]:
            clock.now = now
            lines = await client.add_checkpoint(request(old, 3))
            times.append(cosignature_time(SignedNote(note(3).text, lines), WITNESS))
    assert times == [100, 200]


async def test_it_remembers_over_a_restart(tmp_path):
    async with witness(tmp_path) as url, WitnessClient(WITNESS.name, url) as client:
        await client.add_checkpoint(request(0, 5))
    async with witness(tmp_path) as url, WitnessClient(WITNESS.name, url) as client:
        with pytest.raises(SizeConflict) as conflict:
            await client.add_checkpoint(request(0, 5))
        assert conflict.value.size == 5
        with pytest.raises(Refused, match=r"witness\.fork"):
            await client.add_checkpoint(request(5, 5, root=b"f" * 32))
        with pytest.raises(PeerRefused, match="does not continue") as refused:
            await client.add_checkpoint(request(5, 8, root=b"f" * 32))
        assert refused.value.answer == 422
        await client.add_checkpoint(request(5, 8))


async def test_of_two_histories_at_once_one_is_cosigned(tmp_path):
    fork = GrowingTree()
    for number in range(4):
        fork.append(leaf_hash(b"fork %d" % number))
    async with witness(tmp_path) as url, WitnessClient(WITNESS.name, url) as client:
        answers = await asyncio.gather(
            *(client.add_checkpoint(request(0, 4, root=root)) for root in [TREE.root(4), fork.root(4)] * 10),
            return_exceptions=True,
        )
    cosigned = [number for number, answer in enumerate(answers) if isinstance(answer, tuple)]
    assert len(cosigned) == 1


async def test_what_could_not_be_remembered_is_not_cosigned(tmp_path):
    async with witness(tmp_path) as url, WitnessClient(WITNESS.name, url) as client:
        await client.add_checkpoint(request(0, 3))
    database = await Database.open(tmp_path / "witness.sqlite", migrations="witness")
    store = WitnessStore(database)
    witnessing = Witnessing(WITNESS.name, KEYS, {LOG.origin: LOG}, store, clock=Clock(100))
    forbidding = "CREATE TRIGGER full BEFORE INSERT ON heads BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    await database.run(lambda connection: connection.execute(forbidding))
    with pytest.raises(CorruptStore, match="the disk is full"):
        await witnessing.add_checkpoint(request(3, 5))
    await database.run(lambda connection: connection.execute("DROP TRIGGER full"))
    assert (await store.head(LOG.origin)).size == 3
    with pytest.raises(CorruptStore, match="never goes back"):
        await database.run(lambda connection: connection.execute("UPDATE heads SET size = 2"))
    await database.close()


@pytest.mark.parametrize(
    ("content", "status"), [(b"", 400), (b"old 0\n\nnote\n", 400), (bytes(140_000), 413), (b"old 4\n\n", 400)]
)
async def test_what_is_no_request_is_told_so(tmp_path, content, status):
    async with witness(tmp_path) as url:
        found, kind, _ = await post(url, content)
    assert (found, kind) == (status, "application/problem+json")
