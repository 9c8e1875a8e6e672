"""Several instances of the KMS that die, are cut off, rotate, and give way to another version: no key goes astray.

The rules and the model are those of `test_crashes`; here are more instances, links between them, and the parties.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from tests.doubles.crashes import Ending
from tests.doubles.durable_model import Violation
from tests.doubles.durable_system import HOUR, DurableSystem, Variant
from tests.doubles.kms_system import SECURITY
from tests.properties.test_crashes import Crashes, kept

from cloister.contract.epochs import active_epoch
from cloister.formats.handover import Handover, NamedSecret
from cloister.ledger.statements import sign_statement
from cloister.services.kms.epochs import EpochKeys
from cloister.services.kms.presence import Presence
from cloister.services.kms.standing import Standing

INSTANCES = ["kms", "kms2", "kms3"]
every = st.sampled_from(INSTANCES)
others = st.sampled_from(["kms2", "kms3"])


class Replicas(Crashes):
    """Three instances; what `Crashes` does to one, this does to the others, and to what is between them."""

    instances = len(INSTANCES)

    @rule(name=others)
    def another_follows(self, name):
        self.run(self.system.follow(name))

    @rule()
    def all_follow(self):
        self.run(self.following())

    async def following(self):
        for name in INSTANCES:
            await self.system.follow(name)

    @rule(name=others, before=st.integers(0, 1))
    def a_gateway_asks_another_for_the_key(self, name, before):
        self.run(self.system.ask_for_the_key(name, before=before))

    @rule()
    def clients_ask_all_for_the_bundle(self):
        async def ask():
            for name in INSTANCES:
                await self.system.ask_for_the_bundle(name)

        self.run(ask())

    @rule(one=every, other=every)
    def a_link_is_cut_or_mended(self, one, other):
        if one != other:
            self.system.cut ^= {frozenset({one, other})}

    @rule(name=others, step=st.integers(0, 12))
    def another_will_die(self, name, step):
        self.system.machines[name].arm(Ending(step))

    @rule(name=others)
    def another_starts(self, name):
        if not self.system.machines[name].alive:
            self.run(self.system.start(name))

    @rule(name=others, wrong=st.sampled_from([-HOUR, 0, HOUR]))
    def anothers_clock_jumps(self, name, wrong):
        self.system.clocks.wrong[name] = wrong

    @rule(kept=kept)
    def every_instance_is_lost(self, kept):
        self.system.lose_power(INSTANCES, kept=kept)

    @rule(seconds=st.sampled_from([30, 120, 23 * HOUR + 30]))
    def time_passes_for_all(self, seconds):
        self.system.clocks.now += seconds
        self.run(self.following())

    @rule()
    def the_parties_amend_the_contract(self):
        self.run(self.system.amend())

    @rule()
    def the_amenders_change_the_constitution(self):
        self.run(self.system.change_the_constitution())

    @rule(beside=st.booleans())
    def the_amenders_name_another_version(self, beside):
        self.run(self.system.name_another_version(beside=beside))

    @rule(name=every)
    def the_operator_installs_the_newest_version(self, name):
        self.run(self.system.upgrade(name))

    @rule()
    def a_party_revokes_the_epoch(self):
        self.run(self.system.revoke_the_epoch())


TestReplicas = Replicas.TestCase
TestReplicas.settings = settings(
    max_examples=int(os.environ.get("REPLICA_EXAMPLES", "5")),
    stateful_step_count=25,
    deadline=None,
    phases=(Phase.reuse, Phase.generate),
)


class ByItsOwnClock(Standing):
    """Takes for in use what its own clock says, and not the witnesses."""

    __slots__ = ()

    def active(self, line):
        active = active_epoch(line, at=self.now())
        return active if active is not None and active.placed.digest in self.keys else None


class Hoarded(EpochKeys):
    """Erases nothing."""

    def erase_all_but(self, epochs):
        return 0


class ClocksDecide(Variant):
    def kms(self, *parts):
        kms = super().kms(*parts)
        kms._standing.__class__ = ByItsOwnClock
        return kms


class KeysOutliveTheirWindow(Variant):
    def kms(self, *parts):
        kms = super().kms(*parts)
        kms._standing.keys = Hoarded()
        return kms


class KeysAreSharedWithoutAnEntry(Variant):
    def __init__(self):
        self._keys = EpochKeys()

    def kms(self, *parts):
        kms = super().kms(*parts)
        kms._standing.keys = self._keys
        return kms


def test_the_machine_finds_keys_that_are_shared_without_an_entry():
    class Planted(Replicas):
        variant = KeysAreSharedWithoutAnEntry

    search = settings(
        max_examples=200,
        stateful_step_count=25,
        deadline=None,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
    )
    with pytest.raises(Violation, match=r"that it has from nobody|not in the chain"):
        run_state_machine_as_test(seed(0)(Planted), settings=search)


class Lingering(Presence):
    """Does not look at the time in which it hands over."""

    def end_in_time(self, refusal):
        return


class RetiredKeepItsKeys(Variant):
    def kms(self, *parts):
        kms = super().kms(*parts)
        kms._presence.__class__ = Lingering
        return kms


async def test_keys_pass_from_one_version_to_the_next_and_the_one_before_ends(tmp_path):
    system = DurableSystem(tmp_path, instances=2)
    await system.start_all()
    assert await system.follow("kms2")
    epochs = system.instance("kms").kms._standing.keys.held()
    assert await system.name_another_version(beside=False)
    await system.upgrade("kms2")
    assert await system.follow("kms")
    assert system.instance("kms").kms.retired
    assert await system.follow("kms2")
    assert epochs <= system.instance("kms2").kms._standing.keys.held()
    system.clocks.now += SECURITY.handover_seconds
    assert not await system.follow("kms")
    assert not system.instance("kms").alive
    await system.recover()
    await system.ledger.abandon()


async def test_the_model_names_keys_that_a_retired_version_keeps(tmp_path):
    system = DurableSystem(tmp_path, RetiredKeepItsKeys(), instances=2)
    await system.start_all()
    assert await system.name_another_version(beside=False)
    await system.follow("kms")
    await system.audit()
    system.clocks.now += SECURITY.handover_seconds
    await system.follow("kms")
    with pytest.raises(Violation, match="kept its keys beyond its time"):
        await system.audit()
    await system.ledger.abandon()


async def test_the_model_names_a_key_that_went_to_a_retired_version(tmp_path):
    """Two instances of the version before; one hands its key to the other after both were retired."""
    system = DurableSystem(tmp_path, instances=2)
    await system.start_all()
    assert await system.follow("kms2")
    one, other = (system.instance(name).kms._standing.instance for name in ("kms", "kms2"))
    assert await system.name_another_version(beside=False)
    (name,) = system.instance("kms").kms._standing.keys.held()
    record = Handover(
        constitution=system.constitution.digest(),
        to=other.key,
        secrets=(NamedSecret(kind="epoch", name=name),),
        evidence=bytes(32),
        checks=("handover.instance",),
        at=system.clocks.now,
    )
    entry = sign_statement("handover", record, (one.secrets.sign,))
    assert await system.append(entry)
    await system.audit()
    system.model.saw_handover(entry)
    with pytest.raises(Violation, match="to a version that the constitution in force does not name"):
        await system.audit()
    await system.ledger.abandon()


async def nearly_a_day(system):
    """Two instances with the next epoch's key, a minute before it is in use."""
    await system.start_all()
    for _ in range(2):
        for name in INSTANCES[:2]:
            await system.follow(name)
    system.clocks.now += 24 * HOUR - 60
    for _ in range(2):
        for name in INSTANCES[:2]:
            await system.follow(name)


async def test_the_model_names_an_epoch_that_one_instance_shows_before_the_others(tmp_path):
    system = DurableSystem(tmp_path, ClocksDecide(), instances=2)
    await nearly_a_day(system)
    system.clocks.wrong["kms2"] = HOUR
    await system.follow("kms2")
    with pytest.raises(Violation, match=r"in use at one checkpoint|refused an honest bundle: epoch\.latest"):
        await system.ask_for_the_bundle("kms2")
    await system.ledger.abandon()


async def test_the_model_names_a_key_that_outlives_its_window(tmp_path):
    system = DurableSystem(tmp_path, KeysOutliveTheirWindow(), instances=2)
    await nearly_a_day(system)
    await system.audit()
    system.clocks.now += HOUR
    await system.follow()
    with pytest.raises(Violation, match="outlived its stale window"):
        await system.audit()
    await system.ledger.abandon()
