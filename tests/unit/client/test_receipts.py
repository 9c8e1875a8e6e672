import asyncio

import msgspec
import pytest
from tests.doubles.relayed_service import RelayedService, session_with
from tests.speech import form

from cloister.client.exchange import UserRequest
from cloister.client.receipts import keep_answer, load_receipt, store_receipt, verify_receipt
from cloister.errors import MalformedInput, UsageError
from cloister.formats import canonical
from cloister.testing.world import NOON
from cloister.trust.bundle import BundleRefused
from cloister.trust.receipt import ReceiptRefused

SPEECH = b"RIFF of a voice"


@pytest.fixture
async def kept(tmp_path):
    """A service, and the receipt of a transcription."""
    service = RelayedService()
    body, content_type = form(SPEECH, model="whisper-1")
    request = UserRequest("POST", "/v1/audio/transcriptions", (("content-type", content_type),), body)
    async with session_with(service, tmp_path) as session:
        answer = await session.send(request)
    return service, store_receipt(tmp_path / "receipts", answer.receipt)


def test_a_kept_receipt_verifies_offline_with_the_file_sent_and_the_answer(kept):
    service, path = kept
    examined = verify_receipt(
        load_receipt(path), service.world.policy(), request_file=SPEECH, response_file=service.text
    )
    assert examined.require().gateway == service.world.gateway.sign.public
    assert examined.at == NOON


@pytest.mark.parametrize(
    ("check", "files"),
    [
        ("receipt.request", {"request_file": b"another voice"}),
        ("receipt.response", {"response_file": b'{"text": "another"}'}),
    ],
)
def test_another_file_fails_its_own_check_alone(kept, check, files):
    service, path = kept
    given = {"request_file": SPEECH, "response_file": service.text} | files
    examined = verify_receipt(load_receipt(path), service.world.policy(), **given)
    assert examined.receipt is not None
    assert examined.receipt.failed == [check]
    with pytest.raises(ReceiptRefused, match=check):
        examined.require()


def test_a_receipt_under_another_trust_policy_is_refused_before_its_own_steps(kept):
    service, path = kept
    policy = service.world.policy(constitution=bytes(32))
    examined = verify_receipt(load_receipt(path), policy, request_file=SPEECH, response_file=service.text)
    assert examined.receipt is None
    with pytest.raises(BundleRefused, match=r"constitution\.genesis"):
        examined.require()


def test_a_checkpoint_that_nobody_cosigned_is_refused(kept):
    service, path = kept
    stored = load_receipt(path)
    bundle = service.world.bundle(service.world.log.checkpoint(at=NOON, cosigners=1))
    forged = msgspec.structs.replace(stored, bundle=msgspec.json.encode(None))
    with pytest.raises(MalformedInput):
        verify_receipt(forged, service.world.policy(), request_file=SPEECH, response_file=service.text)
    forged = msgspec.structs.replace(stored, bundle=canonical.encode(bundle))
    examined = verify_receipt(forged, service.world.policy(), request_file=SPEECH, response_file=service.text)
    with pytest.raises(BundleRefused, match=r"checkpoint\.witnesses"):
        examined.require()


def test_a_receipt_of_a_request_without_a_file_cannot_be_held_against_one(kept):
    service, path = kept
    stored = load_receipt(path)
    bare = msgspec.structs.replace(stored, request=msgspec.structs.replace(stored.request, parts=()))
    with pytest.raises(UsageError, match="had no file"):
        verify_receipt(bare, service.world.policy(), request_file=SPEECH, response_file=service.text)


@pytest.mark.parametrize("size", [0, 40, -1])
def test_a_damaged_receipt_is_refused_by_the_name_of_its_file(kept, size):
    _, path = kept
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UsageError, match=r"/receipts/.*\.receipt is no receipt, or a damaged one"):
        load_receipt(path)


def test_a_receipt_that_cannot_be_read_or_kept_says_so(kept, tmp_path):
    _, path = kept
    with pytest.raises(UsageError, match="cannot be read"):
        load_receipt(tmp_path / "missing.receipt")
    with pytest.raises(UsageError, match="cannot be kept"):
        store_receipt(path, load_receipt(path))


async def test_receipts_kept_at_the_same_time_under_one_name_never_meet(kept, tmp_path):
    _, path = kept
    stored, folder = load_receipt(path), tmp_path / "many"
    bodies = [f"answer {number}".encode() for number in range(20)]
    keeping = (
        asyncio.to_thread(keep_answer, folder, stored, body, name="a.wav", suffix=".response.json") for body in bodies
    )
    made = await asyncio.gather(*keeping)
    assert sorted(answer.read_bytes() for _, answer in made) == sorted(bodies)
    assert len({receipt for receipt, _ in made}) == 20
    for receipt, answer in made:
        assert receipt.name.removesuffix(".receipt") == answer.name.removesuffix(".response.json")
    assert len(list(folder.iterdir())) == 40
