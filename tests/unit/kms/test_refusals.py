"""Refusals in the log: which checks failed, for whom, and how many more there were; a flood fills nothing."""

from __future__ import annotations

import hashlib

import pytest
from tests.doubles.custody_system import CustodySystem, WantingNode
from tests.doubles.kms_system import AskingNode, KmsSystem

from cloister.contract.fold import begin, fold
from cloister.errors import Refused, Unavailable
from cloister.examination import Steps
from cloister.formats import canonical
from cloister.formats.evidence import Evidence, SecuritySettings
from cloister.formats.refusal import MAXIMUM_SHORTFALL, Refusal, parse_refusal, told_shortfall
from cloister.ledger.statements import open_statement
from cloister.services.kms.kms import Kms
from cloister.services.kms.refusals import A_LOOK, BURST, PER_SECOND, WAITING, Refusals
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


async def test_every_check_that_failed_is_in_the_log_once_it_is_looked_at(system, stranger):
    kms = await system.started()
    await refused(kms, stranger)
    assert logged(system) == [], "the node was answered before anything was logged"
    await kms.follow()
    (refusal,) = logged(system)
    assert [one.check for one in refusal.failed] == ["evidence.subject", "evidence.settings"]
    assert refusal.failed[0].shortfall == "is bound to 0000000000000000..."
    assert (refusal.contract, refusal.role, refusal.at) == (system.line, "gateway", system.now)
    assert refusal.wanted == "transport-key"
    assert refusal.node == stranger.secrets.public.thumbprint()
    assert refusal.omitted == 0
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


async def test_what_could_not_be_logged_is_logged_later_and_once(system, stranger):
    kms = await system.started()
    await refused(kms, stranger)
    system.ledger.down = True
    with pytest.raises(Unavailable):
        await kms.follow()
    system.ledger.down = False
    await kms.follow()
    await kms.follow()
    assert len(logged(system)) == 1


async def test_a_flood_fills_a_bucket_and_is_counted(system, stranger):
    kms = await system.started()
    time = [0.0]
    kms._standing.refusals = Refusals(clock=lambda: time[0])
    for _ in range(BURST + 13):
        await refused(kms, stranger)
    before = len(system.ledger.log.entries)
    await kms.follow()
    assert len(logged(system)) == A_LOOK, "releases do not wait behind all of them"
    for _ in range(3):
        await kms.follow()
    assert len(logged(system)) == BURST == len(system.ledger.log.entries) - before
    assert [one.omitted for one in logged(system)] == [0] * BURST
    time[0] += 1 / PER_SECOND
    await refused(kms, stranger)
    await refused(kms, stranger)
    await kms.follow()
    assert [one.omitted for one in logged(system)][BURST:] == [13]
    refusals = folded(system).lines[system.line].refusals
    assert (refusals.logged, refusals.omitted) == (BURST + 1, 13)


def examined(*checks: str):
    steps: Steps = Steps(checks, Refused)
    for check in checks:
        steps.check(check, False, f"shortfall of {check}")
    return steps.stopped()


def evidence() -> Evidence:
    made = world.World()
    subject = made.contract.digest()
    return world.evidence(made.parties.platform, "gateway", made.gateway, challenge=bytes(32), subject=subject)


def test_a_line_does_not_use_up_anothers_bucket_and_a_ledger_that_is_down_fills_no_memory():
    refusals, shown = Refusals(clock=lambda: 0.0), evidence()
    for line in range(WAITING // BURST + 1):
        for _ in range(BURST):
            refusals.note(bytes([line]) * 32, shown, examined("release.role"), "assets", at=1)
    lines = []
    while (first := refusals.first()) is not None:
        lines.append(first.contract[0])
        refusals.logged()
    assert lines == [line for line in range(WAITING // BURST) for _ in range(BURST)]


def test_the_first_checks_are_told_and_an_entry_stays_small():
    refusals = Refusals(clock=lambda: 0.0)
    refusals.note(bytes(32), evidence(), examined(*(f"evidence.check{one}" for one in range(99))), "assets", at=1)
    made = refusals.first()
    assert made is not None
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
