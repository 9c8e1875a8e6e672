"""Custody in the KMS: a root made once, sealed to the platform, handed to replicas, recovered by custodians."""

import asyncio
import threading

import pytest
from tests.doubles.custody_system import CustodySystem, WantingNode
from tests.doubles.custody_world import SECRET
from tests.doubles.kms_system import Link, WorldTee

from cloister.contract.release import ReleaseRefused
from cloister.crypto.shares import combine
from cloister.errors import Refused, Unavailable
from cloister.formats.release import Revocation
from cloister.ledger.statements import sign_statement
from cloister.secret import SecretBytes
from cloister.trust.asset_reply import AssetsAskedFor, examine_asset_reply
from cloister.trust.intake import IntakeRefused


@pytest.fixture
def system():
    return CustodySystem()


async def test_a_node_gets_what_an_owner_deposited(system):
    kms = await system.started()
    await system.deposit(kms)
    assets = await WantingNode(system).assets_of(kms)
    assert assets.values == {"password": SecretBytes(SECRET)}
    assert system.custody(kms).custody.uses == {("password", "serve"): 1}


async def test_a_root_is_made_once_and_not_again(system):
    kms = await system.started()
    size = len(system.world.log.entries)
    await kms.follow()
    await kms.follow()
    assert len(system.world.log.entries) == size
    assert [one.root.generation for one in system.custody(kms).custody.roots] == [1]


async def test_the_use_beyond_the_grant_is_refused_by_name(system):
    kms = await system.started()
    await system.deposit(kms)
    node = WantingNode(system)
    for _ in range(2):
        await node.assets_of(kms)
    with pytest.raises(ReleaseRefused, match=r"asset\.uses: password was used 2 times, 2 are granted"):
        await node.ask(kms)


async def test_two_replicas_at_one_instant_cannot_both_spend_the_last_use():
    system = CustodySystem(uses=1)
    link = Link()
    first = await system.started()
    link.kms = first
    second = await system.started(peers=(link,))
    await system.deposit(first)
    await second.follow()
    answers = await asyncio.gather(
        *(WantingNode(system).assets_of(kms) for kms in (first, second)), return_exceptions=True
    )
    refused = [one for one in answers if isinstance(one, Refused)]
    assert len(refused) == 1
    assert refused[0].check in ("asset.effect", "asset.uses")
    await first.follow()
    assert system.custody(first).custody.uses == {("password", "serve"): 1}


async def test_many_nodes_at_one_instance_at_once_get_what_is_granted_and_no_more():
    system = CustodySystem(uses=3)
    kms = await system.started()
    await system.deposit(kms)
    answers = await asyncio.gather(*(WantingNode(system).assets_of(kms) for _ in range(5)), return_exceptions=True)
    refused = [one for one in answers if isinstance(one, Refused)]
    assert [one.check for one in refused] == ["asset.uses"] * 2
    assert system.custody(kms).custody.uses == {("password", "serve"): 3}


async def test_a_use_that_another_replica_overtakes_in_the_log_gives_nothing(monkeypatch):
    """The decision is made while one use is left; the other's use comes into the log first."""
    system = CustodySystem(uses=1)
    first = await system.started()
    link = Link(first)
    second = await system.started(peers=(link,))
    await system.deposit(first)
    await second.follow()
    append, raced = system.ledger.append, asyncio.Event()

    async def overtaken(entry):
        if not raced.is_set():
            raced.set()
            await WantingNode(system).assets_of(second)
        return await append(entry)

    monkeypatch.setattr(system.ledger, "append", overtaken)
    with pytest.raises(ReleaseRefused, match=r"asset\.effect"):
        await WantingNode(system).ask(first)


async def test_what_cannot_be_opened_spends_no_use(system):
    kms = await system.started()
    await system.deposit(kms, blob=bytes(2000))
    with pytest.raises(ReleaseRefused, match=r"asset\.sealed: what was deposited as password does not open"):
        await WantingNode(system).ask(kms)
    assert system.custody(kms).custody.uses == {}


async def test_a_blob_that_the_ledger_lost_is_said_to_be_lost(system):
    kms = await system.started()
    await system.deposit(kms)
    system.ledger.blobs.clear()
    with pytest.raises(ReleaseRefused, match=r"asset\.sealed: the ledger lost what password's owner deposited"):
        await WantingNode(system).ask(kms)


async def test_a_sealed_copy_brings_the_secrets_back_after_a_restart(tmp_path):
    system = CustodySystem(folder=tmp_path)
    await system.deposit(await system.started())
    again = await system.started()
    assert (await WantingNode(system).assets_of(again)).values == {"password": SecretBytes(SECRET)}
    assert [one.root.generation for one in system.custody(again).custody.roots] == [1]


async def test_nothing_of_a_secret_is_on_the_disk(tmp_path):
    system = CustodySystem(folder=tmp_path)
    kms = await system.started()
    await system.deposit(kms)
    held = kms._standing.roots.all()
    (sealed,) = tmp_path.iterdir()
    assert oct(sealed.stat().st_mode & 0o777) == "0o600"
    everything = sealed.read_bytes() + b"".join([*system.ledger.blobs.values(), *system.world.log.entries])
    assert SECRET not in everything
    assert all(secret.reveal() not in everything for secret in held.values())


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[:40],
        lambda data: b"",
        lambda data: b"noise" + data,
    ],
    ids=["bit", "cut", "empty", "head"],
)
async def test_a_damaged_copy_is_named_and_not_used(tmp_path, damage, capsys):
    system = CustodySystem(folder=tmp_path)
    await system.deposit(await system.started())
    (sealed,) = tmp_path.iterdir()
    sealed.write_bytes(damage(sealed.read_bytes()))
    again = await system.started()
    said = capsys.readouterr().out
    assert "the sealed copy of root secrets is not used" in said
    assert str(sealed) in said
    with pytest.raises(Unavailable, match="root secret 1 is not held here"):
        await WantingNode(system).ask(again)


async def test_another_platform_workload_or_system_does_not_open_the_copy(tmp_path):
    system = CustodySystem(folder=tmp_path)
    await system.deposit(await system.started())
    (sealed,) = tmp_path.iterdir()
    stranger = CustodySystem(folder=tmp_path)
    kms = await stranger.started()
    assert system.custody(await system.started()).custody.latest is not None
    assert [one.root.generation for one in stranger.custody(kms).custody.roots] == [1]
    assert sealed.exists()


async def test_an_old_copy_put_back_holds_old_generations_only(tmp_path):
    system = CustodySystem(folder=tmp_path)
    kms = await system.started()
    (sealed,) = tmp_path.iterdir()
    old = sealed.read_bytes()
    await system.rotate(kms)
    sealed.write_bytes(old)
    again = await system.started()
    latest = system.custody(again).custody.roots[-1]
    assert latest.root.generation == 2
    assert again._standing.roots.get(latest) is None
    with pytest.raises(IntakeRefused, match=r"intake\.held"):
        system.intake(again)


async def test_a_lost_root_is_not_replaced_unless_a_party_asks(system):
    await system.deposit(await system.started())
    again = await system.started()
    await again.follow()
    assert [one.root.generation for one in system.custody(again).custody.roots] == [1]
    await system.rotate(again)
    assert [one.root.generation for one in system.custody(again).custody.roots] == [1, 2]
    await system.deposit(again, number=2)
    assert (await WantingNode(system).assets_of(again)).values == {"password": SecretBytes(SECRET)}


async def test_a_replica_gets_the_root_by_handover_and_makes_none(system):
    first = await system.started()
    await system.deposit(first)
    second = await system.started(peers=(Link(first),))
    assert [one.root.generation for one in system.custody(second).custody.roots] == [1]
    assert (await WantingNode(system).assets_of(second)).values == {"password": SecretBytes(SECRET)}


async def test_all_replicas_lost_two_of_three_custodians_bring_it_back(system):
    await system.deposit(await system.started())
    fresh = await system.started()
    with pytest.raises(Unavailable, match="cloister key recover"):
        await WantingNode(system).ask(fresh)
    await system.give_share(fresh, "bank")
    with pytest.raises(Unavailable):
        await WantingNode(system).ask(fresh)
    await system.give_share(fresh, "auditor")
    assert (await WantingNode(system).assets_of(fresh)).values == {"password": SecretBytes(SECRET)}
    assert system.intake(fresh).generation == 1


async def test_a_custodian_that_gave_a_wrong_share_may_give_the_right_one(system):
    await system.deposit(await system.started())
    fresh = await system.started()
    await system.give_share(fresh, "bank", share=SecretBytes(b"a share that is none"))
    await system.give_share(fresh, "auditor")
    with pytest.raises(Unavailable):
        await WantingNode(system).ask(fresh)
    await system.give_share(fresh, "bank")
    assert (await WantingNode(system).assets_of(fresh)).values == {"password": SecretBytes(SECRET)}


async def test_a_custodian_that_lies_is_named_and_hinders_nobody(system, capsys):
    await system.deposit(await system.started())
    fresh = await system.started()
    await system.give_share(fresh, "bank", share=SecretBytes(b"a share that is none"))
    said = [line for line in capsys.readouterr().out.splitlines() if "not its share" in line]
    assert len(said) == 1
    assert "bank" in said[0]
    assert "recovery.commitment" in said[0]
    await system.give_share(fresh, "notary")
    await system.give_share(fresh, "auditor")
    assert "not its share" not in capsys.readouterr().out
    assert (await WantingNode(system).assets_of(fresh)).values == {"password": SecretBytes(SECRET)}


async def test_while_shares_are_combined_the_kms_answers(system, monkeypatch):
    """Recovery holds nothing up: here it does not end before another request was judged."""
    await system.deposit(await system.started())
    fresh = await system.started()
    begun, answered = threading.Event(), threading.Event()

    def combined_late(shares):
        begun.set()
        assert answered.wait(timeout=60)
        return combine(shares)

    monkeypatch.setattr("cloister.contract.recovery.combine", combined_late)
    await system.give_share(fresh, "bank")
    giving = asyncio.create_task(system.give_share(fresh, "auditor"))
    assert await asyncio.to_thread(begun.wait, 60)
    with pytest.raises(Unavailable, match="root secret 1 is not held here"):
        await WantingNode(system).ask(fresh)
    assert not giving.done()
    answered.set()
    await giving
    assert (await WantingNode(system).assets_of(fresh)).values == {"password": SecretBytes(SECRET)}


async def test_a_disk_that_took_nothing_is_tried_again(tmp_path, capsys):
    (tmp_path / "folder").write_bytes(b"in the way")
    system = CustodySystem(folder=tmp_path / "folder")
    kms = await system.started()
    await system.deposit(kms)
    assert capsys.readouterr().out.count("root secrets were not sealed") == 1
    (tmp_path / "folder").unlink()
    await kms.follow()
    again = await system.started()
    assert (await WantingNode(system).assets_of(again)).values == {"password": SecretBytes(SECRET)}


async def test_a_contract_that_was_revoked_gives_nothing_and_its_secrets_are_erased(system):
    kms = await system.started()
    await system.deposit(kms)
    record = Revocation(contract=system.line, target=system.line, reason="it is over")
    await system.ledger.append(sign_statement("revocation", record, (system.parties.owner,)))
    await kms.follow()
    with pytest.raises(ReleaseRefused, match=r"release\.contract: the contract was revoked"):
        await WantingNode(system).ask(kms)
    assert not kms._standing.roots.held()


async def test_custodians_of_the_latest_root_bring_those_before_back_too(system):
    first = await system.started()
    await system.deposit(first)
    await system.rotate(first)
    fresh = await system.started()
    await system.give_share(fresh, "notary")
    await system.give_share(fresh, "auditor")
    assert (await WantingNode(system).assets_of(fresh)).values == {"password": SecretBytes(SECRET)}


async def test_two_replicas_that_rotate_at_once_make_one_root(system):
    first = await system.started()
    link, back = Link(first), Link()
    second = await system.started(peers=(link,))
    back.kms = second
    await system.rotate(first)
    await second.follow()
    roots = system.custody(second).custody.roots
    assert [one.root.generation for one in roots] == [1, 2]
    assert second._standing.roots.get(roots[-1]) == first._standing.roots.get(roots[-1])


async def test_a_contract_with_nothing_to_keep_has_no_root():
    plain = CustodySystem()
    system = CustodySystem(assets=plain.contract.assets[:1], grants=plain.contract.grants[:1])
    kms = await system.started()
    assert kms.intake(system.line) is None
    assert system.custody(kms).custody.roots == ()


async def test_another_node_cannot_open_what_one_was_given(system):
    kms = await system.started()
    await system.deposit(kms)
    reply, thief = await WantingNode(system).ask(kms), WantingNode(system)
    asked = AssetsAskedFor(system.line, thief.assets, thief.secrets.public, thief.secrets.wrap)
    assert "reply.node" in examine_asset_reply(reply, asked, system.examined(kms)).failed


async def test_a_kms_on_a_platform_without_a_key_seals_nothing_and_says_so(tmp_path, capsys):
    system = CustodySystem(folder=tmp_path)

    class Keyless(WorldTee):
        def sealing_key(self, context):
            return None

    system.tee = Keyless(system.parties.platform)
    await system.started()
    assert not list(tmp_path.iterdir())
    assert "software has no key to seal with" in capsys.readouterr().out
