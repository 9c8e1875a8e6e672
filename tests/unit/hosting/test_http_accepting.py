"""Whoever connects to a server that speaks TLS and says nothing, or too little, or no farewell."""

import asyncio
import contextlib
import socket

import pytest
from tests.doubles.certificates import Authority
from tests.doubles.http_peers import echo
from tests.doubles.open_sockets import Silent

from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_exchange import Limits
from cloister.hosting.http_inbound_server import serving
from cloister.hosting.http_inbound_state import InboundLimits
from cloister.hosting.http_message import Origin
from cloister.hosting.http_server import HttpServer
from cloister.hosting.loopback import LOOPBACK, listen, port_of
from cloister.hosting.tls import open_server_tls, verifying_context


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@contextlib.asynccontextmanager
async def secure(authority, handler=echo, **limits):
    """The origin at which `handler` is served over TLS."""
    listener = listen(LOOPBACK, 0, secure=True)
    server = HttpServer(handler, Limits(**limits), open_server_tls(authority.server("ledger")))
    await server.start(listener)
    try:
        yield Origin(LOOPBACK, port_of(listener), secure=True)
    finally:
        await server.close(0)


async def said(origin, authority):
    client = HttpClient(origin, tls=verifying_context(authority.path))
    try:
        async with client.exchange(b"GET", b"/x", [], seconds=5) as reply:
            return await reply.body.read(100)
    finally:
        await client.close()


async def test_a_handshake_that_does_not_come_ends_when_a_head_would(authority):
    async with secure(authority, head_seconds=0.5) as origin:
        with Silent(origin) as strangers:
            await strangers.connect(4)
            assert strangers.held() == 4
            await strangers.become(0)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"])
async def test_no_more_handshakes_are_held_than_may_be_and_a_caller_that_ends_its_own_is_answered(authority, sent):
    async with secure(authority, connections=2) as origin:
        with Silent(origin) as strangers:
            await strangers.connect(8, sent)
            await strangers.become(2, seconds=2)
            assert await said(origin, authority) == b"GET /x "


async def test_a_stop_ends_the_handshakes_that_are_under_way(authority):
    async with secure(authority) as origin:
        strangers = Silent(origin)
        await strangers.connect(2)
    with strangers:
        await strangers.become(-1, seconds=2)  # nor is the listening socket there any more


class Unasked:
    """A service for those who ask nothing."""

    def begin(self, head, connection):
        raise AssertionError


async def test_who_does_not_say_farewell_is_not_waited_for(authority):
    def shake_hands(origin):
        raw = socket.create_connection((origin.host, origin.port))
        return verifying_context(authority.path).wrap_socket(raw, server_hostname=LOOPBACK)

    listener, tls = listen(LOOPBACK, 0, secure=True), open_server_tls(authority.server("gateway"))
    limits = InboundLimits(idle_seconds=0.2, write_seconds=0.5)
    async with serving(Unasked(), listener, limits=limits, grace_seconds=0, tls=tls):
        origin = Origin(LOOPBACK, port_of(listener), secure=True)
        with Silent(origin) as clients:
            clients.sockets.append(await asyncio.to_thread(shake_hands, origin))
            assert clients.held() == 1
            await clients.become(0)
