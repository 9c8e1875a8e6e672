"""The transports against both HTTP client libraries, before a relay, gateway and engine in one."""

import asyncio
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any

import httpx
import httpx2
import pytest
from tests.doubles.certificates import Authority
from tests.doubles.command_line import environment
from tests.doubles.http_peers import serving
from tests.doubles.relayed_service import clear_answer
from tests.doubles.relays import relay_before

import cloister
from cloister.client.local_system import NoLocalSystem
from cloister.client.loop_thread import LoopThread
from cloister.client.receipts import load_receipt
from cloister.errors import Refused, UsageError
from cloister.formats.trust_policy import format_trust_policy
from cloister.hosting.http_exchange import Response
from cloister.testing.world import Node

URL = "https://api.openai.com/v1/audio/transcriptions"
FORM: dict[str, Any] = {"files": {"file": ("speech.wav", b"RIFF a voice")}, "data": {"model": "whisper-1"}}

each_library = pytest.mark.parametrize("http", [httpx, httpx2], ids=["httpx", "httpx2"])


@contextlib.asynccontextmanager
async def named(service, folder, **policy):
    """The options that name `service`, whose trust policy is in `folder`."""
    (folder / "policy.toml").write_text(format_trust_policy(service.world.policy(**policy), comment="tests"))
    async with serving(service.answer) as relay:
        yield {"relay": str(relay), "trust_policy": folder / "policy.toml"}


async def post(http, options, *, sync, url=URL, **request):
    """What a program gets for a post, with or without a loop of its own."""
    if sync:

        def run():
            with http.Client(transport=cloister.transport(http, **options)) as client:
                return client.post(url, **request)

        return await asyncio.to_thread(run)
    async with http.AsyncClient(transport=cloister.async_transport(http, **options)) as client:
        return await client.post(url, **request)


with_and_without_loop = pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])


def test_there_is_no_other_privacy(tmp_path):
    named: dict[str, Any] = {"relay": "http://127.0.0.1:1", "state": tmp_path, "privacy": "paranoid"}
    with pytest.raises(UsageError, match="there is no privacy 'paranoid': it is standard or strict"):
        cloister.transport(httpx, **named)


@each_library
@with_and_without_loop
async def test_a_request_is_sealed_and_its_proved_answer_comes_back(http, sync, service, tmp_path):
    async with named(service, tmp_path) as options:
        answer = await post(http, options, sync=sync, **FORM)
    assert (answer.status_code, answer.json()) == (200, {"text": "a spoken sentence"})
    assert isinstance(answer, http.Response)
    (inner,) = service.opened
    assert (inner.method, inner.path) == ("POST", "/v1/audio/transcriptions")
    assert b"RIFF a voice" in inner.body
    assert not any(b"RIFF a voice" in body for _, _, _, body in service.seen)


@each_library
async def test_host_and_credentials_of_the_request_stay_on_this_machine(http, service, tmp_path):
    async with named(service, tmp_path) as options:
        await post(http, options, sync=True, headers={"Authorization": "Bearer sk-secret", "X-Stainless-OS": "me"})
    (inner,) = service.opened
    assert {name for name, _ in inner.headers} <= {"accept", "content-type", "date"}
    assert "openai" not in inner.authority
    assert b"sk-secret" not in repr([inner, service.seen]).encode()


@each_library
@with_and_without_loop
async def test_a_receipt_is_kept_where_a_folder_is_named_and_the_answer_says_where(http, sync, service, tmp_path):
    async with named(service, tmp_path) as options:
        answer = await post(http, options | {"receipts": tmp_path / "kept"}, sync=sync, **FORM)
    (kept,) = (tmp_path / "kept").iterdir()
    assert answer.headers["cloister-receipt-file"] == str(kept)
    assert load_receipt(kept).status == 200


@with_and_without_loop
async def test_a_relays_certificate_is_held_against_the_authorities_that_are_named(sync, service, tmp_path):
    authority = Authority(tmp_path)
    async with (
        named(service, tmp_path) as options,
        relay_before(
            f"{options['relay']}/gateway", bundle=f"{options['relay']}/bundle", tls=authority.server("relay.test")
        ) as relay,
    ):
        options["relay"] = f"https://127.0.0.1:{relay.port}"
        answer = await post(httpx2, options | {"relay_ca": str(authority.path)}, sync=sync, **FORM)
        with pytest.raises(httpx2.TransportError, match="takes no connections"):
            await post(httpx2, options, sync=sync, **FORM)
        with pytest.raises(httpx2.TransportError, match="takes no connections"):
            await post(httpx2, options | {"relay_ca": Authority(tmp_path, "another").path}, sync=sync, **FORM)
    assert answer.json() == {"text": "a spoken sentence"}


@each_library
@with_and_without_loop
async def test_an_error_of_the_engine_is_an_answer(http, sync, service, tmp_path):
    service.status, service.text = 400, b'{"error": {"message": "that is no audio"}}'
    async with named(service, tmp_path) as options:
        answer = await post(http, options, sync=sync, **FORM)
    assert (answer.status_code, json.loads(answer.content)) == (400, {"error": {"message": "that is no audio"}})


@each_library
@with_and_without_loop
async def test_a_relay_that_takes_no_more_is_the_apis_answer_to_too_many_requests(http, sync, service, tmp_path):
    service.outer = Response(429, [(b"content-type", b"application/problem+json"), (b"retry-after", b"7")], b"{}")
    async with named(service, tmp_path) as options:
        answer = await post(http, options, sync=sync, **FORM)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"


async def stalled(_request):
    await asyncio.sleep(60)


def another_signer(service):
    service.signer = Node().sign


def stall(service):
    service.answer = stalled


def broken_bundle(service):
    service.bundle_answer = clear_answer(502)


@each_library
@with_and_without_loop
@pytest.mark.parametrize(
    ("kind", "change", "request_", "words"),
    [
        ("RemoteProtocolError", another_signer, {}, "receipt.key"),
        ("ReadError", broken_bundle, {}, "no key bundle"),
        ("ReadTimeout", stall, {"timeout": 0.2}, "within the time"),
        ("LocalProtocolError", lambda _: None, {"url": URL + "?api-version=1"}, "no query"),
    ],
    ids=["not proved", "not available", "too slow", "cannot travel"],
)
async def test_each_failure_is_an_error_of_the_library(http, sync, kind, change, request_, words, service, tmp_path):  # noqa: PLR0917
    change(service)
    async with named(service, tmp_path) as options:
        with pytest.raises(getattr(http, kind), match=words) as caught:
            await post(http, options, sync=sync, **FORM | request_)
    assert isinstance(caught.value, http.RequestError)
    assert caught.value.request.url.path == "/v1/audio/transcriptions"


@each_library
@with_and_without_loop
async def test_a_relay_that_is_not_there_is_a_connect_error(http, sync, service, tmp_path):
    async with named(service, tmp_path) as options:
        pass
    with pytest.raises(http.ConnectError, match="takes no connections"):
        await post(http, options, sync=sync, **FORM)


@each_library
async def test_beneath_the_error_is_the_check_that_failed(http, service, tmp_path):
    async with named(service, tmp_path, unsafe=()) as options:
        with pytest.raises(http.TransportError, match=r"trust\.unsafe") as caught:
            await post(http, options, sync=True, **FORM)
    cause = caught.value.__cause__
    assert isinstance(cause, Refused)
    assert cause.check == "trust.unsafe"
    assert service.opened == []


async def test_a_client_serves_many_threads_at_a_time_from_one_session(service, tmp_path):
    async with named(service, tmp_path) as options:
        with httpx.Client(transport=cloister.transport(httpx, **options)) as client:
            answers = await asyncio.gather(*(asyncio.to_thread(client.post, URL, **FORM) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(target == "/bundle" for _, target, _, _ in service.seen) == 1


async def test_closing_ends_the_thread_and_a_later_request_begins_anew(service, tmp_path):
    async with named(service, tmp_path) as options:
        transport = cloister.transport(httpx, **options)
        for _ in range(2):
            with httpx.Client(transport=transport) as client:
                await asyncio.to_thread(client.post, URL, **FORM)
                assert threads() == ["cloister"]
            assert threads() == []
        transport.close()


async def test_a_client_that_nobody_holds_any_more_ends_its_thread(service, tmp_path):
    async with named(service, tmp_path) as options:

        def forget():
            httpx.Client(transport=cloister.transport(httpx, **options)).post(URL, **FORM)

        await asyncio.to_thread(forget)
        gc.collect()
        assert threads() == []


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name == "cloister"]


FORGETFUL = """
import httpx, sys, cloister
client = httpx.Client(transport=cloister.transport(httpx, relay=sys.argv[1], trust_policy=sys.argv[2]))
print(client.post("https://any/v1/echo", content=b"x").text)
"""
FORKED = """
import os
if os.fork() == 0:
    try:
        client.post("https://any/v1/echo", content=b"x")
    except httpx.TransportError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
print(client.post("https://any/v1/echo", content=b"x").text)
"""


async def program(source, options, home):
    """Start a program that gets the relay and the trust policy."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-u", "-c", source, options["relay"], str(options["trust_policy"])),
        env=environment(home),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_program_that_forgets_to_close_ends_without_a_word(service, tmp_path):
    async with named(service, tmp_path) as options, asyncio.timeout(30):
        running = await program(FORGETFUL, options, tmp_path)
        said = await running.communicate()
    assert (running.returncode, *said) == (0, b'{"text": "a spoken sentence"}\n', b"")


async def test_a_fork_of_a_program_is_told_to_make_a_transport_of_its_own(service, tmp_path):
    async with named(service, tmp_path) as options, asyncio.timeout(30):
        out, _ = await (await program(FORGETFUL + FORKED, options, tmp_path)).communicate()
    answer = b'{"text": "a spoken sentence"}'
    assert out.splitlines() == [
        answer,
        b"this transport was used before the process forked: make one in each process",
        answer,
    ]


async def test_ctrl_c_interrupts_a_request_and_the_relay_sees_it_end(service, tmp_path):
    ended = asyncio.Event()

    async def answer(_request):
        threading.Timer(0.2, os.kill, (running.pid, signal.SIGINT)).start()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    service.answer = answer
    async with named(service, tmp_path) as options, asyncio.timeout(30):
        running = await program(FORGETFUL, options, tmp_path)
        _, said = await running.communicate()
        await ended.wait()
    assert said.splitlines()[-1] == b"KeyboardInterrupt"


async def test_a_cancelled_request_ends_at_the_relay(service, tmp_path):
    begun, ended = asyncio.Event(), asyncio.Event()

    async def answer(_request):
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    service.answer = answer
    async with named(service, tmp_path) as options:
        asking = asyncio.create_task(post(httpx, options, sync=False, **FORM))
        async with asyncio.timeout(10):
            await begun.wait()
            asking.cancel()
            await ended.wait()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_the_local_system_that_runs_is_found_in_its_state_folder(service, tmp_path, monkeypatch):
    async with named(service, tmp_path) as options:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "system.json").write_text(json.dumps({"version": 1, "relay_url": options["relay"]}))
        (tmp_path / "policy.toml").rename(tmp_path / "trust-policy.toml")
        assert (await post(httpx, {"state": tmp_path}, sync=True, **FORM)).status_code == 200
        monkeypatch.setenv("CLOISTER_STATE", str(tmp_path))
        assert (await post(httpx, {}, sync=False, **FORM)).status_code == 200
    assert (tmp_path / "client-memory").exists()


def test_without_a_local_system_it_says_what_to_do(tmp_path):
    with pytest.raises(NoLocalSystem, match="cloister up"):
        cloister.transport(httpx, state=tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "system.json").write_text("damaged")
    with pytest.raises(UsageError, match=r"system\.json cannot be read"):
        cloister.transport(httpx, state=tmp_path)


def test_a_closed_loop_thread_may_be_closed_again():
    loop = LoopThread()
    assert loop.run(asyncio.sleep(0, "done")) == "done"
    loop.close()
    loop.close()
    assert not loop.lives


def test_importing_cloister_imports_no_client():
    code = "import sys, cloister; print([name for name in sys.modules if name.startswith(('cloister.', 'aiohttp'))])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment("/"), check=True)
    assert ran.stdout == b"[]\n"
    with pytest.raises(AttributeError, match="nothing"):
        _ = cloister.nothing
