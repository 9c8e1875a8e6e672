"""TLS between nodes by their identities: renewed under an open connection, strangers refused by name."""

import asyncio
import contextlib
import ssl
import time
from dataclasses import replace
from typing import Any

import pytest
from tests.doubles.identity_world import IdentityWorld, other_authority, serial

from cloister.contract.identity_certificate import Window
from cloister.crypto.p256 import P256Key
from cloister.errors import Unavailable
from cloister.formats.spiffe import SpiffeName
from cloister.hosting.loopback import LOOPBACK
from cloister.node.identity import KeptIdentity
from cloister.node.identity_tls import HeldIdentity, NoIdentity, PeerNotTaken, Speaker, server_context
from cloister.testing.world import DAY, Node

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


class Nodes:
    """The nodes of one contract line, and certificates for them."""

    def __init__(self):
        self.now = int(time.time())
        self.world = IdentityWorld(now=self.now)
        self.numbers = iter(range(1, 1000))

    def held(self, role="service", *, node=None, seconds=3600, begins=-60, **changes) -> HeldIdentity:
        key, now = P256Key.generate(), int(time.time())
        window = Window(now + begins, now + seconds)
        name = self.world.name(role, node)
        parts: dict[str, Any] = {
            "key": key.public,
            "name": name,
            "window": window,
            "serial": serial(next(self.numbers)),
        } | changes
        certificate = self.world.leaf(**parts)
        return HeldIdentity(parts["name"], certificate, window, (self.world.certificate,), key)

    def speaker(self, held=None, role="service") -> Speaker:
        speaker = Speaker(self.world.line, clock=time.time)
        speaker.take(held or self.held(role))
        return speaker


@pytest.fixture(scope="module")
def nodes():
    return Nodes()


@contextlib.asynccontextmanager
async def served(speaker, roles=("service", "gateway"), *, lines=1):
    """A server that writes so many lines and closes."""

    async def answer(_reader, writer):
        with contextlib.suppress(OSError):
            for number in range(lines):
                writer.write(b"%d\n" % number)
                await writer.drain()
                await asyncio.sleep(0.05 if lines > 1 else 0)
        writer.close()

    context = server_context(lambda _: speaker, roles)
    server = await asyncio.start_server(answer, LOOPBACK, 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def connected(port, speaker, role="service"):
    spoken = speaker.client(role)
    return await asyncio.open_connection(LOOPBACK, port, ssl=spoken.context, server_hostname=spoken.host)


async def said(port, speaker, role="service"):
    reader, writer = await connected(port, speaker, role)
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_two_nodes_of_a_contract_speak(nodes):
    async with served(nodes.speaker()) as port:
        assert await said(port, nodes.speaker(role="gateway")) == b"0\n"


async def test_a_connection_goes_on_while_certificates_are_renewed_and_new_ones_show_the_newest(nodes):
    server, client = nodes.speaker(), nodes.speaker()
    async with served(server, lines=30) as port:
        reader, writer = await connected(port, client)
        lines, shown = [], set()
        for _ in range(5):
            server.take(nodes.held())
            client.take(nodes.held())
            lines.append(await reader.readline())
            _, other = await connected(port, client)
            shown.add(other.get_extra_info("ssl_object").getpeercert()["serialNumber"])
            other.close()
        rest = await reader.read()
        writer.close()
    assert b"".join(lines) + rest == b"".join(b"%d\n" % number for number in range(30))
    assert len(shown) == 5


async def is_refused(port, client):
    """The client learns only that it is; in TLS 1.3 the alert comes after its side of the handshake is over."""
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        assert await said(port, client) == b""


async def refused_by_server(nodes, held, *, server=None, client=None):
    """By what name a server for services refuses who shows this."""
    refusals: asyncio.Queue[PeerNotTaken] = asyncio.Queue()
    server, client = server or nodes.speaker(), client or nodes.speaker()
    server.refused = refusals.put_nowait
    client.take(held)
    async with served(server, ("service",)) as port:
        await is_refused(port, client)
        return (await asyncio.wait_for(refusals.get(), 5)).check


async def refused_by_client(nodes, held, role="service"):
    async with served(nodes.speaker(held)) as port:
        with pytest.raises(PeerNotTaken) as caught:
            await said(port, nodes.speaker(), role)
    return caught.value.check


def strangers(nodes):
    key, issuer = other_authority(nodes.world.line, now=nodes.now)
    return nodes.held(authority=key, issuer=issuer)


def of_another_contract(nodes):
    return replace(Nodes().held(), authorities=(nodes.world.certificate,))


OTHERS = [
    ("peer.authority", "a stranger's", strangers),
    ("peer.authority", "another contract's", of_another_contract),
    ("peer.domain", "another line's name", lambda n: n.held(name=SpiffeName(bytes(32), 0, "service", bytes(32)))),
    ("peer.validity", "one for days", lambda n: n.held(seconds=2 * DAY)),
]


@pytest.mark.parametrize(("check", "make"), [pytest.param(c, m, id=w) for c, w, m in OTHERS])
async def test_a_server_refuses_by_name_who_shows(nodes, check, make):
    assert await refused_by_server(nodes, make(nodes)) == check


@pytest.mark.parametrize(("check", "make"), [pytest.param(c, m, id=w) for c, w, m in OTHERS])
async def test_a_client_refuses_by_name_who_shows(nodes, check, make):
    by_host_name = check == "peer.domain"  # which says both, and OpenSSL compares it first
    assert await refused_by_client(nodes, make(nodes)) == ("peer.role" if by_host_name else check)


async def test_another_role_is_refused_by_name(nodes):
    assert await refused_by_server(nodes, nodes.held("gateway")) == "peer.role"
    assert await refused_by_client(nodes, nodes.held("gateway")) == "peer.role"


async def test_an_expired_certificate_is_refused_by_name(nodes):
    ended, client = nodes.held(seconds=-1), nodes.speaker()
    client._clock = lambda: time.time() - 60  # a host that sets its clock back shows what has ended
    assert await refused_by_server(nodes, ended, client=client) == "peer.validity"


async def test_the_witnessed_time_ends_a_certificate_that_the_hosts_clock_does_not(nodes):
    server = nodes.speaker(nodes.held(seconds=7200))
    server._clock = lambda: time.time() + 3700
    assert await refused_by_server(nodes, nodes.held(), server=server) == "peer.validity"


async def test_who_shows_nothing_is_not_spoken_with(nodes):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with served(nodes.speaker()) as port:
        reader, writer = await asyncio.open_connection(LOOPBACK, port, ssl=context, server_hostname="x")
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            assert await reader.read() == b""
        writer.close()


async def test_a_node_without_an_identity_neither_calls_nor_answers(nodes):
    nobody = Speaker(nodes.world.line, clock=time.time)
    with pytest.raises(NoIdentity):
        nobody.client("service")
    async with served(nobody) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connected(port, nodes.speaker())


async def test_an_identity_is_renewed_at_half_life_and_asked_for_again_when_none_is_given(nodes):
    speaker, trouble = Speaker(nodes.world.line, clock=time.time), iter([True, False, True])
    taken: asyncio.Queue[HeldIdentity] = asyncio.Queue()

    async def obtain():
        if next(trouble, False):
            raise Unavailable("the KMS cannot be reached")
        return nodes.held(seconds=1)

    kept = KeptIdentity(speaker, obtain, clock=time.time)
    kept.renewed = taken.put_nowait
    keeping = asyncio.create_task(kept.keep())
    async with asyncio.timeout(20):
        renewed = [await taken.get() for _ in range(3)]
    keeping.cancel()
    assert len({one.certificate for one in renewed}) == 3


async def test_what_is_due_lies_about_half_life(nodes):
    async def obtain():
        return nodes.held(node=Node())

    kept = KeptIdentity(nodes.speaker(), obtain, clock=time.time)
    due = {await kept.renew() for _ in range(5)}
    assert all(0.44 * 3600 < one < 0.56 * 3600 for one in due)
    assert len(due) > 1
