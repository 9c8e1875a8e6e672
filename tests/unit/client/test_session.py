import asyncio
from email.utils import formatdate

import pytest
from tests.doubles.relayed_service import RelayedService, clear_answer, session_with
from tests.speech import form

from cloister.client.clear_answer import KeyNotHeld
from cloister.client.exchange import DATE_PROBLEM_TYPE, MAXIMUM_REQUEST, AnswerNotOpened, NotAdmitted, UserRequest
from cloister.client.relay import Relay, RelayUnavailable
from cloister.client.session import BundleTooOld
from cloister.errors import TooLarge, UsageError
from cloister.formats import canonical
from cloister.formats.key_bundle import parse_key_bundle
from cloister.hosting.http_exchange import Response
from cloister.hosting.problem import Problem
from cloister.testing.world import NOON, Node
from cloister.trust.bundle import BundleRefused
from cloister.trust.receipt import ReceiptRefused

BODY, CONTENT_TYPE = form(b"RIFF of a voice", model="whisper-1")
REQUEST = UserRequest(
    "POST",
    "/v1/audio/transcriptions",
    (
        ("Content-Type", CONTENT_TYPE),
        ("Accept", "application/json"),
        ("Authorization", "Bearer canary"),
        ("User-Agent", "OpenAI/Python canary"),
        ("X-Stainless-OS", "canary"),
        ("Cookie", "canary"),
    ),
    BODY,
)


@pytest.fixture
def service():
    return RelayedService()


async def test_an_answer_comes_back_with_a_receipt_to_keep(service, tmp_path):
    async with session_with(service, tmp_path) as session:
        answer = await session.send(REQUEST)
    assert (answer.response.status, answer.response.body) == (200, service.text)
    assert answer.response.headers == (("content-type", "application/json"),)
    assert answer.verified.gateway == service.world.gateway.sign.public
    assert parse_key_bundle(answer.receipt.bundle) == service.world.bundle(
        parse_key_bundle(answer.receipt.bundle).checkpoint
    )


async def test_only_allow_listed_headers_travel_and_the_host_is_the_same_for_all(service, tmp_path):
    async with session_with(service, tmp_path) as session:
        await session.send(REQUEST)
    (inner,) = service.opened
    assert [name for name, _ in inner.headers] == ["accept", "content-type", "date"]
    assert (inner.scheme, inner.authority, inner.path) == ("https", "gateway.invalid", "/v1/audio/transcriptions")
    assert "canary" not in repr(inner)


async def test_outside_travels_nothing_that_tells_clients_apart(service, tmp_path):
    async with session_with(service, tmp_path) as session:
        await session.send(REQUEST)
    for _, _, headers, body in service.seen:
        assert {name for name, _ in headers} <= {b"host", b"content-type", b"content-length"}
        assert b"canary" not in body
        assert b"voice" not in body


async def test_requests_of_nearby_sizes_look_the_same(service, tmp_path):
    async with session_with(service, tmp_path) as session:
        for size in (1000, 1003):
            await session.send(UserRequest("POST", "/v1/echo", (), b"x" * size))
    sizes = [len(body) for method, _, _, body in service.seen if method == "POST"]
    assert sizes[0] == sizes[1]


async def test_the_bundle_is_fetched_once_and_again_at_half_of_its_age(service, tmp_path):
    async with session_with(service, tmp_path, maximum_state_age_seconds=600) as session:
        await session.send(REQUEST)
        await asyncio.gather(session.send(REQUEST), session.send(REQUEST))
        assert bundles(service) == 1
        service.now = NOON + 301
        await asyncio.gather(session.send(REQUEST), session.send(REQUEST))
        assert bundles(service) == 2


async def test_a_bundle_that_is_fresh_enough_serves_while_no_newer_one_can_be_had(service, tmp_path):
    async with session_with(service, tmp_path, maximum_state_age_seconds=600) as session:
        await session.send(REQUEST)
        service.bundle_answer = clear_answer(502)
        service.now = NOON + 599
        assert (await session.send(REQUEST)).response.status == 200
        service.now = NOON + 600
        posted = len(service.opened)
        with pytest.raises(BundleTooOld, match=r"checkpoint.age: .* as old as the trust policy allows.*no key bundle"):
            await session.send(REQUEST)
        assert len(service.opened) == posted
        assert BundleTooOld.retry


async def test_a_bundle_that_does_not_come_is_not_asked_for_by_each_request_while_the_one_held_serves(
    service, tmp_path
):
    async with session_with(service, tmp_path, maximum_state_age_seconds=600) as session:
        await session.send(REQUEST)
        service.bundle_answer = clear_answer(502)
        for service.now, asked in ((NOON + 301, 2), (NOON + 302, 2), (NOON + 310, 2), (NOON + 311, 3)):
            assert (await session.send(REQUEST)).response.status == 200
            assert bundles(service) == asked


async def test_requests_that_wait_for_the_same_bundle_are_told_at_once_that_it_does_not_come(service, tmp_path):
    service.bundle_answer, service.bundle_delay = clear_answer(502), 0.2
    async with session_with(service, tmp_path) as session:
        ends = await asyncio.gather(*(session.send(REQUEST) for _ in range(20)), return_exceptions=True)
        assert {type(end) for end in ends} == {RelayUnavailable}
        assert bundles(service) == 1
        service.bundle_answer = None
        assert (await session.send(REQUEST)).response.status == 200


async def test_a_bundle_whose_key_is_past_its_window_is_not_served_with_however_fresh_it_is(service, tmp_path):
    async with session_with(service, tmp_path, maximum_state_age_seconds=7200) as session:
        await session.send(REQUEST)
        service.bundle_answer = clear_answer(502)
        service.now = NOON + 3600
        with pytest.raises(BundleTooOld, match=r"epoch.window: .* no key bundle"):
            await session.send(REQUEST)


async def test_a_request_whose_key_is_not_held_goes_again_to_the_key_of_a_new_bundle(service, tmp_path):
    async with session_with(service, tmp_path) as session:
        await session.send(REQUEST)
        service.renew_epoch()
        service.key_problems = 1
        answer = await session.send(REQUEST)
    assert answer.verified.epoch.number == 2
    assert bundles(service) == 2


async def test_a_key_that_is_never_held_is_given_up_after_one_more_try(service, tmp_path):
    service.key_problems = 9
    async with session_with(service, tmp_path) as session:
        with pytest.raises(KeyNotHeld):
            await session.send(REQUEST)
    assert posts(service) == 2


async def test_a_gateway_certified_since_is_known_after_one_new_bundle_and_no_second_post(service, tmp_path):
    async with session_with(service, tmp_path) as session:
        await session.send(REQUEST)
        other = Node()
        service.certify(other)
        service.signer = other.sign
        answer = await session.send(REQUEST)
    assert answer.verified.gateway == other.sign.public
    assert (bundles(service), posts(service)) == (2, 2)


async def test_a_relay_that_still_has_the_bundle_from_before_is_given_its_time(service, tmp_path):
    async with session_with(service, tmp_path) as session:
        held = await session.hold()
        other = Node()
        service.signer = other.sign
        caching = [(b"content-type", b"application/cbor"), (b"cache-control", b"public, max-age=5"), (b"age", b"5")]
        service.bundle_answer = Response(200, caching, held.data)
        service.after_bundle_answer = lambda: service.certify(other)
        answer = await session.send(REQUEST)
    assert answer.verified.gateway == other.sign.public
    assert (bundles(service), posts(service)) == (3, 1)


def shown_now(service, seconds=1):
    """A bundle of the log as it stands: of another instance than the one asked before, so many seconds later."""
    bundle = service.world.bundle(service.world.log.checkpoint(at=NOON + seconds))
    return Response(200, [(b"content-type", b"application/cbor")], canonical.encode(bundle))


async def test_an_instance_a_moment_behind_has_not_the_last_word_on_a_gateway(service, tmp_path):
    async with session_with(service, tmp_path) as session:
        await session.send(REQUEST)
        other = Node()
        service.signer = other.sign
        service.bundle_answer = shown_now(service)
        service.after_bundle_answer = lambda: service.certify(other)
        answer = await session.send(REQUEST)
    assert answer.verified.gateway == other.sign.public
    assert (bundles(service), posts(service)) == (3, 2)


async def test_an_instance_some_moments_behind_is_given_as_many(service, tmp_path):
    async with session_with(service, tmp_path) as session:
        await session.send(REQUEST)
        other = Node()
        service.signer = other.sign
        behind = [shown_now(service, seconds) for seconds in (1, 2, 3)]

        def next_behind():
            if behind:
                service.bundle_answer, service.after_bundle_answer = behind.pop(0), next_behind
            else:
                service.certify(other)

        next_behind()
        answer = await session.send(REQUEST)
    assert answer.verified.gateway == other.sign.public
    assert (bundles(service), posts(service)) == (5, 2)


async def test_after_an_instance_a_moment_behind_another_is_asked(service, tmp_path):
    behind = shown_now(service)
    service.certify(Node())
    async with session_with(service, tmp_path) as session:
        await session.send(REQUEST)
    async with session_with(service, tmp_path) as session:
        service.bundle_answer, service.after_bundle_answer = behind, lambda: None
        await session.send(REQUEST)
    assert (bundles(service), posts(service)) == (3, 2)


async def test_a_receipt_of_a_key_that_nobody_certified_is_refused(service, tmp_path):
    service.signer = Node().sign
    async with session_with(service, tmp_path) as session:
        with pytest.raises(ReceiptRefused, match=r"receipt\.key"):
            await session.send(REQUEST)
    assert posts(service) == 1


@pytest.mark.parametrize(
    ("check", "change"), [("receipt.response", {"body_digest": bytes(32)}), ("receipt.response", {"status": 201})]
)
async def test_an_answer_other_than_the_receipts_is_not_shown(service, tmp_path, check, change):
    service.receipt = change
    async with session_with(service, tmp_path) as session:
        with pytest.raises(ReceiptRefused, match=check):
            await session.send(REQUEST)


async def test_an_answer_without_a_receipt_is_not_shown(service, tmp_path):
    service.without_receipt = True
    async with session_with(service, tmp_path) as session:
        with pytest.raises(AnswerNotOpened, match="cloister-receipt"):
            await session.send(REQUEST)


async def test_a_request_whose_date_is_not_taken_goes_again_with_the_gateways(service, tmp_path):
    service.gateway_clock = NOON + 4000
    service.not_admitted = [Problem(type=DATE_PROBLEM_TYPE, title="Bad Request", status=400, detail="date", retry=True)]
    async with session_with(service, tmp_path) as session:
        await session.send(REQUEST)
    dates = [dict(inner.headers)["date"] for inner in service.opened]
    assert dates == [formatdate(at, usegmt=True) for at in (NOON, NOON + 4001)]


async def test_a_request_that_the_gateway_saw_before_is_not_sent_again(service, tmp_path):
    service.not_admitted = [Problem(title="Bad Request", status=400, detail="was answered before", retry=False)]
    async with session_with(service, tmp_path) as session:
        with pytest.raises(NotAdmitted, match="was answered before"):
            await session.send(REQUEST)
    assert posts(service) == 1


async def test_an_answer_altered_on_the_way_is_not_shown(service, tmp_path):
    sealed = Response(200, [(b"content-type", b"message/ohttp-res")], bytes(200))
    service.outer = sealed
    async with session_with(service, tmp_path) as session:
        with pytest.raises(AnswerNotOpened, match="does not open"):
            await session.send(REQUEST)


async def test_nothing_is_sent_where_the_service_does_not_meet_the_policy(service, tmp_path):
    async with session_with(service, tmp_path, unsafe=()) as session:
        with pytest.raises(BundleRefused, match=r"trust\.unsafe"):
            await session.send(REQUEST)
    assert posts(service) == 0


async def test_a_log_that_shrank_is_refused_by_another_session_of_the_same_memory(service, tmp_path):
    service.certify(Node())
    async with session_with(service, tmp_path) as session:
        await session.send(REQUEST)
    service.world.log.entries.pop()
    service.world.release_entries.pop()
    async with session_with(service, tmp_path) as session:
        with pytest.raises(BundleRefused, match=r"checkpoint\.rollback"):
            await session.send(REQUEST)


async def test_a_refused_bundle_is_not_remembered(service, tmp_path):
    async with session_with(service, tmp_path, unsafe=()) as session:
        examination = await session.examine()
    assert examination.failed == ["trust.unsafe"]
    assert not (tmp_path / "client-memory").exists()


@pytest.mark.parametrize("status", [404, 500, 502])
async def test_an_answer_in_the_clear_is_no_answer_and_its_words_are_not_repeated(service, tmp_path, status):
    service.outer = clear_answer(status)
    async with session_with(service, tmp_path) as session:
        with pytest.raises(RelayUnavailable, match=str(status)) as caught:
            await session.send(REQUEST)
    assert "of the way" not in str(caught.value)


async def test_a_body_too_large_for_the_way_says_so(service, tmp_path):
    service.outer = clear_answer(413)
    async with session_with(service, tmp_path) as session:
        with pytest.raises(TooLarge):
            await session.send(REQUEST)


@pytest.mark.parametrize("answer", [clear_answer(502), Response(200, [], b"no bundle")])
async def test_a_relay_without_a_bundle_is_unavailable(service, tmp_path, answer):
    service.bundle_answer = answer
    async with session_with(service, tmp_path) as session:
        with pytest.raises(RelayUnavailable, match="no key bundle"):
            await session.send(REQUEST)


async def test_a_relay_that_is_not_there_is_unavailable():
    async with Relay("http://127.0.0.1:9") as relay:
        with pytest.raises(RelayUnavailable, match="takes no connections: Connection refused"):
            await relay.bundle()


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://relay", "https://relay?me=1"])
def test_what_is_no_url_of_a_relay_is_refused(url):
    with pytest.raises(UsageError):
        Relay(url)


@pytest.mark.parametrize(
    "request_",
    [
        UserRequest("POST", "/v1/echo?who=me", (), b""),
        UserRequest("POST", "v1/echo", (), b""),
        UserRequest("POST", "/v1/echo", (), bytes(MAXIMUM_REQUEST + 1)),
        UserRequest("POST", "/v1/echo", (("content-type", "multipart/form-data; boundary=x"),), b"no form"),
    ],
)
async def test_a_request_that_cannot_travel_is_refused_before_anything_is_fetched(service, tmp_path, request_):
    async with session_with(service, tmp_path) as session:
        with pytest.raises(UsageError):
            await session.send(request_)
    assert service.seen == []


def bundles(service):
    return sum(target == "/bundle" for _, target, _, _ in service.seen)


def posts(service):
    return sum(method == "POST" for method, _, _, _ in service.seen)
