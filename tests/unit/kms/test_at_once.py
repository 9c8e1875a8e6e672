"""Several nodes at once: none waits for another's turn of the ledger, and each gets what the log says it may have."""

from __future__ import annotations

import asyncio

import pytest
from tests.doubles.kms_system import AskingNode, KmsSystem

from cloister.contract.replay import LogRefused
from cloister.errors import Unavailable
from cloister.formats.key_bundle import parse_key_bundle
from cloister.formats.release import Revocation, parse_release_reply
from cloister.ledger.statements import entry_digest, open_statement, sign_statement
from cloister.services.kms import publications
from cloister.testing.memory_ledger import MemoryLedger
from cloister.trust.bundle import examine_bundle
from cloister.trust.memory import first_contact


class SlowLedger(MemoryLedger):
    """Answers appends when it is let; counts what it is asked."""

    def __init__(self, ledger: MemoryLedger) -> None:
        super().__init__(ledger.log, clock=ledger._clock)
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = self.looks = self.fetches = 0

    async def append(self, entry):
        self.waiting += 1
        await self.open.wait()
        self.waiting -= 1
        return await super().append(entry)

    async def checkpoint(self):
        self.looks += 1
        note = await super().checkpoint()
        await asyncio.sleep(0)
        return note

    async def entries(self, start, end):
        self.fetches += 1
        return await super().entries(start, end)


@pytest.fixture
def system() -> KmsSystem:
    system = KmsSystem()
    system.ledger = SlowLedger(system.ledger)
    return system


async def until(true) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.001)


async def asked(kms, node):
    return parse_release_reply(await kms.release(node.request(kms.challenge())))


async def test_releases_wait_for_the_ledger_together_and_share_what_is_asked_of_it(system):
    kms, nodes = await system.started(), [AskingNode(system) for _ in range(6)]
    system.ledger.open.clear()
    system.ledger.looks = system.ledger.fetches = 0
    asking = [asyncio.create_task(asked(kms, node)) for node in nodes]
    await until(lambda: system.ledger.waiting == 6)
    system.ledger.open.set()
    replies = [await one for one in asking]
    assert len({reply.index for reply in replies}) == 6
    assert system.ledger.looks <= 6
    assert system.ledger.fetches <= 1
    policy = system.policy()
    verified = examine_bundle(system.bundle(kms), policy, first_contact(policy.constitution), at=system.now).require()
    assert {gateway.sign for gateway in verified.keys.gateways} == {node.secrets.public.sign for node in nodes}


async def test_a_release_fetches_nothing_that_it_logged_itself(system):
    kms, node = await system.started(), AskingNode(system)
    system.ledger.fetches = 0
    await asked(kms, node)
    assert system.ledger.fetches == 0


async def test_what_is_revoked_while_releases_wait_is_given_to_none_of_them(system):
    kms, nodes = await system.started(), [AskingNode(system) for _ in range(3)]
    epoch = next(entry for entry in system.ledger.log.entries if open_statement(entry).kind == "epoch")
    system.ledger.open.clear()
    asking = [asyncio.create_task(asked(kms, node)) for node in nodes]
    await until(lambda: system.ledger.waiting == 3)
    revocation = Revocation(contract=system.line, target=entry_digest(epoch), reason="lost")
    system.ledger.log.append(sign_statement("revocation", revocation, (system.parties.owner,)))
    system.ledger.open.set()
    for one in asking:
        with pytest.raises(Exception, match=r"release\.unchanged"):
            await one


async def test_a_ledger_that_was_rolled_back_is_refused_while_an_old_answer_that_was_overtaken_is_not(system):
    kms, nodes = await system.started(), [AskingNode(system) for _ in range(2)]
    looking, original = asyncio.Event(), system.ledger.checkpoint

    async def old_answer():
        note = await original()
        looking.set()
        await asyncio.sleep(0.05)
        return note

    await asked(kms, nodes[0])
    size = len(system.ledger.log.entries)
    system.ledger.open.clear()
    overtaking = asyncio.create_task(asked(kms, nodes[1]))
    await until(lambda: system.ledger.waiting == 1)
    system.ledger.checkpoint = old_answer
    following = asyncio.create_task(kms.follow())
    await looking.wait()
    system.ledger.open.set()
    await overtaking
    await following
    assert kms._standing.history.size == size + 1
    del system.ledger.log.entries[-1:]
    system.ledger.checkpoint = original
    with pytest.raises(LogRefused, match=r"kms\.log-continuity"):
        await kms.follow()


async def test_a_bundle_is_made_when_it_is_asked_for_and_a_long_one_after_a_rest(system, monkeypatch):
    times = iter([float(number) for number in range(1000)])
    kms, node = await system.started(), AskingNode(system)
    monkeypatch.setattr(kms._publications, "_clock", lambda: next(times))
    kms._publications._rested_at = 0.0  # by that clock
    shown = lambda: len(parse_key_bundle(kms.bundle(system.line).data).releases)  # noqa: E731 - read each time
    assert shown() == 0
    for number in range(1, 4):
        await asked(kms, node)
        assert shown() == number
    monkeypatch.setattr(publications, "LONG", 0)
    await asked(kms, node)
    assert shown() == 4  # made now, and as it is long, it rests
    await asked(kms, node)
    assert shown() == 4
    assert next(number for number in range(1, 20) if shown() == 5) > 1


async def test_where_the_tee_does_not_answer_the_bundle_of_before_is_served(system, monkeypatch):
    kms, node = await system.started(), AskingNode(system)
    before = kms.bundle(system.line)

    def silent(*_given):
        raise Unavailable("no answer")

    with monkeypatch.context() as patch:
        await asked(kms, node)
        patch.setattr(type(kms._standing.instance), "evidence", silent)
        assert kms.bundle(system.line) == before
    assert kms.bundle(system.line) != before
