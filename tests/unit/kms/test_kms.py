"""A KMS over a ledger in memory: what it logs, when it lets a key go, and what it publishes."""

from __future__ import annotations

import asyncio
import hashlib

import msgspec
import pytest
from tests.doubles.kms_system import SECURITY, AskingNode, KmsSystem, WorldTee

from cloister.attest.evidence import EvidenceRejected
from cloister.contract.fold import begin, fold
from cloister.contract.replay import LogRefused
from cloister.crypto.hpke import X_WING, KemPrivateKey, unwrap
from cloister.endorsements.endorsing import Gathered
from cloister.errors import MalformedInput, Refused, Unavailable
from cloister.formats import canonical, key_config
from cloister.formats.release import (
    WRAP_INFO,
    ReleaseReply,
    Revocation,
    parse_epoch,
    parse_kms_instance,
    parse_release,
    parse_release_reply,
)
from cloister.ledger.statements import entry_digest, open_statement, sign_statement
from cloister.secret import SecretBytes
from cloister.services.kms.kms import Kms
from cloister.services.kms.security import KmsSecurity
from cloister.testing import world
from cloister.trust.bundle import examine_bundle
from cloister.trust.memory import first_contact


@pytest.fixture
def system() -> KmsSystem:
    return KmsSystem()


@pytest.fixture
def node(system) -> AskingNode:
    return AskingNode(system)


def kinds(system: KmsSystem) -> list[str]:
    return [open_statement(entry).kind for entry in system.ledger.log.entries]


async def released(kms: Kms, node: AskingNode) -> ReleaseReply:
    return parse_release_reply(await kms.release(node.request(kms.challenge())))


def opened_key(reply: ReleaseReply, node: AskingNode) -> bytes:
    """The public half of the transport key in a reply."""
    secret = unwrap(node.secrets.wrap, reply.wrapped, info=WRAP_INFO, aad=entry_digest(reply.entry))
    return KemPrivateKey.from_bytes(X_WING, SecretBytes(secret.reveal())).public


def examine(system: KmsSystem, kms: Kms, **changes):
    policy = system.policy(**changes)
    return examine_bundle(system.bundle(kms), policy, first_contact(policy.constitution), at=system.now)


async def test_a_fresh_log_begins_with_the_genesis_and_then_the_kms_shows_itself_before_it_makes_a_key(system):
    await system.started()
    assert kinds(system) == ["constitution", "contract", "kms", "epoch"]


async def test_a_client_accepts_the_bundle_before_and_after_a_gateway_has_its_key(system, node):
    kms = await system.started()
    assert examine(system, kms).require().keys.gateways == ()
    await released(kms, node)
    verified = examine(system, kms).require()
    assert [gateway.sign for gateway in verified.keys.gateways] == [node.secrets.public.sign]


async def test_the_key_released_is_the_one_that_clients_encrypt_to(system, node):
    kms = await system.started()
    reply = await released(kms, node)
    assert opened_key(reply, node) == examine(system, kms).require().key_config.public
    assert key_config.decode(parse_epoch(open_statement(reply.epoch_entry).payload).key_config).key_id == 1


async def test_a_release_names_its_evidence_which_the_ledger_keeps(system, node):
    kms = await system.started()
    reply = await released(kms, node)
    release = parse_release(open_statement(reply.entry).payload)
    assert hashlib.sha256(system.ledger.blobs[release.evidence]).digest() == release.evidence
    assert release.node == node.secrets.public
    assert "evidence.workload" in release.checks
    assert system.ledger.log.entries[reply.index] == reply.entry


async def test_everyone_gets_the_same_bundle_until_something_changes(system):
    kms = await system.started()
    first = kms.bundle(system.line)
    await kms.follow()
    assert kms.bundle(system.line) is first
    system.now += SECURITY.head_seconds
    await kms.follow()
    renewed = kms.bundle(system.line)
    assert renewed is not None
    assert first is not None
    assert renewed.tag != first.tag
    assert examine(system, kms).failed == []


async def test_a_bundle_carries_the_memory_of_each_of_the_last_sizes_on(system, node):
    kms = await system.started()
    memory = examine(system, kms).require().memory
    for _ in range(3):
        await released(kms, node)
    examination = examine_bundle(system.bundle(kms), system.policy(), memory, at=system.now)
    step = next(step for step in examination.steps if step.id == "checkpoint.consistency")
    assert step.detail == f"continues size {memory.size}"
    assert examination.require().checkpoint.size == memory.size + 3


async def test_an_epoch_is_pending_then_active_then_stale_then_erased_and_there_is_no_gap(system, node):
    contract = system.world.make_contract(
        constitution=system.constitution.digest(), not_after=world.NOON + 10 * world.DAY
    )
    system.contract, system.contract_entry = contract, system.sign_contract(contract)
    kms = await system.started()
    first = examine(system, kms).require().keys.active
    system.now = first.not_after - SECURITY.pending_seconds
    await kms.follow()
    pending = examine(system, kms).require().keys
    assert [epoch.number for epoch in pending.epochs] == [1, 2]
    assert pending.active.number == 1
    assert pending.epochs[1].not_before == first.not_after
    node.subject, node.contract = contract.digest(), contract.digest()
    node.key_id = 2
    assert opened_key(await released(kms, node), node) == pending.epochs[1].key_config.public
    system.now = first.not_after
    await kms.follow()
    assert examine(system, kms).require().keys.active.number == 2
    node.key_id = 1
    await released(kms, node)  # stale, and still within its life
    system.now = first.stale_until
    await kms.follow()
    assert [epoch.number for epoch in examine(system, kms).require().keys.epochs] == [2]
    with pytest.raises(Refused, match=r"release\.epoch-window"):
        await released(kms, node)


async def test_another_instance_that_knows_of_none_begins_a_new_epoch_and_has_nobody_elses_key(system, node):
    first = await system.started()
    await released(first, node)
    second = await system.started()
    keys = examine(system, second).require().keys
    assert keys.active.number == 2
    assert (keys.epochs[0].number, keys.epochs[0].not_after) == (1, keys.active.not_before)
    with pytest.raises(Refused, match=r"release\.epoch: the key of epoch 1 is not at this instance"):
        await released(second, node)
    node.key_id = 2
    assert opened_key(await released(second, node), node) == examine(system, second).require().key_config.public


async def test_a_revoked_epoch_is_replaced_at_once(system, node):
    kms = await system.started()
    active = examine(system, kms).require().keys.active
    revocation = Revocation(contract=system.line, target=active.digest, reason="lost")
    await system.ledger.append(sign_statement("revocation", revocation, (system.parties.owner,)))
    await kms.follow()
    assert examine(system, kms).require().keys.active.number == 2
    with pytest.raises(Refused, match=r"release\.revoked"):
        await released(kms, node)


async def test_a_release_takes_in_what_the_log_says_first(system, node):
    """The revocation is seen although no timer ran since."""
    kms = await system.started()
    active = examine(system, kms).require().keys.active
    revocation = Revocation(contract=system.line, target=active.digest, reason="lost")
    await system.ledger.append(sign_statement("revocation", revocation, (system.parties.operator,)))
    with pytest.raises(Refused, match=r"release\.revoked"):
        await released(kms, node)


async def test_a_contract_that_the_kms_was_not_given_gets_no_key(system):
    kms = await system.started()
    stranger = system.world.make_contract(name="a stranger's", constitution=system.constitution.digest())
    await system.ledger.append(system.sign_contract(stranger))
    await kms.follow()
    assert kms.bundle(stranger.digest()) is None
    assert kinds(system).count("epoch") == 1


async def test_keys_are_erased_in_time_while_the_ledger_is_down(system):
    kms = await system.started()
    assert len(kms._standing.keys) == 1

    async def down():
        raise Unavailable("down")

    system.ledger.checkpoint = system.ledger.renew_checkpoint = down
    system.now += 40 * world.DAY
    with pytest.raises(Unavailable):
        await kms.follow()
    assert len(kms._standing.keys) == 0


async def test_a_successor_of_the_contract_begins_a_new_epoch_and_shuts_the_old_nodes_out(system, node):
    kms = await system.started()
    successor = msgspec.structs.replace(
        system.contract, sequence=1, previous=system.contract.digest(), not_after=world.NOON + 2 * world.DAY
    )
    await system.ledger.append(system.sign_contract(successor))
    await kms.follow()
    verified = examine(system, kms).require()
    assert verified.contract == successor
    assert [epoch.number for epoch in verified.keys.epochs] == [2]
    node.key_id = 2
    with pytest.raises(Refused, match=r"evidence\.subject"):
        await released(kms, node)
    node.subject = successor.digest()
    await released(kms, node)


async def test_a_contract_that_its_owner_revokes_has_no_bundle_and_no_key_any_more(system, node):
    kms = await system.started()
    said = Revocation(contract=system.line, target=system.line, reason="terminated")
    await system.ledger.append(sign_statement("revocation", said, (system.parties.owner,)))
    await kms.follow()
    assert kms.bundle(system.line) is None
    with pytest.raises(Refused, match=r"release\.contract"):
        await released(kms, node)


async def test_a_successor_of_the_constitution_that_still_names_this_kms_goes_on_with_its_keys(system, node):
    kms = await system.started()
    before = examine(system, kms).require().keys.active
    successor = msgspec.structs.replace(
        system.constitution, sequence=1, previous=system.constitution.digest(), quorum=1
    )
    await system.ledger.append(system.sign_constitution(successor))
    await kms.follow()
    verified = examine(system, kms).require()
    assert verified.constitution == successor
    assert verified.keys.active == before
    await released(kms, node)


async def test_a_kms_that_a_successor_no_longer_names_serves_nothing_and_erases_its_keys_in_time(system, node):
    kms = await system.started()
    other = msgspec.structs.replace(system.constitution.kms, workloads=(bytes(48),))
    successor = msgspec.structs.replace(
        system.constitution, sequence=1, previous=system.constitution.digest(), kms=other
    )
    await system.ledger.append(system.sign_constitution(successor))
    challenge = kms.challenge()
    await kms.follow()
    assert kms.bundle(system.line) is None
    assert "evidence.workload" in kms.missing()[0]
    with pytest.raises(Unavailable, match="not serving"):
        await kms.release(node.request(challenge))
    assert len(kms._standing.keys) == 1  # for a successor that asks for it
    system.now += SECURITY.handover_seconds
    with pytest.raises(EvidenceRejected, match=r"evidence\.workload"):
        await kms.follow()
    assert len(kms._standing.keys) == 0


async def test_a_node_that_asks_a_kms_which_was_just_retired_is_told_so_and_not_that_it_was_refused(system, node):
    kms = await system.started()
    other = msgspec.structs.replace(system.constitution.kms, workloads=(bytes(48),))
    successor = msgspec.structs.replace(
        system.constitution, sequence=1, previous=system.constitution.digest(), kms=other
    )
    await system.ledger.append(system.sign_constitution(successor))
    with pytest.raises(Unavailable, match=r"does not name this KMS: evidence\.workload"):
        await released(kms, node)


async def test_a_clock_that_the_host_set_back_does_not_bring_time_back(system, node):
    """The witnesses' time is the bound: a contract that has ended for them has ended."""
    kms = await system.started()
    system.now = system.contract.not_after
    await kms.follow()
    system.now = world.NOON
    with pytest.raises(Refused, match=r"release\.validity"):
        await released(kms, node)


async def test_a_kms_with_other_settings_than_its_constitution_names_does_not_start(system):
    kms = system.kms(security=KmsSecurity(challenge_seconds=61))
    with pytest.raises(EvidenceRejected, match=r"evidence\.settings:"):
        await kms.start()
    assert kinds(system) == ["constitution"]


async def test_a_kms_of_another_byte_does_not_start(system):
    kms = system.kms(tee=WorldTee(system.parties.platform, workload=b"x" * 48))
    with pytest.raises(EvidenceRejected, match=r"evidence\.workload"):
        await kms.start()


async def test_a_log_that_begins_with_another_genesis_is_refused(system):
    stranger = KmsSystem()
    await system.ledger.append(stranger.genesis)
    with pytest.raises(LogRefused, match=r"kms\.genesis"):
        await system.kms().start()


async def test_a_ledger_that_is_down_releases_nothing_and_can_be_asked_again(system, node):
    kms = await system.started()
    system.ledger.down = True
    with pytest.raises(Unavailable):
        await released(kms, node)
    assert kms.bundle(system.line) is not None
    system.ledger.down = False
    await released(kms, node)


async def test_a_log_that_shrank_is_refused(system, node):
    kms = await system.started()
    system.ledger.log.entries.pop()
    with pytest.raises(LogRefused, match=r"kms\.log-continuity"):
        await released(kms, node)


async def test_a_log_with_another_history_is_refused_though_it_is_witnessed(system, node):
    kms = await system.started()
    entries = system.ledger.log.entries
    entries[1:3] = reversed(entries[1:3])
    entries.append(sign_statement("contract", system.contract, system.signers[:1]))
    with pytest.raises(LogRefused, match=r"kms\.log:"):
        await released(kms, node)


async def test_a_checkpoint_without_the_quorum_is_refused(system, node):
    kms = await system.started()

    async def one_witness() -> bytes:
        note: bytes = system.ledger.log.checkpoint(at=system.now + 1, cosigners=1)
        return note

    system.ledger.checkpoint = one_witness
    with pytest.raises(Refused, match=r"checkpoint\.witnesses"):
        await released(kms, node)


@pytest.mark.parametrize("page", [[], [b"x"] * 300])
async def test_a_ledger_that_does_not_give_the_entries_asked_for_is_refused(system, page):
    async def entries(start: int, end: int):
        return page

    system.ledger.entries = entries
    with pytest.raises(LogRefused, match=r"kms\.log"):
        await system.kms().start()


@pytest.mark.parametrize("note", [b"", b"not a note", b"log.test/cloister\n9\nAAAA\n\n\xe2\x80\x94 a b\n"])
async def test_nothing_is_fetched_for_a_checkpoint_that_the_log_did_not_sign(system, node, note: bytes):
    kms = await system.started()

    async def unsigned() -> bytes:
        return note

    system.ledger.checkpoint = unsigned
    with pytest.raises(LogRefused, match=r"checkpoint\.signature"):
        await released(kms, node)


async def test_an_amendment_that_overtakes_the_release_keeps_the_key_in(system, node):
    """Between the decision and its publication the contract is amended: the entry is logged, the key stays."""
    kms = await system.started()
    successor = msgspec.structs.replace(system.contract, sequence=1, previous=system.contract.digest())
    append = system.ledger.append

    async def overtaken(entry: bytes):
        if open_statement(entry).kind == "release":
            await append(system.sign_contract(successor))
        return await append(entry)

    system.ledger.append = overtaken
    with pytest.raises(Refused, match=r"release\.unchanged"):
        await released(kms, node)


async def test_an_end_between_log_and_answer_leaves_nothing_to_mend(system, node):
    """The ledger persists the release, its answer is lost: no key left, and the node asks again."""
    kms = await system.started()
    append = system.ledger.append

    async def lost(entry: bytes):
        await append(entry)
        raise Unavailable("the answer was lost")

    system.ledger.append = lost
    with pytest.raises(Unavailable):
        await released(kms, node)
    system.ledger.append = append
    await released(kms, node)
    assert kinds(system)[-2:] == ["release", "release"]


async def test_an_epoch_whose_answer_was_lost_is_used_and_not_made_twice(system):
    append = system.ledger.append

    async def lost(entry: bytes):
        appended = await append(entry)
        if open_statement(entry).kind == "epoch":
            system.ledger.append = append
            raise Unavailable("the answer was lost")
        return appended

    system.ledger.append = lost
    kms = system.kms()
    with pytest.raises(Unavailable):
        await kms.start([system.contract_entry])
    await kms.start([system.contract_entry])
    assert kinds(system) == ["constitution", "contract", "kms", "epoch"]
    assert examine(system, kms).require().keys.active.number == 1


async def test_concurrent_nodes_each_get_the_key_and_an_entry_of_their_own(system):
    kms = await system.started()
    nodes = [AskingNode(system) for _ in range(5)]
    replies = await asyncio.gather(*(released(kms, node) for node in nodes))
    assert len({opened_key(reply, node) for reply, node in zip(replies, nodes, strict=True)}) == 1
    assert len({reply.index for reply in replies}) == 5
    assert len(examine(system, kms).require().keys.gateways) == 5


async def test_nothing_is_served_before_the_start(system, node):
    kms = system.kms()
    with pytest.raises(Unavailable, match="witnessed log"):
        kms.challenge()
    assert kms.missing()


@pytest.mark.parametrize("data", [b"", b"\xa0", b"\xff" * 100])
async def test_bytes_that_are_no_request_are_malformed(system, data):
    kms = await system.started()
    with pytest.raises(MalformedInput):
        await kms.release(data)


async def test_the_log_replays_to_the_state_that_the_kms_acts_on(system, node):
    kms = await system.started()
    await released(kms, node)
    entries = system.ledger.log.entries
    state = fold(begin(entries[0], genesis=system.constitution.digest()), entries[1:])
    assert state == kms._standing.history.state
    assert state.void == 0
    assert canonical.encode(state.constitution) == canonical.encode(system.constitution)


class SlowVendors:
    """Vendors that take half a minute, and date what they say when they say it."""

    def __init__(self, system):
        self.system = system
        self.said: list[int] = []

    async def gather(self, evidence, roots, *, at, asker):
        self.system.now += 30
        self.said.append(self.system.now)
        return Gathered(evidence.endorsements)


async def test_evidence_is_judged_at_a_checkpoint_that_is_no_older_than_what_vendors_said_for_it(system):
    vendors = SlowVendors(system)
    kms = system.kms(endorsing=vendors)
    await kms.start([system.contract_entry])
    (shown,) = [one for one in map(open_statement, system.ledger.log.entries) if one.kind == "kms"]
    assert parse_kms_instance(shown.payload).at >= vendors.said[-1]
    system.now += SECURITY.head_seconds
    await kms.follow()
    assert len(vendors.said) == 2
    assert examine(system, kms).require().checkpoint.cosigned_at >= vendors.said[-1]
