"""A proxy for a team: over TLS, with a token for each caller; and what it says of itself."""

import contextlib
import json

import pytest
from tests.doubles.certificates import Authority
from tests.doubles.http_peers import serving
from tests.doubles.proxies import TOKEN, call, proxy_before
from tests.doubles.relayed_service import RelayedService, clear_answer
from tests.speech import form

from cloister.errors import UsageError
from cloister.hosting.tls import verifying_context
from cloister.services.proxy.callers import CallersFolder, open_callers
from cloister.testing.world import NOON

BODY, CONTENT_TYPE = form(b"RIFF of a voice", model="whisper-1")
ANN, BOB = "cloister-the-token-of-ann", "cloister-the-token-of-bob"


@pytest.fixture
def service():
    return RelayedService()


@pytest.fixture
def tokens(tmp_path):
    folder = tmp_path / "tokens"
    folder.mkdir(mode=0o700)
    (folder / "ann").write_text(ANN + "\n")
    (folder / "bob@example").write_text(BOB)
    return folder


@contextlib.asynccontextmanager
async def proxying(service, folder, **changes):
    async with (
        serving(service.answer) as relay,
        proxy_before(str(relay), service.world.policy(), folder, clock=lambda: NOON, **changes) as origin,
    ):
        yield origin


async def test_each_caller_of_the_team_is_answered_over_tls_and_has_receipts_of_its_own(service, tokens, tmp_path):
    authority = Authority(tmp_path)
    tls = authority.server("proxy.example", address="127.0.0.7")
    async with proxying(service, tmp_path, token=tokens, tls=tls, address="127.0.0.7") as origin:
        context = verifying_context(authority.path)
        for token, name in ((ANN, "ann"), (BOB, "bob@example")):
            status, headers, _ = await call(origin, BODY, CONTENT_TYPE, token=token, tls=context)
            assert status == 200
            assert headers[b"cloister-receipt-file"].decode().startswith(str(tmp_path / "receipts" / name))
        status, _, body = await call(origin, BODY, CONTENT_TYPE, token=ANN[:-1], tls=context)
    assert (status, json.loads(body)["error"]["code"]) == (401, "invalid_api_key")
    assert "whoever runs this proxy gives you yours" in json.loads(body)["error"]["message"]


async def test_a_caller_whose_file_is_taken_away_is_shut_out_at_once_and_a_new_one_comes_in(service, tokens, tmp_path):
    async with proxying(service, tmp_path, token=tokens) as origin:
        assert (await call(origin, BODY, CONTENT_TYPE, token=ANN))[0] == 200
        (tokens / "ann").unlink()
        assert (await call(origin, BODY, CONTENT_TYPE, token=ANN))[0] == 401
        (tokens / "cleo").write_text("cloister-the-token-of-cleo")
        assert (await call(origin, BODY, CONTENT_TYPE, token="cloister-the-token-of-cleo"))[0] == 200
        tokens.chmod(0o755)
        assert (await call(origin, BODY, CONTENT_TYPE, token=BOB))[0] == 401


@pytest.mark.parametrize(
    ("name", "token", "sentence"),
    [
        ("Ann", ANN, "names no caller"),
        ("..x", ANN, None),
        ("ann2", ANN, "the same token"),
        ("cleo", "short", "has 5 bytes"),
        ("cleo", "x" * 1025, "16 to 1024 are needed"),
    ],
)
def test_a_folder_that_names_callers_badly_stops_the_start(tokens, name, token, sentence):
    (tokens / name).write_text(token)
    if sentence is None:  # hidden files are nobody's
        assert CallersFolder(tokens).name_of(ANN.encode()) == "ann"
        return
    with pytest.raises(UsageError, match=sentence):
        open_callers(tokens)


def test_a_folder_that_others_may_look_into_stops_the_start(tokens):
    tokens.chmod(0o750)
    with pytest.raises(UsageError, match="is open to others: chmod 700 it"):
        open_callers(tokens)


def test_an_empty_folder_lets_nobody_in(tmp_path):
    (tmp_path / "none").mkdir(mode=0o700)
    callers = open_callers(tmp_path / "none")
    assert [callers.name_of(token) for token in (b"", b"x" * 20)] == [None, None]


async def test_a_proxy_is_ready_where_the_service_meets_the_trust_policy(service, tmp_path):
    async with proxying(service, tmp_path) as origin:
        status, _, body = await call(origin, b"", "text/plain", target=b"/ready", method=b"GET", token=None)
    assert (status, json.loads(body)) == (200, {"ready": True, "missing": []})


async def test_a_proxy_that_can_send_nothing_says_why(service, tmp_path):
    service.bundle_answer = clear_answer(502)
    async with proxying(service, tmp_path) as origin:
        status, _, body = await call(origin, b"", "text/plain", target=b"/ready", method=b"GET", token=None)
        health, _, _ = await call(origin, b"", "text/plain", target=b"/health", method=b"GET", token=None)
    assert (status, health) == (503, 200)
    assert "gave no key bundle" in json.loads(body)["missing"][0]


async def test_how_much_is_asked_is_told_to_callers_only(service, tmp_path):
    async with proxying(service, tmp_path) as origin:
        await call(origin, BODY, CONTENT_TYPE)
        status, _, _ = await call(origin, b"", "text/plain", target=b"/metrics", method=b"GET", token=None)
        assert status == 401
        status, _, body = await call(origin, b"", "text/plain", target=b"/metrics", method=b"GET", token=TOKEN)
    assert status == 200
    assert b'cloister_proxy_requests_total{route="/v1/",status="200"} 1.0' in body
