"""A machine's deployment API with real processes: rolled out, replaced, brought back, found again after a kill."""

import asyncio
import contextlib
import os
import signal

import msgspec
import pytest
from tests.doubles.certificates import Authority
from tests.doubles.changed_bytes import last_bit_flipped
from tests.doubles.deployed_machine import NOBODY, Machine, free_ports, is_in_force
from tests.doubles.http_peers import serving

from cloister.crypto.signing import SigningKey
from cloister.errors import Refused, Unavailable
from cloister.formats.checkpoint import ED25519, format_vkey
from cloister.formats.toml_text import toml_text
from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_exchange import Response
from cloister.hosting.http_message import Origin
from cloister.hosting.processes import name_of
from cloister.peers.deployment import DeploymentClient
from cloister.storage.key_file import write_signing_key

replace = msgspec.structs.replace


class Upstream:
    """KMS and gateway to relays: serves a bundle at once, and answers a sealed request when the test lets it."""

    def __init__(self):
        self.url = ""
        self.reached, self.let = asyncio.Event(), asyncio.Event()

    async def answer(self, request):
        if request.target == "/ready":
            return Response(200, [], b'{"ready": true}')
        if request.target != "/gateway":
            return Response(200, [(b"cache-control", b"max-age=60")], b"the bundle")
        self.reached.set()
        await self.let.wait()
        return Response(200, [(b"content-type", b"message/ohttp-res")], b"sealed answer")


@contextlib.asynccontextmanager
async def upstream():
    served = Upstream()
    async with serving(served.answer) as origin:
        served.url = str(origin).rstrip("/")
        yield served


async def asked(port):
    """The answer to a sealed request through the relay on `port`."""
    client = HttpClient(Origin("127.0.0.1", port))
    try:
        headers = [(b"content-type", b"message/ohttp-req")]
        async with client.exchange(b"POST", b"/", headers, b"sealed request", seconds=60) as reply:
            return reply.status, await reply.body.read(100)
    finally:
        await client.close()


def says(state):
    return [event.says for event in state.events]


async def test_a_node_is_replaced_with_requests_in_flight_brought_back_restarted_and_drained(tmp_path):
    async with upstream() as gateway, Machine(tmp_path) as machine:
        node = machine.relay(gateway.url)
        one, other = node.ports
        (first,) = (await machine.apply(node)).nodes
        assert (first.name, first.phase, first.restarts) == (f"relay/{one}", "ready", 0)
        # A setting changes while a request is under way: the new process is there before the old one is told to end,
        # and the old one ends when it has answered.
        waiting = asyncio.create_task(asked(one))
        await gateway.reached.wait()
        changed = replace(node, settings=f"client_rate = 7\n{node.settings}")
        manifest = machine.next(await machine.state(), changed)
        await machine.send(machine.signed(manifest))
        state = await machine.until(lambda state: {one.phase for one in state.nodes} == {"draining", "ready"})
        assert not waiting.done()
        gateway.let.set()
        assert await waiting == (200, b"sealed answer")
        state = await machine.until(lambda state: not state.working)
        assert is_in_force(state, 2)
        assert [found.name for found in state.nodes] == [f"relay/{other}"]
        assert await asked(other) == (200, b"sealed answer")
        # One that never becomes ready: the one before has not ended meanwhile.
        before = state.nodes
        bad = replace(node, ready_seconds=1, settings=node.settings.replace(gateway.url, NOBODY))
        state = await machine.apply(bad)
        assert (state.head.standing, is_in_force(state, 2)) == ("failed", True)
        assert f"relay/{one} was not ready in 1 s: " in state.head.said
        assert [found.pid for found in state.nodes] == [before[0].pid]
        assert says(state)[-1] == "revision 3 failed; revision 2 is in force"
        # One that dies is started again; one that is drained is not.
        os.kill(before[0].pid, signal.SIGKILL)
        state = await machine.until(lambda state: state.nodes[0].restarts and state.nodes[0].phase == "ready")
        assert f"relay/{other} ended (killed by SIGKILL); it is started again in 0.5 s" in says(state)
        state = await machine.apply(replace(changed, replicas=0))
        assert (is_in_force(state, 4), state.nodes) == (True, ())
        assert name_of(before[0].pid) is None


async def test_an_api_that_is_killed_amid_a_rollout_finds_its_nodes_and_goes_on(tmp_path):
    async with upstream() as gateway, Machine(tmp_path, apart=True) as machine:
        lives, changes = machine.relay(gateway.url, "lives"), machine.relay(gateway.url, "changes", drain_seconds=1)
        before = {one.node: one for one in (await machine.apply(lives, changes)).nodes}
        manifest = machine.next(await machine.state(), lives, replace(changes, generation=1))
        await machine.send(machine.signed(manifest))
        await machine.kill()
        await machine.begin()
        state = await machine.until(lambda state: not state.working)
        after = {one.node: one for one in state.nodes}
        assert is_in_force(state, 2)
        assert after["lives"].pid == before["lives"].pid
        assert after["changes"].spec == manifest.nodes[1].spec().hex()
        # Killed with a node that dies meanwhile, too: it is started; the other, found again, is watched and ended.
        await machine.kill()
        os.kill(after["changes"].pid, signal.SIGKILL)
        await machine.begin()
        await machine.until(lambda state: [one.phase for one in state.nodes] == ["ready", "ready"])
        state = await machine.apply(manifest.nodes[1])
        assert [one.node for one in state.nodes] == ["changes"]
        assert name_of(before["lives"].pid) is None


async def test_between_machines_api_and_nodes_are_known_by_certificates_and_strangers_are_not_heard(tmp_path):
    authority = Authority(tmp_path)
    tls = msgspec.to_builtins(authority.server("deployment", address="127.0.0.2", clients=["operator"]), enc_hook=str)
    peers = msgspec.to_builtins(authority.peer("deployment", address="127.0.0.2"), enc_hook=str)
    settings = {"address": "127.0.0.2", "tls": tls, "peers": peers, "folders": [str(tmp_path)]}
    known, strange = authority.peer("operator"), authority.peer("stranger")
    async with Machine(tmp_path / "m", shown=known, **settings) as machine:
        with pytest.raises(Unavailable):
            async with DeploymentClient(machine.url, peers=strange) as client:
                await client.state()
        own = authority.server("witness", address="127.0.0.3", clients=["deployment"])
        key = machine.allowed / "witness.seed"
        write_signing_key(key, SigningKey.generate())
        vkey = format_vkey("log.test/tls", SigningKey.generate().public, kind=ED25519)
        table = {
            "folder": str(machine.allowed / "w"),
            "name": "w.test/tls",
            "key": str(key),
            "logs": [vkey],
            "address": "127.0.0.3",
            "tls": msgspec.to_builtins(own, enc_hook=str),
        }
        node = replace(
            machine.relay(NOBODY, "watcher", ports=free_ports(1)),
            role="witness",
            health_ports=(),
            settings=toml_text(table, comment=lambda _: ""),
        )
        state = await machine.apply(node)
        assert [(one.name, one.phase) for one in state.nodes] == [(f"watcher/{node.ports[0]}", "ready")]


async def test_manifests_that_are_replayed_older_foreign_or_nobodys_are_refused_by_name_and_change_nothing(tmp_path):
    async with Machine(tmp_path) as machine:
        first = machine.next(await machine.state())
        await machine.send(machine.signed(first))
        second = machine.next(await machine.until(lambda state: is_in_force(state, 1)))
        await machine.send(machine.signed(second))
        state = await machine.until(lambda state: is_in_force(state, 2))
        node = machine.relay(NOBODY)
        third = machine.next(state, node)
        elsewhere = replace(node, settings='[peers]\nca = "/etc/passwd"\ncertificate = "/x"\nkey = "/x"\n')
        for check, signed in (
            ("manifest.number", machine.signed(second)),
            ("manifest.number", machine.signed(first)),
            ("manifest.operator", machine.signed(third, SigningKey.generate())),
            ("manifest.deployment", machine.signed(replace(third, deployment="other"))),
            ("manifest.previous", machine.signed(replace(third, previous=bytes(32)))),
            ("manifest.signature", last_bit_flipped(machine.signed(third))),
            (
                "manifest.settings",
                machine.signed(replace(third, nodes=(replace(node, settings=node.settings + elsewhere.settings),))),
            ),
        ):
            with pytest.raises(Refused) as refused:
                await machine.send(signed)
            assert refused.value.check == check
        after = await machine.state()
        assert (after.revisions, after.nodes) == (state.revisions, ())
        # What a machine has missed comes with the newest, each held against the one before.
        fourth = replace(second, number=4, previous=third.digest(), nodes=())
        await machine.send(machine.signed(third), machine.signed(fourth))
        state = await machine.until(lambda state: is_in_force(state, 4))
        assert [one.standing for one in state.revisions] == ["past", "past", "missed", "in force"]
        assert state.nodes == ()


async def test_a_newer_revision_takes_the_place_of_one_that_does_not_come_up(tmp_path):
    async with Machine(tmp_path) as machine:
        slow = machine.next(await machine.state(), machine.relay(NOBODY, ready_seconds=3600))
        await machine.send(machine.signed(slow))
        waits = await machine.until(lambda state: state.nodes and state.nodes[0].phase == "not ready")
        state = await machine.apply()
        assert is_in_force(state, 2)
        assert state.revisions[0].said == "revision 2 took its place before it was rolled out"
        assert state.nodes == ()
        assert name_of(waits.nodes[0].pid) is None
