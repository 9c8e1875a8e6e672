import contextlib
import json

import pytest
from tests.doubles.http_peers import exchange_bytes, serving
from tests.doubles.proxies import PATH, TOKEN, call, proxy_before
from tests.doubles.relayed_service import RelayedService, clear_answer
from tests.speech import form

from cloister.client.receipts import load_receipt, verify_receipt
from cloister.client.trust_policy_file import read_trust_policy
from cloister.errors import UsageError
from cloister.hosting.http_exchange import Response
from cloister.hosting.http_message import Origin
from cloister.services.proxy.callers import read_token
from cloister.testing.world import NOON, Node

SPEECH = b"RIFF of a voice"
BODY, CONTENT_TYPE = form(SPEECH, model="whisper-1")


@pytest.fixture
def service():
    return RelayedService()


@contextlib.asynccontextmanager
async def proxying(service, folder, **policy):
    """The origin of a proxy before `service`."""
    trusted = service.world.policy(**policy)
    async with (
        serving(service.answer) as relay,
        proxy_before(str(relay), trusted, folder, clock=lambda: service.now) as origin,
    ):
        yield origin


async def ask(origin, target=PATH, *, token=TOKEN, body=BODY, method=b"POST"):
    headers = [(b"user-agent", b"canary")]
    return await call(origin, body, CONTENT_TYPE, target=target, method=method, token=token, headers=headers)


def error_of(body):
    (error,) = json.loads(body).values()
    assert set(error) == {"message", "type", "param", "code"}
    return error


async def test_an_answer_comes_back_with_the_path_of_its_receipt(service, tmp_path):
    async with proxying(service, tmp_path) as origin:
        status, headers, body = await ask(origin)
    assert (status, headers[b"content-type"], body) == (200, b"application/json", service.text)
    receipt = load_receipt(tmp_path / "receipts" / headers[b"cloister-receipt-file"].decode())
    verify_receipt(receipt, service.world.policy(), request_file=SPEECH, response_file=body).require()


async def test_an_error_of_the_engine_passes_unchanged(service, tmp_path):
    service.status, service.text = 415, b'{"error": {"message": "not audio"}}'
    async with proxying(service, tmp_path) as origin:
        status, _, body = await ask(origin)
    assert (status, body) == (415, service.text)


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x"])
async def test_without_the_token_nothing_is_sent(service, tmp_path, token):
    async with proxying(service, tmp_path) as origin:
        status, _, body = await ask(origin, token=token)
    assert (status, error_of(body)["code"]) == (401, "invalid_api_key")
    assert "cloister env" in error_of(body)["message"]
    assert service.seen == []


@pytest.mark.parametrize("host", [b"attacker.example", b"127.0.0.1", b"127.0.0.1:1", b"localhost.attacker.example"])
async def test_a_name_that_was_rebound_to_this_machine_is_refused(service, tmp_path, host):
    request = (
        b"POST /v1/x HTTP/1.1\r\nhost: %b\r\nauthorization: Bearer %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
    async with proxying(service, tmp_path) as origin:
        answer = await exchange_bytes(origin, request % (host, TOKEN.encode()))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert error_of(answer.partition(b"\r\n\r\n")[2])["code"] == "wrong_host"
    assert service.seen == []


async def test_localhost_is_this_machine(service, tmp_path):
    async with proxying(service, tmp_path) as origin:
        status, _, _ = await ask(Origin("localhost", origin.port))
    assert status == 200


@pytest.mark.parametrize("target", [b"/", b"/bundle", b"/v3/x", b"/v1", b"/v2x"])
async def test_only_the_api_is_served(service, tmp_path, target):
    async with proxying(service, tmp_path) as origin:
        status, _, body = await ask(origin, target)
    assert (status, error_of(body)["code"]) == (404, "unknown_url")


async def test_a_body_over_the_cap_is_refused_in_openais_shape(service, tmp_path):
    async with proxying(service, tmp_path) as origin:
        status, _, body = await ask(origin, body=bytes(26 * 1024 * 1024 + 1))
    assert (status, error_of(body)["code"]) == (413, "request_too_large")
    assert service.seen == []


async def test_a_form_that_is_none_is_an_invalid_request(service, tmp_path):
    async with proxying(service, tmp_path) as origin:
        status, _, body = await ask(origin, body=b"no form")
    assert (status, error_of(body)["type"]) == (400, "invalid_request_error")


async def test_a_refusal_names_its_check_and_is_not_asked_again(service, tmp_path):
    async with proxying(service, tmp_path, unsafe=()) as origin:
        status, headers, body = await ask(origin)
    assert (status, error_of(body)["type"], error_of(body)["code"]) == (502, "cloister_refused", "trust.unsafe")
    assert headers[b"x-should-retry"] == b"false"


async def test_a_bundle_that_grew_too_old_names_its_check_and_may_be_asked_again(service, tmp_path):
    async with proxying(service, tmp_path, maximum_state_age_seconds=600) as origin:
        assert (await ask(origin))[0] == 200
        service.bundle_answer = clear_answer(502)
        service.now = NOON + 600
        status, headers, body = await ask(origin)
    assert (status, error_of(body)["code"]) == (503, "checkpoint.age")
    assert error_of(body)["type"] == "cloister_unavailable"
    assert b"x-should-retry" not in headers


async def test_an_answer_that_is_not_proved_is_not_shown(service, tmp_path):
    service.signer = Node().sign
    async with proxying(service, tmp_path) as origin:
        status, _, body = await ask(origin)
    assert (status, error_of(body)["code"]) == (502, "receipt.key")
    assert not (tmp_path / "receipts").exists()


async def test_an_answer_that_does_not_open_is_not_shown(service, tmp_path):
    service.outer = Response(200, [(b"content-type", b"message/ohttp-res")], bytes(200))
    async with proxying(service, tmp_path) as origin:
        status, _, body = await ask(origin)
    assert (status, error_of(body)["code"]) == (502, "answer_not_opened")


async def test_a_damaged_memory_refuses_by_name(service, tmp_path):
    (tmp_path / "client-memory").write_bytes(b"damaged")
    async with proxying(service, tmp_path) as origin:
        status, _, body = await ask(origin)
    assert (status, error_of(body)["code"]) == (502, "memory_refused")
    assert "is damaged" in error_of(body)["message"]


async def test_a_gateway_that_is_down_may_be_asked_again(service, tmp_path):
    service.outer = clear_answer(502)
    async with proxying(service, tmp_path) as origin:
        status, headers, body = await ask(origin)
    assert (status, error_of(body)["type"], error_of(body)["code"]) == (503, "cloister_unavailable", "unavailable")
    assert b"x-should-retry" not in headers


def test_a_missing_policy_and_a_short_token_stop_the_start(tmp_path):
    with pytest.raises(UsageError, match="there is no trust policy"):
        read_trust_policy(tmp_path / "missing.toml")
    with pytest.raises(UsageError, match=r"token .* cannot be read"):
        read_token(tmp_path / "missing")
    (tmp_path / "token").write_text("short")
    with pytest.raises(UsageError, match="has 5 bytes, 16 to 1024 are needed"):
        read_token(tmp_path / "token")
