"""Several KMS instances: keys handed over by attestation, one epoch of them all, and what happens when some go."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.doubles.kms_system import SECURITY, AskingNode, KmsSystem, Link, WorldTee

from cloister.attest.evidence import EvidenceRejected
from cloister.contract.fold import begin, fold
from cloister.contract.handover import HandoverRefused
from cloister.crypto.hpke import X_WING, KemPrivateKey, unwrap
from cloister.errors import MalformedInput, Refused, Unavailable
from cloister.formats import canonical
from cloister.formats.handover import (
    HANDOVER_INFO,
    HandoverRequest,
    NamedSecret,
    parse_handed_over,
    parse_handover,
    parse_handover_reply,
)
from cloister.formats.release import WRAP_INFO, Revocation, parse_release_reply
from cloister.ledger.statements import entry_digest, open_statement, sign_statement
from cloister.node.keys import NodeSecrets
from cloister.secret import SecretBytes
from cloister.services.kms.instance import Instance
from cloister.services.kms.kms import Kms
from cloister.testing import world
from cloister.trust.bundle import examine_bundle
from cloister.trust.memory import first_contact

replace = msgspec.structs.replace


@pytest.fixture
def system() -> KmsSystem:
    system = KmsSystem()
    contract = system.world.make_contract(
        constitution=system.constitution.digest(), not_after=world.NOON + 100 * world.DAY
    )
    system.contract, system.contract_entry = contract, system.sign_contract(contract)
    return system


async def pair(system: KmsSystem) -> tuple[Kms, Kms, Link, Link]:
    """Two instances that know each other, and the links by which the first and the second are reached."""
    to_first, to_second = Link(), Link()
    first = to_first.kms = await system.started(peers=[to_second])
    second = to_second.kms = await system.started(peers=[to_first])
    await first.follow()
    return first, second, to_first, to_second


def kinds(system: KmsSystem) -> list[str]:
    return [open_statement(entry).kind for entry in system.ledger.log.entries]


def examine(system: KmsSystem, kms: Kms):
    policy = system.policy()
    return examine_bundle(system.bundle(kms), policy, first_contact(policy.constitution), at=system.now)


def active(system: KmsSystem, kms: Kms) -> int:
    number: int = examine(system, kms).require().keys.active.number
    return number


async def opened_key(kms: Kms, node: AskingNode) -> bytes:
    """The public half of the transport key that a node is given."""
    reply = parse_release_reply(await kms.release(node.request(kms.challenge())))
    secret = unwrap(node.secrets.wrap, reply.wrapped, info=WRAP_INFO, aad=entry_digest(reply.entry))
    return KemPrivateKey.from_bytes(X_WING, SecretBytes(secret.reveal())).public


async def test_a_second_instance_takes_over_the_key_and_serves_the_same_epoch(system):
    first, second, *_ = await pair(system)
    assert kinds(system) == ["constitution", "contract", "kms", "epoch", "kms", "handover"]
    assert (active(system, first), active(system, second)) == (1, 1)
    node = AskingNode(system)
    assert await opened_key(second, node) == examine(system, first).require().key_config.public
    assert (first.unready(), second.unready()) == ([], [])


async def test_both_show_the_gateways_that_either_certified(system):
    first, second, *_ = await pair(system)
    nodes = [AskingNode(system), AskingNode(system)]
    for kms, node in zip((first, second), nodes, strict=True):
        await opened_key(kms, node)
    await first.follow()
    for kms in (first, second):
        gateways = examine(system, kms).require().keys.gateways
        assert [gateway.sign for gateway in gateways] == [node.secrets.public.sign for node in nodes]


async def test_the_log_says_who_gave_which_keys_to_whom_and_on_what_evidence(system):
    first, second, *_ = await pair(system)
    entry = open_statement(system.ledger.log.entries[5])
    handover = parse_handover(entry.payload)
    epoch = entry_digest(system.ledger.log.entries[3])
    assert entry.signers == {first._standing.instance.key}
    assert handover.to == second._standing.instance.key
    assert handover.secrets == (NamedSecret(kind="epoch", name=epoch),)
    assert handover.evidence in system.ledger.blobs
    assert "evidence.workload" in handover.checks


async def test_an_epoch_rotates_once_whoever_is_first_and_the_other_takes_it_over(system):
    first, second, *_ = await pair(system)
    system.now = examine(system, first).require().keys.active.not_after - SECURITY.pending_seconds
    await asyncio.gather(first.follow(), second.follow())  # both find that the next is due
    for kms in (first, second, first):
        await kms.follow()
    for kms in (first, second):
        keys = examine(system, kms).require().keys
        assert [epoch.number for epoch in keys.epochs] == [1, 2]
        assert len(kms._standing.keys) == 2
    system.now = keys.epochs[1].not_before
    for kms in (first, second):
        await kms.follow()
        assert active(system, kms) == 2
    assert all(len(line.epochs) == 2 for line in first._standing.state.lines.values())


async def test_at_one_checkpoint_no_two_instances_show_different_epochs_whatever_their_clocks_say(system):
    """A clock set ahead makes the next epoch early; that is in use for nobody until witnesses say so."""
    first, second, *_ = await pair(system)
    end = examine(system, first).require().keys.active.not_after
    second._standing.clock._host = lambda: end + 5
    for kms in (second, first, second):
        await kms.follow()
    assert [epoch.number for epoch in examine(system, first).require().keys.epochs] == [1, 2]
    assert (active(system, first), active(system, second)) == (1, 1)


async def test_an_instance_that_cannot_reach_the_holder_of_the_key_replaces_the_epoch_for_everyone(system):
    first, _, to_first, to_second = await pair(system)
    to_first.cut = to_second.cut = True
    third = await system.started(peers=[to_first, to_second])
    assert active(system, third) == 2
    await first.follow()
    assert first.bundle(system.line) is None  # it has not the key that is in use, and shows no other
    assert "cannot be reached" in first.unready()[0]
    to_second.cut, to_second.kms = False, third
    system.now += 30
    await first.follow()
    assert active(system, first) == 2


async def test_instances_that_cannot_reach_each_other_do_not_replace_each_others_epochs_for_ever(system):
    first, second, to_first, to_second = await pair(system)
    to_first.cut = to_second.cut = True
    system.now += 86_400 - SECURITY.pending_seconds
    for _ in range(SECURITY.pending_seconds // 30):
        await asyncio.gather(first.follow(), second.follow())
        system.now += 30
    assert kinds(system).count("epoch") < 20
    assert sum(kms.bundle(system.line) is not None for kms in (first, second)) == 1


async def test_when_the_winner_of_a_rotation_dies_before_it_hands_over_another_epoch_takes_its_place(system):
    first, second, to_first, _ = await pair(system)
    system.now = examine(system, first).require().keys.active.not_after - SECURITY.pending_seconds
    await first.follow()
    to_first.cut = True
    await second.follow()
    system.now += 60
    await second.follow()
    keys = examine(system, second).require().keys
    assert [(epoch.number, epoch.not_before) for epoch in keys.epochs][1:] == [
        (2, keys.active.not_after),
        (3, keys.active.not_after),
    ]
    system.now = keys.active.not_after
    await second.follow()
    assert active(system, second) == 3


async def test_all_instances_lost_a_new_one_begins_an_epoch_at_once(system):
    _, _, to_first, to_second = await pair(system)
    to_first.cut = to_second.cut = True
    third = await system.started(peers=[to_first, to_second])
    assert active(system, third) == 2
    assert third.unready() == []


async def test_a_revoked_epoch_is_handed_to_nobody(system):
    first, _, to_first, _ = await pair(system)
    target = examine(system, first).require().keys.active.digest
    revocation = Revocation(contract=system.line, target=target, reason="lost")
    await system.ledger.append(sign_statement("revocation", revocation, (system.parties.owner,)))
    third = await system.started(peers=[to_first])
    assert active(system, third) == 2


class Asker:
    """Another instance that asks for the first epoch's key; a test changes one thing about it."""

    def __init__(self, system: KmsSystem, *, tee: WorldTee | None = None) -> None:
        self.system = system
        self.instance = Instance(tee or system.tee, NodeSecrets.generate(), SECURITY)
        self.constitution = system.constitution

    async def introduce(self) -> None:
        """Have the log take it in, where its evidence meets the constitution."""
        kms = self.system.kms()
        kms._standing.instance = self.instance
        await kms._standing.history.follow(await self.system.ledger.checkpoint())
        entry = self.instance.introduction(kms._standing.history.checkpoint, self.constitution)
        await self.system.ledger.append(entry)

    def request(self, challenge: bytes, **changes) -> bytes:
        shown = replace(self.instance.answering(challenge, self.constitution), **changes)
        wants = (NamedSecret(kind="epoch", name=entry_digest(self.system.ledger.log.entries[3])),)
        request = HandoverRequest(
            constitution=self.constitution.digest(), wants=wants, evidence=canonical.encode(shown)
        )
        return canonical.encode(request)


async def test_an_instance_that_the_log_did_not_take_in_gets_nothing(system):
    kms, asker = await system.started(), Asker(system)
    with pytest.raises(HandoverRefused, match=r"handover\.instance"):
        await kms.handover(asker.request(kms.challenge()))
    assert kinds(system)[-2:] == ["epoch", "refusal"]


async def test_a_challenge_is_answered_once_and_at_the_instance_that_gave_it(system):
    kms, asker = await system.started(), Asker(system)
    await asker.introduce()
    challenge = kms.challenge()
    await kms.handover(asker.request(challenge))
    for again in (challenge, bytes(32)):
        with pytest.raises(HandoverRefused, match=r"handover\.challenge"):
            await kms.handover(asker.request(again))


async def test_evidence_that_is_not_this_codes_gets_nothing_though_its_key_is_in_the_log(system):
    kms, asker = await system.started(), Asker(system)
    await asker.introduce()
    asker.instance.tee = WorldTee(system.parties.platform, workload=b"x" * 48)
    with pytest.raises(Refused, match=r"evidence\.workload"):
        await kms.handover(asker.request(kms.challenge()))


@pytest.mark.parametrize("data", [b"", b"\xa0", b"\xff" * 100])
async def test_bytes_that_are_no_request_are_malformed(system, data):
    kms = await system.started()
    with pytest.raises(MalformedInput):
        await kms.handover(data)


async def test_an_instance_that_has_not_started_gives_no_challenge(system):
    with pytest.raises(Unavailable, match="witnessed log"):
        system.kms().challenge()


async def test_a_successor_that_names_another_version_takes_over_without_losing_a_key(system):
    """The old version is retired by the constitution, serves nothing, and hands over; clients and gateways go on."""
    old = await system.started()
    node, link = AskingNode(system), Link(old)
    public = await opened_key(old, node)
    workload = b"n" * 48
    named = replace(system.constitution.kms, workloads=(workload,))
    successor = replace(system.constitution, sequence=1, previous=system.constitution.digest(), kms=named)
    await system.ledger.append(system.sign_constitution(successor))
    await old.follow()
    assert old.bundle(system.line) is None
    new = system.kms(tee=WorldTee(system.parties.platform, workload=workload), peers=[link])
    await new.start([system.contract_entry])
    verified = examine(system, new).require()
    assert verified.constitution == successor
    assert verified.key_config.public == public
    assert [gateway.sign for gateway in verified.keys.gateways] == [node.secrets.public.sign]
    assert await opened_key(new, AskingNode(system)) == public
    system.now += SECURITY.handover_seconds
    with pytest.raises(EvidenceRejected):
        await old.follow()
    with pytest.raises(Refused, match=r"handover\.secrets"):
        await new_asker_gets(system, old, workload, successor)


async def new_asker_gets(system, kms, workload, constitution):
    asker = Asker(system, tee=WorldTee(system.parties.platform, workload=workload))
    asker.constitution = constitution
    await asker.introduce()
    return await kms.handover(asker.request(kms.challenge()))


async def test_what_is_wrapped_is_the_keys_that_the_entry_names_and_opens_for_the_asker_alone(system):
    kms, asker = await system.started(), Asker(system)
    await asker.introduce()
    reply = parse_handover_reply(await kms.handover(asker.request(kms.challenge())))
    opened = unwrap(asker.instance.secrets.wrap, reply.wrapped, info=HANDOVER_INFO, aad=entry_digest(reply.entry))
    (secret,) = parse_handed_over(opened.reveal()).secrets
    key = KemPrivateKey.from_bytes(X_WING, SecretBytes(secret.secret))
    assert key.public == examine(system, kms).require().key_config.public
    assert secret.secret.hex() not in repr(secret)


async def test_the_head_vouches_for_the_instances_that_the_log_took_in(system):
    first, second, *_ = await pair(system)
    verified = examine(system, second).require()
    assert verified.keys.instances == {kms._standing.instance.key for kms in (first, second)}


async def test_the_log_replays_to_the_state_that_both_act_on(system):
    first, second, *_ = await pair(system)
    entries = system.ledger.log.entries
    state = fold(begin(entries[0], genesis=system.constitution.digest()), entries[1:])
    assert state == first._standing.state == second._standing.state
    assert state.void == 0
