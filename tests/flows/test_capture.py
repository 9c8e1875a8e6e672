"""What a capture of the links shows: between client and relay, and between relay and gateway.

A sentence is spoken, sent by the proxy through the relay and the gateway to the engine in its sandbox, and comes back
as text, while taps keep every byte of both links. The search that finds nothing there is the one that finds everything
where the harness leaves out the encryption, or puts a common reverse proxy where the relay belongs.
"""

import contextlib
import json
import string
import time

import pytest
from tests.doubles.http_peers import serving
from tests.doubles.proxies import PATH, TOKEN, call
from tests.doubles.relays import relay_before
from tests.doubles.sandboxes import staged
from tests.doubles.taps import Tap, found, tapped
from tests.doubles.whole_system import proxied, speech_engine, tap_before
from tests.speech import SENTENCES, form, spoken, word_error_rate

from cloister.client.exchange import AUTHORITY
from cloister.client.relay import Relay as RelayClient
from cloister.formats.binary_http import Request, decode_request, decode_response, encode
from cloister.hosting.http_exchange import Response
from cloister.hosting.loopback import LOOPBACK
from cloister.ohttp.encapsulation import RESPONSE_MEDIA_TYPE
from cloister.sandbox.closure import SPEECH
from cloister.services.gateway.replay import date_header
from cloister.testing.local_system import LocalSystem

CLIENT_ADDRESS = "127.0.0.2"
FILE_NAME = "canary-visit-at-the-doctor.wav"
SENTENCE = SENTENCES[3]
TELLING = (
    (b"user-agent", b"CanarySDK/1.2 (Debian; x86_64)"),
    (b"x-stainless-os", b"CanaryLinux"),
    (b"x-stainless-retry-count", b"canary-7"),
    (b"cookie", b"session=canary-cookie"),
    (b"accept-language", b"canary-CH"),
    (b"x-request-id", b"canary-request-id"),
)
WINDOW = 32  # bytes


@pytest.fixture(scope="module")
def speech():
    with staged(SPEECH) as ready:
        yield ready


@pytest.fixture
def audio(tmp_path):
    return spoken(SENTENCE, "slt", tmp_path)


def windows(file):
    """Some of the file's bytes from every part of it; none of silence, which could be anyone's."""
    starts = range(WINDOW, len(file) - WINDOW, len(file) // 40)
    cut = [file[start : start + WINDOW] for start in starts]
    return [window for window in cut if len(set(window)) > WINDOW // 2]


def words(text):
    """The words long enough not to stand in random bytes by chance."""
    cleaned = text.lower().translate(str.maketrans("", "", string.punctuation)).split()
    return {word.encode() for word in cleaned if len(word) >= 5}


def content(audio, heard=SENTENCE):
    """What is said and by which name it is kept."""
    return {
        "audio": windows(audio),
        "transcript": words(SENTENCE) | words(heard),
        "file name": [FILE_NAME.encode(), FILE_NAME.removesuffix(".wav").encode()],
        "form": [b'name="file"', b"frontier"],
    }


def identity():
    """Who asks, and with what."""
    return {
        "token": [TOKEN.encode(), b"Bearer"],
        "address": [CLIENT_ADDRESS.encode()],
    } | {name.decode(): [value, name] for name, value in TELLING}


@contextlib.asynccontextmanager
async def sealed_path(system, engine, folder):
    """The proxy's origin and the taps on its link to the relay and on the relay's to the gateway."""
    async with contextlib.AsyncExitStack() as stack:
        await system.run_ledger(stack)
        await system.run_kms(stack)
        await system.run_gateway(stack, engine)
        inner = await tap_before("gateway", system, stack)
        await system.run_relay(stack)
        outer = await tap_before("relay", system, stack, source=CLIENT_ADDRESS)
        yield await stack.enter_async_context(proxied(system, folder)), outer, inner


def assert_only_what_every_request_has(sent):
    """An allow-list finds what no list of marks foresees."""
    line, *headers = sent.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    assert line == b"post /gateway http/1.1"
    assert {header.partition(b":")[0] for header in headers} == {b"host", b"content-type", b"transfer-encoding"}
    assert b"content-type: message/ohttp-chunked-req" in headers


async def test_a_capture_of_both_links_holds_nothing_said_and_at_the_gateway_nobody_who_asked(speech, audio, tmp_path):
    body, content_type = form(audio, file_name=FILE_NAME, model="whisper-1")
    async with (
        speech_engine(speech) as (engine, runs),
        sealed_path(LocalSystem(tmp_path, runs=runs), engine, tmp_path) as (proxy, outer, inner),
    ):
        status, _, answer = await call(proxy, body, content_type, headers=TELLING)
    assert status == 200, answer
    heard = json.loads(answer)["text"]
    assert word_error_rate([SENTENCE], [heard]) <= 0.3
    said = content(audio, heard)
    assert len(said["audio"]) > 20
    for tap in (outer, inner):
        assert len(tap.forward) > len(body)
        assert found(said | identity(), tap.bytes) == set()
    assert inner.addresses == {LOOPBACK}
    assert_only_what_every_request_has(bytes(inner.forward))


async def test_the_same_search_finds_all_that_is_said_where_nothing_is_sealed(speech, audio, tmp_path):
    """The real relay, the real engine; but the Binary HTTP messages travel as they are."""
    body, content_type = form(audio, file_name=FILE_NAME, model="whisper-1")
    headers = (("content-type", content_type), ("date", date_header(int(time.time()))))
    request = encode(Request("POST", "https", AUTHORITY, PATH.decode(), headers, body))
    async with speech_engine(speech) as (engine, _), contextlib.AsyncExitStack() as stack:

        async def unsealed(asked):
            answer = await engine.ask(decode_request(await asked.body.read(10_000_000)), seconds=60)
            return Response(200, [(b"content-type", RESPONSE_MEDIA_TYPE.encode())], encode(answer))

        inner = Tap(await stack.enter_async_context(serving(unsealed)))
        gateway = await stack.enter_async_context(tapped(inner))
        relay = await stack.enter_async_context(relay_before(f"{gateway}/gateway"))
        outer = Tap(relay, source=CLIENT_ADDRESS)
        client = await stack.enter_async_context(RelayClient(str(await stack.enter_async_context(tapped(outer)))))
        reply = await client.post(request)
    said = content(audio, json.loads(decode_response(reply.body).body)["text"])
    for tap in (outer, inner):
        assert found(said, tap.bytes) == said.keys()


class ReverseProxy(Tap):
    """Passes a request on as reverse proxies do: every header, and where it came from."""

    async def _forward(self, reader, writer):
        (address,) = self.addresses
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(head[:-2] + b"X-Forwarded-For: %b\r\n\r\n" % address.encode())
        await super()._forward(reader, writer)


async def test_the_same_search_finds_who_asked_where_a_common_reverse_proxy_stands_for_the_relay(audio):
    body, content_type = form(audio, file_name=FILE_NAME, model="whisper-1")

    async def hear(asked):
        await asked.body.read(10_000_000)
        return Response(200, [(b"content-type", b"application/json")], json.dumps({"text": SENTENCE}).encode())

    async with contextlib.AsyncExitStack() as stack:
        inner = Tap(await stack.enter_async_context(serving(hear)))
        reverse_proxy = ReverseProxy(await stack.enter_async_context(tapped(inner)))
        outer = Tap(await stack.enter_async_context(tapped(reverse_proxy)), source=CLIENT_ADDRESS)
        caller = await stack.enter_async_context(tapped(outer))
        assert (await call(caller, body, content_type, headers=TELLING))[0] == 200
    marks = content(audio) | identity()
    assert found(marks, inner.bytes) == marks.keys()
    assert found(marks, outer.bytes) == marks.keys() - {"address"}
