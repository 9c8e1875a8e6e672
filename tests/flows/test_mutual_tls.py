"""Two KMS instances and a gateway that know each other by certificates that live two seconds; nothing is dropped."""

import asyncio
import contextlib
import time
from dataclasses import replace

import pytest
from tests.doubles.identity_world import IdentityWorld, other_authority, serial

from cloister.contract.identity_certificate import Window
from cloister.crypto.p256 import P256Key
from cloister.errors import Unavailable
from cloister.formats import canonical
from cloister.formats.binary_http import Response
from cloister.formats.key_bundle import parse_key_bundle
from cloister.formats.release import ReleaseRequest
from cloister.formats.spiffe import SpiffeName
from cloister.formats.trust_policy import TrustPolicy
from cloister.hosting.loopback import LOOPBACK
from cloister.ledger.statements import open_statement
from cloister.node.identity import KeptIdentity, issued_identity
from cloister.node.identity_tls import HeldIdentity, Speaker, server_context
from cloister.node.keys import NodeSecrets
from cloister.peers.exchange import PeerRefused
from cloister.peers.kms import KmsClient
from cloister.peers.ledger import LedgerClient
from cloister.services.kms.security import KmsSecurity
from cloister.testing.local_system import LocalSystem
from cloister.trust.bundle import examine_bundle
from cloister.trust.memory import first_contact

LIFE = 2  # seconds


class Echo:
    """An engine that answers what it was asked."""

    def missing(self):
        return ()

    async def ask(self, request, *, seconds):
        return Response(200, (("content-type", "text/plain"),), request.body)


@pytest.fixture
async def system(tmp_path):
    """Ledger and two KMS instances, of which the second has taken over what the first has."""
    made = LocalSystem(tmp_path, kms_security=KmsSecurity(head_seconds=5, identity_seconds=LIFE), mutual_tls=True)
    made.choose_instances(2)
    async with contextlib.AsyncExitStack() as stack:
        await made.run_ledger(stack)
        await made.run_kms(stack)
        await made.run_kms(stack, name="kms2")
        yield made


async def entries(system):
    async with LedgerClient(system.url("ledger")) as ledger:
        size = int((await ledger.checkpoint()).split(b"\n")[1])
        return [open_statement(entry) for entry in await ledger.entries(0, size)]


class RenewedNode:
    """A gateway's node that keeps an identity from the first KMS instance."""

    def __init__(self, system):
        self.system = system
        self.node = replace(system.gateway_node(), secrets=NodeSecrets.generate())
        self.speaker = Speaker(self.node.line, clock=time.time)
        self.renewals = 0
        self.named = asyncio.Event()

    async def obtain(self):
        policy: TrustPolicy = self.node.policy
        async with KmsClient(self.system.url("kms")) as kms:
            data = parse_key_bundle(await kms.bundle(self.node.line))
            bundle = examine_bundle(data, policy, first_contact(policy.constitution), at=int(time.time())).require()
            return await issued_identity(kms, self.node, bundle)

    def count(self, _held):
        self.renewals += 1
        self.named.set()

    @contextlib.asynccontextmanager
    async def kept(self):
        kept = KeptIdentity(self.speaker, self.obtain, clock=time.time)
        kept.renewed = self.count
        keeping = asyncio.create_task(kept.keep())
        await asyncio.wait_for(self.named.wait(), 20)
        try:
            yield self
        finally:
            keeping.cancel()


async def test_a_gateway_gets_its_keys_by_identity_from_instances_that_know_each_other_by_theirs(system):
    async with contextlib.AsyncExitStack() as stack:
        await system.run_gateway(stack, Echo())
        said = await entries(system)
    kinds = [one.kind for one in said]
    assert kinds.count("authority") == 1
    assert kinds.count("identity") >= 3
    assert {"handover", "release"} <= set(kinds)
    async with KmsClient(system.url("kms")) as kms:
        challenge = await kms.challenge()
        node = system.gateway_node()
        shown = await node.evidence(challenge)
        with pytest.raises(PeerRefused, match="given by identity"):
            await kms.release(ReleaseRequest(contract=node.line, key_id=1, evidence=canonical.encode(shown)))


async def test_a_stream_lives_on_while_certificates_are_renewed_at_both_ends(system):
    server, client = RenewedNode(system), RenewedNode(system)
    total = 80

    async def answer(_reader, writer):
        for number in range(total):
            writer.write(b"%d\n" % number)
            await writer.drain()
            await asyncio.sleep(0.05)
        writer.close()

    async with server.kept(), client.kept():
        context = server_context(lambda _: server.speaker, {"gateway"})
        listening = await asyncio.start_server(answer, LOOPBACK, 0, ssl=context)
        port = listening.sockets[0].getsockname()[1]

        async def opened():
            spoken = client.speaker.client("gateway")
            return await asyncio.open_connection(LOOPBACK, port, ssl=spoken.context, server_hostname=spoken.host)

        reader, writer = await opened()
        lines, serials = [], set()
        while line := await reader.readline():
            lines.append(int(line))
            if len(lines) % 10 == 0:
                _, short = await opened()
                serials.add(short.get_extra_info("ssl_object").getpeercert()["serialNumber"])
                short.close()
        writer.close()
        listening.close()
    assert lines == list(range(total))
    assert min(server.renewals, client.renewals) >= 3
    assert len(serials) >= 3


def stranger(line):
    """A certificate that anyone can make: in a gateway's name, by an authority of their own."""
    now = int(time.time())
    key, issuer = other_authority(line, now=now)
    world = IdentityWorld(now=now)
    tls, window = P256Key.generate(), Window(now - 60, now + 3600)
    name = SpiffeName(line, 0, "gateway", bytes(32))
    leaf = world.leaf(authority=key, issuer=issuer, name=name, key=tls.public, window=window, serial=serial(7))
    return HeldIdentity(name, leaf, window, (issuer,), tls)


async def test_a_stranger_is_not_spoken_with(system):
    async with RenewedNode(system).kept() as known:
        ours = known.speaker.held
        speaker = Speaker(known.node.line, clock=time.time)
        speaker.take(replace(stranger(known.node.line), authorities=ours.authorities))
        async with KmsClient(system.tls_url("kms"), speaking=lambda: speaker.client("kms")) as kms:
            with pytest.raises(Unavailable, match="cannot be reached"):
                await kms.challenge()
        async with KmsClient(system.tls_url("kms"), speaking=lambda: known.speaker.client("kms")) as kms:
            assert len(await kms.challenge()) == 32
        async with KmsClient(system.tls_url("kms"), speaking=lambda: known.speaker.client("gateway")) as kms:
            with pytest.raises(Unavailable):
                await kms.challenge()
