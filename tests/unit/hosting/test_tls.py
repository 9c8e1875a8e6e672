"""TLS between services, on both HTTP servers: who is let in, and who is believed."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.doubles.certificates import HOUR, Authority
from tests.doubles.open_sockets import Silent

from cloister.errors import Unavailable, UsageError
from cloister.hosting.application import application
from cloister.hosting.health import Health, Metrics
from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_exchange import Response
from cloister.hosting.http_message import Origin
from cloister.hosting.http_server import serve_http
from cloister.hosting.loopback import LOOPBACK, listen, port_of
from cloister.hosting.service_limits import ServiceLimits
from cloister.hosting.serving import serve_until
from cloister.hosting.tls import PeerTls, ServerTls, Shown, open_server_tls, peer_tls, verifying_context


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


async def lean(listener, stop, tls):
    async def hello(request):
        return Response(200, [], b"hello")

    await serve_http(hello, listener, stop, tls=tls)


async def starlette(listener, stop, tls):
    async def hello(request):
        return PlainTextResponse("hello")

    await serve_until(
        application(Health("double", Metrics("double"), missing=list), [Route("/", hello)]), listener, stop, tls=tls
    )


@pytest.fixture(params=[lean, starlette])
def serving(request, authority):
    """A server with the TLS that it is given; its origin."""

    @contextlib.asynccontextmanager
    async def run(tls):
        listener, stop = listen(LOOPBACK, 0, secure=True), asyncio.Event()
        task = asyncio.create_task(request.param(listener, stop, open_server_tls(tls)))
        yield Origin(LOOPBACK, port_of(listener), secure=True)
        stop.set()
        await task

    return run


def showing(peers):
    """How a service with this certificate speaks to others."""
    shown = peer_tls("https://127.0.0.1", peers)
    assert shown is not None
    return shown.context


async def said(origin, context):
    """What the server says to a caller."""
    client = HttpClient(origin, tls=context)
    try:
        async with client.exchange(b"GET", b"/", [], seconds=5) as reply:
            return await reply.body.read(100)
    finally:
        await client.close()


async def test_a_caller_with_a_certificate_of_the_authority_and_a_known_name_is_answered(authority, serving):
    async with serving(authority.server("ledger", clients=["kms", "auditor"])) as origin:
        assert await said(origin, showing(authority.peer("kms"))) == b"hello"


async def test_of_handshakes_that_do_not_come_no_more_are_held_than_connections_may_be(authority):
    listener, stop = listen(LOOPBACK, 0, secure=True), asyncio.Event()
    limits = ServiceLimits(connections=2, head_seconds=1.0)
    app = application(Health("double", Metrics("double"), missing=list), [])
    tls = open_server_tls(authority.server("ledger"))
    task = asyncio.create_task(serve_until(app, listener, stop, limits=limits, tls=tls))
    with Silent(Origin(LOOPBACK, port_of(listener))) as strangers:
        await strangers.connect(8)
        await strangers.become(2, seconds=0.8)
        await strangers.become(0)
    stop.set()
    await task


async def test_a_caller_of_another_name_is_turned_away_unheard(authority, serving):
    async with serving(authority.server("ledger", clients=["kms"])) as origin:
        with pytest.raises(Unavailable):
            await said(origin, showing(authority.peer("kms2")))


async def test_a_caller_without_a_certificate_is_turned_away(authority, serving):
    async with serving(authority.server("ledger", clients=["kms"])) as origin:
        with pytest.raises(Unavailable):
            await said(origin, verifying_context(authority.path))


async def test_a_certificate_of_another_authority_is_turned_away_whatever_its_name(authority, serving, tmp_path):
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other").peer("kms")
    context = verifying_context(authority.path)
    context.load_cert_chain(stranger.certificate, stranger.key)
    async with serving(authority.server("ledger", clients=["kms"])) as origin:
        with pytest.raises(Unavailable):
            await said(origin, context)


async def test_an_expired_certificate_of_a_caller_is_turned_away(authority, serving):
    async with serving(authority.server("ledger", clients=["kms"])) as origin:
        with pytest.raises(Unavailable):
            await said(origin, showing(authority.peer("kms", lasts=-HOUR)))


async def test_a_server_of_another_authority_or_address_is_not_believed(authority, serving, tmp_path):
    (tmp_path / "other").mkdir()
    known = showing(authority.peer("kms"))
    async with serving(Authority(tmp_path / "other").server("ledger")) as origin:
        with pytest.raises(Unavailable, match="do not trust each other"):
            await said(origin, known)
    async with serving(authority.server("ledger", address="127.0.0.9")) as origin:
        with pytest.raises(Unavailable, match=r"do not trust each other.*127\.0\.0\.1"):
            await said(origin, known)


async def test_no_older_version_is_spoken(authority, serving):
    context = verifying_context(authority.path)
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    async with serving(authority.server("relay")) as origin:
        with pytest.raises(Unavailable):
            await said(origin, context)
        context.maximum_version = ssl.TLSVersion.TLSv1_3
        assert await said(origin, context) == b"hello"


async def test_a_caller_in_the_clear_is_turned_away(authority, serving):
    async with serving(authority.server("relay")) as origin:
        with pytest.raises(Unavailable):
            await said(Origin(origin.host, origin.port), None)


async def test_a_new_certificate_is_shown_to_new_connections_once_its_files_are_there(authority):
    tls = authority.server("relay", lasts=-HOUR)
    server = open_server_tls(tls)
    listener, stop = listen(LOOPBACK, 0, secure=True), asyncio.Event()
    origin = Origin(LOOPBACK, port_of(listener), secure=True)
    task = asyncio.create_task(lean(listener, stop, server))
    context = verifying_context(authority.path)
    with pytest.raises(Unavailable, match="expired"):
        await said(origin, context)
    authority.signed("relay")
    server.shown.renew()
    assert await said(origin, context) == b"hello"
    stop.set()
    await task


async def test_a_certificate_that_does_not_fit_leaves_the_one_of_before_in_use(authority):
    server = open_server_tls(authority.server("relay"))
    listener, stop = listen(LOOPBACK, 0, secure=True), asyncio.Event()
    origin = Origin(LOOPBACK, port_of(listener), secure=True)
    task = asyncio.create_task(lean(listener, stop, server))
    assert isinstance(server.shown, Shown)
    key = server.shown.key.read_bytes()
    authority.signed("relay")  # a new certificate with the key of before
    server.shown.key.write_bytes(key)
    with pytest.raises(UsageError, match=r"are no certificate \(PEM\) and its key"):
        server.shown.renew()
    assert await said(origin, verifying_context(authority.path)) == b"hello"
    stop.set()
    await task


def test_a_key_that_others_may_read_is_refused(authority):
    tls = authority.server("relay")
    tls.key.chmod(0o640)
    with pytest.raises(UsageError, match=r"relay.key is readable by others .mode 640.; make it 600"):
        open_server_tls(tls)


@pytest.mark.parametrize("missing", ["certificate", "key", "client_ca"])
def test_a_file_that_is_missing_is_named(authority, missing):
    tls = authority.server("relay", clients=["kms"])
    path = getattr(tls, missing)
    path.unlink()
    with pytest.raises(UsageError, match=f"{path.name}.*cannot be read: No such file"):
        open_server_tls(tls)


@pytest.mark.parametrize("half", [{"client_ca": "ca.crt"}, {"clients": ("kms",)}])
def test_an_authority_without_names_and_names_without_an_authority_are_refused(half):
    with pytest.raises(ValueError, match="client_ca and clients are given together"):
        ServerTls(certificate=Path("c"), key=Path("k"), **half)


@pytest.mark.parametrize("url", ["http://ledger.example:7001", "http://192.0.2.1/", "http://[2001:db8::1]:80"])
def test_no_other_machine_is_asked_in_the_clear(url, authority):
    with pytest.raises(UsageError, match="is not on this machine: write https://"):
        peer_tls(url, authority.peer("kms"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:7001", "http://127.0.0.9/", "http://[::1]:80", "http://localhost:1"])
def test_on_this_machine_no_tls_is_needed(url):
    assert peer_tls(url, None) is None


def test_https_without_certificates_is_refused_and_says_what_to_give():
    with pytest.raises(UsageError, match=r"needs the table \[peers\]: ca, certificate and key"):
        peer_tls("https://ledger.example", None)


def test_a_client_of_a_secure_origin_has_certificates_or_is_none(authority):
    with pytest.raises(UsageError, match="https needs certificates"):
        HttpClient(Origin.parse("https://ledger.example"))
    peers = PeerTls(ca=authority.path, certificate=authority.path, key=authority.path)
    with pytest.raises(UsageError):
        peer_tls("https://ledger.example", peers)


async def test_the_machines_own_authorities_are_those_of_openssl_which_a_variable_can_name(authority, monkeypatch):
    stop, listener = asyncio.Event(), listen(LOOPBACK, 0, secure=True)
    task = asyncio.create_task(lean(listener, stop, open_server_tls(authority.server("relay"))))
    origin = Origin(LOOPBACK, port_of(listener), secure=True)
    with pytest.raises(Unavailable, match="do not trust each other"):
        await said(origin, verifying_context(None))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    assert await said(origin, verifying_context(None)) == b"hello"
    stop.set()
    await task
