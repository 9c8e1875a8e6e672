"""The ledger over HTTP, called as its peers call it."""

import asyncio
import contextlib
import hashlib
import time

import aiohttp
import cbor2
import pytest
from tests.doubles.faulty_ledger import LedgerLife, make_keys
from tests.doubles.served import served

from cloister.crypto.merkle import check_consistency, check_inclusion, leaf_hash, root
from cloister.crypto.signing import SigningKey
from cloister.crypto.verification_key import VerificationKey
from cloister.errors import MalformedInput, Unavailable
from cloister.formats.checkpoint import parse_checkpoint, parse_note
from cloister.formats.release import Revocation
from cloister.ledger.receipts import verify_inclusion
from cloister.ledger.statements import open_statements, sign_statement
from cloister.peers.exchange import PeerRefused
from cloister.peers.ledger import LedgerClient
from cloister.services.ledger.routes import Log, build
from cloister.services.ledger.writers import Writers
from cloister.storage.blobs import BlobFiles, BlobStore

SIGNER = SigningKey.generate()
CBOR = {"content-type": "application/cbor"}


def statement(number):
    record = Revocation(contract=bytes(32), target=number.to_bytes(32, "big"), reason="a test")
    return sign_statement("revocation", record, [SIGNER])


@contextlib.asynccontextmanager
async def ledger(folder, *, admit=open_statements, capacity=10**9, spent=0, issuers=None):
    """A ledger's life, and a client of it."""
    keys = make_keys()
    async with LedgerLife(folder, keys) as life:
        blobs = BlobFiles(BlobStore(folder / "blobs", maximum=16 * 1024 * 1024, capacity=capacity))
        writers = Writers((), None, per_second=1000, clock=time.monotonic)
        writers.charge(spent)
        log = Log(life.sequencer, blobs, keys["log"], admit, writers, issuers or {})
        async with served(build(log)) as url, LedgerClient(url) as client:
            yield life, client, url


def head(note):
    return parse_checkpoint(parse_note(note).text)


async def test_everything_that_is_logged_proves_itself(tmp_path):
    async with ledger(tmp_path) as (life, client, _):
        entries = [statement(number) for number in range(6)]
        for number, entry in enumerate(entries):
            appended = await client.append(entry)
            checkpoint = head(appended.checkpoint)
            check_inclusion(leaf_hash(entry), number, checkpoint.size, appended.path, checkpoint.root)
        assert await client.entries(0, 6) == tuple(entries)
        assert head(await client.checkpoint()) == checkpoint
        assert head(await client.renew_checkpoint()) == checkpoint
        check_inclusion(leaf_hash(entries[2]), 2, 6, await client.inclusion(2, 6), checkpoint.root)
        old = root([leaf_hash(entry) for entry in entries[:3]])
        check_consistency(3, old, 6, checkpoint.root, await client.consistency(3, 6))
        found = verify_inclusion(
            await client.receipt(4),
            leaf=leaf_hash(entries[4]),
            log_key=VerificationKey.of_ed25519(life.sequencer.log.key),
        )
        assert (found.index, found.size) == (4, 6)


async def test_long_runs_of_entries_come_page_by_page(tmp_path):
    async with ledger(tmp_path, admit=lambda entries: entries) as (_, client, _):
        entries = [number.to_bytes(2, "big") * 30_000 for number in range(90)]  # over one page of 4 MiB
        await asyncio.gather(*(client.append(entry) for entry in entries))
        assert sorted(await client.entries(0, 90)) == entries
        assert len(await client.entries(5, 85)) == 80
        assert await client.entries(7, 7) == ()


@pytest.mark.parametrize(
    "entry", [b"", b"no statement", cbor2.dumps({"kind": "revocation"}), statement(1) + b"\0", statement(1)[:-1]]
)
async def test_only_well_formed_signed_statements_are_logged(tmp_path, entry):
    async with ledger(tmp_path) as (life, client, _):
        with pytest.raises(PeerRefused, match="the ledger refused") as refused:
            await client.append(entry)
        assert refused.value.answer == 400
        assert life.steps.taken == []


async def test_a_statement_whose_signature_does_not_hold_is_not_logged(tmp_path):
    entry = bytearray(statement(1))
    entry[-1] ^= 1
    async with ledger(tmp_path) as (life, client, url):
        with pytest.raises(PeerRefused) as refused:
            await client.append(bytes(entry))
        assert refused.value.answer in (400, 403)
        assert life.steps.taken == []
        # Too large is refused before it is read.
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/entries", data=bytes(65_536), headers=CBOR) as response,
        ):
            assert response.status == 413


@pytest.mark.parametrize(
    "media_type",
    ["", "text/plain", "text/plain;application/cbor", "multipart/form-data", "application/x-www-form-urlencoded"],
)
@pytest.mark.parametrize("route", ["POST /entries", "POST /batches", "POST /checkpoint", "PUT /blobs"])
async def test_what_a_web_page_may_send_without_asking_first_changes_nothing(tmp_path, route, media_type):
    method, path = route.split()
    async with ledger(tmp_path) as (life, _, url), aiohttp.ClientSession() as session:
        headers = {"content-type": media_type}
        async with session.request(method, url + path, data=statement(1), headers=headers) as response:
            assert response.status == 415
            assert response.content_type == "application/problem+json"
        assert life.steps.taken == []
        assert not list((tmp_path / "blobs").rglob("*.*"))


async def test_an_empty_log_gets_its_first_checkpoint_when_asked(tmp_path):
    async with ledger(tmp_path) as (_, client, _):
        with pytest.raises(Unavailable, match="no checkpoint"):
            await client.checkpoint()
        assert head(await client.renew_checkpoint()).size == 0
        assert head(await client.checkpoint()).size == 0


async def test_with_its_witness_down_the_ledger_says_whose_fault_it_is(tmp_path):
    async with ledger(tmp_path) as (life, client, _):
        life.witnesses[0].down = True
        with pytest.raises(Unavailable, match=r"0 of the 1 witnesses .* witness0\.test cannot be reached"):
            await client.append(statement(1))


@pytest.mark.parametrize(
    "target",
    [
        "/entries",
        "/entries?start=0",
        "/entries?start=0&end=1&end=1",
        "/entries?start=0&end=1&more=1",
        "/entries?start=-1&end=1",
        "/entries?start=01&end=1",
        "/entries?start=0&end=2",
        "/entries/1/receipt",
        "/entries/x/receipt",
        "/proofs/inclusion?index=1&size=1",
        "/proofs/consistency?old=0&new=1",
        "/proofs/consistency?old=1&new=99999999999999999999",
        "/blobs/00",
        "/blobs/" + "AB" * 32,
    ],
)
async def test_senseless_questions_are_refused(tmp_path, target):
    async with ledger(tmp_path) as (_, client, url):
        await client.append(statement(1))
        async with aiohttp.ClientSession() as session, session.get(url + target) as response:
            assert response.status == 400
            assert response.content_type == "application/problem+json"


async def test_blobs_come_back_by_their_digest(tmp_path):
    async with ledger(tmp_path, capacity=2_500_000) as (_, client, _):
        blob = bytes(range(256)) * 4096
        digest = await client.put_blob(blob)
        assert digest == hashlib.sha256(blob).digest() == await client.put_blob(blob)
        assert await client.get_blob(digest) == blob
        with pytest.raises(PeerRefused) as refused:
            await client.get_blob(bytes(32))
        assert refused.value.answer == 404
        with pytest.raises(PeerRefused) as refused:
            await client.put_blob(bytes(16 * 1024 * 1024 + 1))
        assert refused.value.answer == 413
        with pytest.raises(Unavailable, match="the cap is"):
            await client.put_blob(bytes(2_000_000))


async def test_a_damaged_blob_is_a_fault_of_the_ledger(tmp_path):
    async with ledger(tmp_path) as (_, client, _):
        digest = await client.put_blob(b"blob")
        (tmp_path / "blobs" / digest.hex()).write_bytes(b"blab")
        with pytest.raises(Unavailable, match="damaged"):
            await client.get_blob(digest)


async def test_the_admission_is_what_the_caller_says(tmp_path):
    def admit(entries):
        return [MalformedInput("not today") for _ in entries]

    async with ledger(tmp_path, admit=admit) as (_, client, _):
        with pytest.raises(PeerRefused, match="not today"):
            await client.append(statement(1))
