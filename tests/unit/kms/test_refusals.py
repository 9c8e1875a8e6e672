"""Refusals in the log, before anybody is told: which checks failed, for whom, how many more; a flood fills nothing."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from tests.doubles.custody_system import CustodySystem, WantingNode
from tests.doubles.kms_system import SECURITY, AskingNode, KmsSystem, Link

from cloister.contract.fold import begin, fold
from cloister.errors import Refused, Unavailable
from cloister.examination import Steps
from cloister.formats import canonical
from cloister.formats.evidence import Evidence, SecuritySettings
from cloister.formats.handover import HandoverRequest, NamedSecret
from cloister.formats.refusal import MAXIMUM_SHORTFALL, Refusal, parse_refusal, told_shortfall
from cloister.hosting.allowance import TooMuch
from cloister.ledger.statements import open_statement
from cloister.node.keys import NodeSecrets
from cloister.secret import SecretBytes
from cloister.services.kms.instance import Instance
from cloister.services.kms.kms import Kms
from cloister.services.kms.refusals import BURST, PER_SECOND, WAITING, Refusals, failed_of, refused_evidence
from cloister.testing import world


@pytest.fixture
def system() -> KmsSystem:
    return KmsSystem()


@pytest.fixture
def node(system) -> AskingNode:
    return AskingNode(system)


def logged(system: KmsSystem) -> list[Refusal]:
    statements = [open_statement(entry) for entry in system.ledger.log.entries]
    return [parse_refusal(one.payload) for one in statements if one.kind == "refusal"]


def folded(system: KmsSystem):
    entries = system.ledger.log.entries
    return fold(begin(entries[0], genesis=system.constitution.digest()), entries[1:])


async def refused(kms: Kms, node: AskingNode) -> bytes:
    """The request of a node whose settings the contract does not name, and which got no key."""
    request = node.request(kms.challenge())
    with pytest.raises(Refused):
        await kms.release(request)
    return request


@pytest.fixture
def stranger(node: AskingNode) -> AskingNode:
    """A gateway of another contract, with other settings than this one names."""
    values = node.settings.values | {"model": bytes(32).hex()}
    node.settings = SecuritySettings(role="gateway", unsafe=node.settings.unsafe, values=values)
    node.subject = bytes(32)
    return node


async def test_every_check_that_failed_is_in_the_log_before_the_node_is_answered(system, stranger):
    kms = await system.started()
    await refused(kms, stranger)
    (refusal,) = logged(system)
    assert [one.check for one in refusal.failed] == ["evidence.subject", "evidence.settings"]
    assert refusal.failed[0].shortfall == "is bound to 0000000000000000..."
    assert (refusal.subject, refusal.role, refusal.at) == (system.line, "gateway", system.now)
    assert refusal.wanted == "transport-key"
    assert refusal.node == stranger.secrets.public.thumbprint()
    assert (refusal.number, refusal.omitted) == (1, 0)
    await kms.follow()
    assert len(logged(system)) == 1


async def test_the_entry_names_the_evidence_that_was_judged(system, stranger):
    kms = await system.started()
    challenge = kms.challenge()
    shown = stranger.evidence(challenge)
    with pytest.raises(Refused):
        await kms.release(stranger.request(challenge))
    await kms.follow()
    assert logged(system)[0].evidence == hashlib.sha256(canonical.encode(shown)).digest()
    assert logged(system)[0].evidence not in system.ledger.blobs, "what a stranger sent is kept nowhere"


async def test_everyone_who_replays_the_log_counts_it(system, stranger):
    kms = await system.started()
    await refused(kms, stranger)
    await kms.follow()
    state = folded(system)
    refusals = state.lines[system.line].refusals
    assert (state.void, refusals.logged, refusals.omitted) == (0, 1, 0)
    assert refusals.latest[0].refusal == logged(system)[0]
    assert refusals.latest[0].instance in state.instances


async def test_a_request_without_a_live_challenge_is_not_logged(system, stranger):
    kms = await system.started()
    request = await refused(kms, stranger)
    await kms.follow()
    for _ in range(3):
        with pytest.raises(Refused):
            await kms.release(request)
    await kms.follow()
    assert len(logged(system)) == 1


async def test_a_contract_that_is_not_served_is_not_logged(system, stranger):
    kms = await system.started()
    stranger.contract = bytes(32)
    await refused(kms, stranger)
    await kms.follow()
    assert logged(system) == []


async def test_a_node_that_gets_its_key_is_no_refusal(system, node):
    kms = await system.started()
    await kms.release(node.request(kms.challenge()))
    await kms.follow()
    assert logged(system) == []


async def test_a_use_beyond_what_is_granted_is_logged_as_refused():
    custody = CustodySystem(uses=1)
    kms = await custody.started()
    await custody.deposit(kms)
    wanting = WantingNode(custody)
    await wanting.assets_of(kms)
    with pytest.raises(Refused, match=r"asset\.uses"):
        await wanting.ask(kms)
    await kms.follow()
    (refusal,) = logged(custody)
    assert (refusal.wanted, [one.check for one in refusal.failed]) == ("assets", ["asset.uses"])
    assert refusal.failed[0].shortfall == "password was used 1 times, 1 are granted"


async def test_a_kms_that_is_killed_before_the_log_took_the_refusal_has_told_nobody(system, stranger, monkeypatch):
    """The host stops the world at the worst moment: the entry is on its way, and no answer is."""
    kms = await system.started()
    arrived = asyncio.Event()

    async def held_up(_entry):
        arrived.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(system.ledger, "append", held_up)
    asking = asyncio.create_task(kms.release(stranger.request(kms.challenge())))
    await arrived.wait()
    assert not asking.done()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_what_the_log_does_not_take_is_told_to_nobody_and_logged_later_once(system, stranger, monkeypatch):
    kms = await system.started()

    async def down(_entry):
        raise Unavailable("the ledger's disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(system.ledger, "append", down)
        with pytest.raises(Unavailable, match="disk is full"):
            await kms.release(stranger.request(kms.challenge()))
    assert logged(system) == []
    await kms.follow()
    await kms.follow()
    assert len(logged(system)) == 1


async def test_a_refusal_whose_answer_from_the_ledger_was_lost_stands_in_the_log_once(system, stranger, monkeypatch):
    kms = await system.started()
    append = system.ledger.append

    async def unanswered(entry):
        await append(entry)
        raise Unavailable("no reply from the ledger")

    with monkeypatch.context() as patched:
        patched.setattr(system.ledger, "append", unanswered)
        with pytest.raises(Unavailable):
            await kms.release(stranger.request(kms.challenge()))
    await kms.follow()
    assert len(logged(system)) == 1
    assert folded(system).lines[system.line].refusals.logged == 1


async def test_what_is_over_the_rate_is_not_told_but_counted_and_its_newest_logged(system, stranger):
    kms = await system.started()
    time = [0.0]
    kms._standing.refusals = Refusals(clock=lambda: time[0])
    before = len(system.ledger.log.entries)
    for _ in range(BURST):
        await refused(kms, stranger)
    stranger.secrets = NodeSecrets.generate()  # another, of which the log says nothing
    for _ in range(13):
        with pytest.raises(TooMuch, match="does not say why") as said:
            await kms.release(stranger.request(kms.challenge()))
        assert "evidence." not in str(said.value)
        assert said.value.retry_seconds == 1 / PER_SECOND
    await kms.follow()
    assert len(logged(system)) == BURST == len(system.ledger.log.entries) - before
    assert [one.omitted for one in logged(system)] == [0] * BURST
    time[0] += 1 / PER_SECOND
    await kms.follow()
    assert [one.omitted for one in logged(system)][BURST:] == [12], "nobody had to be refused again for that"
    refusals = folded(system).lines[system.line].refusals
    assert (refusals.logged, refusals.omitted) == (BURST + 1, 12)
    assert [one.number for one in logged(system)] == list(range(1, BURST + 2))


async def test_a_node_of_which_the_log_says_the_same_goes_on_hearing_what_is_wrong(system, stranger):
    kms = await system.started()
    kms._standing.refusals = Refusals(clock=lambda: 0.0)
    for _ in range(BURST + 3):
        await refused(kms, stranger)
    assert len(logged(system)) == BURST
    stranger.subject = system.line  # and now something else is wrong with it
    with pytest.raises(TooMuch, match="does not say why"):
        await kms.release(stranger.request(kms.challenge()))


async def test_a_node_that_may_have_its_key_gets_it_while_refusals_are_over_the_rate(system, node):
    kms = await system.started()
    kms._standing.refusals = Refusals(clock=lambda: 0.0)
    for _ in range(BURST):
        kms._standing.refusals.note(refusal())
    await kms.release(node.request(kms.challenge()))


async def test_a_refused_handover_is_logged_before_it_is_answered(system):
    """A genuine instance that no entry of the log shows: nobody would see what it has."""
    kms = await system.started()
    link = Link(kms)
    stranger = Instance(system.tee, NodeSecrets.generate(), SECURITY, None)
    challenge = kms.challenge()
    shown = stranger.answering(challenge, system.constitution)
    wants = tuple(NamedSecret(kind="epoch", name=name) for name in kms._standing.keys.held())
    asked = HandoverRequest(constitution=system.constitution.digest(), wants=wants, evidence=canonical.encode(shown))
    with pytest.raises(Refused, match=r"handover\.instance"):
        await link.handover(asked)
    (refusal,) = logged(system)
    assert (refusal.wanted, refusal.subject, refusal.role) == ("handover", system.constitution.digest(), "kms")
    assert [one.check for one in refusal.failed] == ["handover.instance"]
    assert refusal.node == stranger.secrets.public.thumbprint()
    told = folded(system).refusals
    assert (told.logged, folded(system).void) == (1, 0)


async def test_an_instance_that_asks_for_what_is_not_here_is_not_said_to_be_refused(system):
    kms = await system.started()
    link = Link(kms)
    await system.started(peers=(link,))
    size = len(logged(system))
    kms._standing.keys.erase_all()
    await system.started(peers=(link,))
    assert len(logged(system)) == size == 0


async def test_a_custodian_that_gave_what_is_not_its_share_is_named_in_the_log():
    custody = CustodySystem()
    await custody.deposit(await custody.started())
    fresh = await custody.started()
    await custody.give_share(fresh, "bank", share=SecretBytes(b"a share that is none"))
    await fresh.follow()
    (refusal,) = logged(custody)
    assert (refusal.wanted, refusal.role, refusal.subject) == ("recovery", "custodian", custody.line)
    assert [one.check for one in refusal.failed] == ["recovery.commitment"]
    assert refusal.failed[0].shortfall == "what bank gave is not its share of root 1"
    assert refusal.node == fresh._standing.instance.key
    assert folded(custody).lines[custody.line].refusals.logged == 1


async def test_an_asset_that_does_not_open_is_logged_as_refused():
    custody = CustodySystem()
    kms = await custody.started()
    await custody.deposit(kms, blob=bytes(2000))
    with pytest.raises(Refused, match=r"asset\.sealed"):
        await WantingNode(custody).ask(kms)
    (refusal,) = logged(custody)
    assert [one.check for one in refusal.failed] == ["asset.sealed"]


def examined(*checks: str):
    steps: Steps = Steps(checks, Refused)
    for check in checks:
        steps.check(check, False, f"shortfall of {check}")
    return steps.stopped()


def evidence() -> Evidence:
    made = world.World()
    subject = made.contract.digest()
    return world.evidence(made.parties.platform, "gateway", made.gateway, challenge=bytes(32), subject=subject)


SHOWN = evidence()


def refusal(line: bytes = bytes(32), *checks: str) -> Refusal:
    return refused_evidence(line, SHOWN, "assets", failed_of(examined(*(checks or ("release.role",)))), at=1)


def test_a_line_does_not_use_up_anothers_bucket_and_a_ledger_that_is_down_fills_no_memory():
    refusals = Refusals(clock=lambda: 0.0)
    for line in range(WAITING // BURST):
        for _ in range(BURST):
            refusals.note(refusal(bytes([line]) * 32))
    with pytest.raises(TooMuch):
        refusals.note(refusal(b"l" * 32))
    lines = []
    while (first := refusals.first()) is not None:
        lines.append(first.subject[0])
        refusals.logged()
    assert lines == [line for line in range(WAITING // BURST) for _ in range(BURST)]
    refusals.settle()
    first = refusals.first()
    assert first is not None
    assert (first.subject, first.omitted) == (b"l" * 32, 0)


def test_the_first_checks_are_told_and_an_entry_stays_small():
    made = refusal(bytes(32), *(f"evidence.check{one}" for one in range(99)))
    assert [one.check for one in made.failed] == [f"evidence.check{one}" for one in range(16)]
    assert len(canonical.encode(made)) < 8192


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ("settings 0123… are not named", "settings 0123... are not named"),
        ("line\nbreak\x1b[31m é", "line?break?[31m ?"),
        ("x" * 500, "x" * MAXIMUM_SHORTFALL),
    ],
)
def test_a_shortfall_is_printable_and_short(detail, told):
    assert told_shortfall(detail) == told
