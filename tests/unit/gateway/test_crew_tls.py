"""Several workers behind TLS: whom each of them lets in, and the certificate that each shows."""

import asyncio
import ssl

import pytest
from tests.doubles.certificates import Authority
from tests.doubles.gateway_crew import both_serve, world

from cloister.errors import Unavailable
from cloister.hosting.http_client import HttpClient
from cloister.hosting.tls import peer_tls, verifying_context

LARGE = bytes(range(256)) * 4_000  # received into a buffer of its own, through TLS


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def showing(peers):
    """How a service with this certificate speaks to others."""
    shown = peer_tls("https://127.0.0.1", peers)
    assert shown is not None
    return shown.context


async def shown(here):
    """The certificates that ten new connections are shown."""
    found = set()
    for _ in range(10):
        _, writer = await asyncio.open_connection(here.origin.host, here.origin.port, ssl=here.context)
        found.add(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        writer.transport.abort()
    return found


def on_disk(tls):
    """The certificate in the file."""
    return ssl.PEM_cert_to_DER_cert(tls.certificate.read_text())


async def test_workers_behind_tls_serve_whoever_comes(tmp_path, authority):
    tls = authority.server("gateway")
    async with world(tmp_path, tls=tls, context=verifying_context(authority.path)) as here:
        await both_serve(here)
        answers = await asyncio.gather(*(here.ask(b"%d" % number) for number in range(6)))
        assert [answer.body for answer in answers] == [b"%d" % number for number in range(6)]
        assert (await here.ask(LARGE)).body == LARGE


async def test_every_worker_asks_for_certificates_and_soon_shows_one_that_was_renewed(tmp_path, authority):
    tls = authority.server("gateway", clients=["relay"])
    async with world(tmp_path, tls=tls, context=showing(authority.peer("relay"))) as here:
        await both_serve(here)
        assert await shown(here) == {on_disk(tls)}
        authority.signed("gateway")
        assert {(await here.ask()).body for _ in range(6)} == {b"sound"}
        assert (await here.ask(LARGE)).body == LARGE
        for stranger in (verifying_context(authority.path), showing(authority.peer("kms"))):
            for _ in range(4):
                with pytest.raises(Unavailable):
                    await said(here, stranger)
        async with asyncio.timeout(30):
            while await shown(here) != {on_disk(tls)}:  # noqa: ASYNC110 - in other processes
                await asyncio.sleep(0.2)
        assert (await here.ask()).body == b"sound"


async def said(here, context):
    """What health says to a caller that shows itself so."""
    client = HttpClient(here.origin, tls=context)
    try:
        async with client.exchange(b"GET", b"/health", [], seconds=5) as reply:
            return await reply.body.read(100)
    finally:
        await client.close()
