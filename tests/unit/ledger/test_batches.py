"""Many entries by one request: each has its own answer, and none is another's trouble."""

import aiohttp
import cbor2
import pytest
from tests.unit.ledger.test_routes import CBOR, head, ledger, statement

from cloister.crypto.merkle import check_inclusion, leaf_hash
from cloister.errors import Unavailable
from cloister.formats.ledger_batch import MAXIMUM_BATCH, RefusedEntry, batches, encode_batch
from cloister.formats.ledger_messages import Appended
from cloister.services.ledger.writers import BRIM_BYTES


def proved(entry, answer):
    """The index of an entry that was logged; its answer proves it."""
    assert isinstance(answer, Appended)
    checkpoint = head(answer.checkpoint)
    check_inclusion(leaf_hash(entry), answer.index, checkpoint.size, answer.path, checkpoint.root)
    return answer.index


def forged(entry):
    """With a signature that does not hold."""
    at = entry.index(b"signatures") + len(b"signatures")
    at = entry.index(b"\x58\x40", at) + 2  # the 64 bytes of the first one
    return entry[: at + 5] + bytes([entry[at + 5] ^ 1]) + entry[at + 6 :]


async def test_each_entry_of_a_batch_proves_itself_under_one_checkpoint(tmp_path):
    entries = [statement(number) for number in range(600)]
    async with ledger(tmp_path) as (life, client, _):
        await client.append(statement(1000))
        answers = await client.append_all(entries)
        assert [proved(entry, answer) for entry, answer in zip(entries, answers, strict=True)] == [*range(1, 601)]
        assert len({answer.checkpoint for answer in answers}) == 1
        assert life.steps.taken.count("before the witness is asked") < 5


async def test_an_entry_that_is_refused_says_why_and_leaves_the_others_as_they_are(tmp_path):
    entries = [statement(0), forged(statement(1)), b"", statement(2), bytes(65_536), b"no entry", statement(3)]
    async with ledger(tmp_path) as (life, client, _):
        answers = await client.append_all(entries)
        logged = [entry for entry, answer in zip(entries, answers, strict=True) if isinstance(answer, Appended)]
        assert logged == [statement(0), statement(2), statement(3)]
        assert [proved(entries[at], answers[at]) for at in (0, 3, 6)] == [0, 1, 2]
        refused = {one.position: one.reason for one in answers if isinstance(one, RefusedEntry)}
        assert refused == {1: "signature", 2: "malformed", 4: "too-large", 5: "malformed"}
        assert "does not hold" in answers[1].detail
        assert await life.sequencer.entries(0, 3, limit=10**6) == logged


async def test_the_same_bytes_have_one_index_within_a_batch_and_across_batches(tmp_path):
    one, other, third = (statement(number) for number in range(3))
    async with ledger(tmp_path) as (_, client, _):
        first = await client.append_all([one, other, one])
        assert [answer.index for answer in first] == [0, 1, 0]
        second = await client.append_all([third, other])
        assert [proved(entry, answer) for entry, answer in zip([third, other], second, strict=True)] == [2, 1]


async def test_a_batch_of_nothing_but_refusals_is_answered(tmp_path):
    async with ledger(tmp_path) as (_, client, _):
        (answer,) = await client.append_all([b"no entry"])
        assert answer.reason == "malformed"


async def test_more_than_fits_a_request_goes_in_several(tmp_path):
    entries = [number.to_bytes(2, "big") * 30_000 for number in range(80)]  # 4.8 MB
    assert [len(encode_batch(batch)) <= MAXIMUM_BATCH for batch in batches(entries)] == [True, True]
    async with ledger(tmp_path, admit=lambda entries: entries) as (_, client, _):
        answers = await client.append_all(entries)
        assert [answer.index for answer in answers] == [*range(80)]
        assert [len(batch) for batch in batches([b"e"] * 2500)] == [1024, 1024, 452]
        assert await client.append_all([]) == []


async def test_with_its_witness_down_a_batch_is_to_be_sent_again_and_keeps_its_indices(tmp_path):
    entries = [statement(number) for number in range(20)]
    async with ledger(tmp_path) as (life, client, _):
        life.witnesses[0].down = True
        with pytest.raises(Unavailable, match=r"witness0\.test cannot be reached"):
            await client.append_all(entries)
        life.witnesses[0].down = False
        assert [answer.index for answer in await client.append_all(entries)] == [*range(20)]


@pytest.mark.parametrize(
    "body", [b"", cbor2.dumps([]), cbor2.dumps({}), cbor2.dumps([1]), cbor2.dumps([b"e"] * 1025), statement(1)]
)
async def test_what_is_no_batch_is_refused_whole(tmp_path, body):
    async with ledger(tmp_path) as (life, _, url), aiohttp.ClientSession() as session:
        async with session.post(f"{url}/batches", data=body, headers=CBOR) as response:
            assert (response.status, response.content_type) == (400, "application/problem+json")
        assert life.steps.taken == []


async def test_the_entries_of_one_request_are_charged_to_the_writers(tmp_path):
    entries = [statement(number) for number in range(10)]
    async with ledger(tmp_path, spent=BRIM_BYTES - 4000) as (life, client, _):
        with pytest.raises(Unavailable, match="bytes to be kept come faster than 1000 a second; come back in"):
            await client.append_all(entries)
        assert life.steps.taken == []
        assert len(await client.append_all(entries[:5])) == 5  # 256 and some 300 bytes each
