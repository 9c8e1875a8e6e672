"""Ledger, witnesses and KMS die at any durable step, again and again; what must never be never is."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from tests.doubles.crashes import MEMORY, NEVER, Ending
from tests.doubles.durable_model import Violation
from tests.doubles.durable_system import HOUR, ORIGIN, DurableSystem, Variant
from tests.doubles.kms_system import SECURITY

from cloister.contract.release import Asked
from cloister.crypto.hpke import wrap
from cloister.crypto.merkle import BadProof
from cloister.formats import canonical
from cloister.formats.release import WRAP_INFO, ReleaseReply
from cloister.ledger.statements import entry_digest
from cloister.ledger.witness_rules import NOTHING
from cloister.node.keys import NodeSecrets
from cloister.services.kms.instance import Instance
from cloister.services.kms.kms import Kms
from cloister.services.kms.release import held_key, judge, release_entry
from cloister.services.kms.requests import read_release
from cloister.services.ledger.sequencer import Sequencer
from cloister.storage.database import Database
from cloister.storage.witness_store import WitnessStore

NAMES = ["kms", "ledger", "witness0", "witness1", "witness2"]
names = st.sampled_from(NAMES)
kept = st.sampled_from([0.0, 0.3, 0.7, 0.99, 1.0])


class Crashes(RuleBasedStateMachine):
    """The rules are what outsiders, time and fate do; the invariants are the model's, held at everything it sees."""

    variant = Variant
    instances = 1  # of the KMS

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        self.runner = asyncio.Runner()
        self.system = DurableSystem(self.folder, self.variant(), instances=self.instances)

    @initialize()
    def start(self):
        self.run(self.system.start_all())

    def run(self, work):
        async def running():
            await work
            await self.system.settle()
            await self.system.audit()

        self.runner.run(running())

    @rule()
    def append(self):
        self.run(self.system.append())

    @rule(number=st.integers(0, 50))
    def append_again(self, number):
        known = list(self.system.model.indices)
        if known:
            self.run(self.system.append(known[number % len(known)]))

    @rule(number=st.integers(0, 50))
    def append_a_batch(self, number):
        known = list(self.system.model.indices)
        self.run(self.system.append_batch(known[number % len(known) :][:3] if known else ()))

    @rule(after=st.integers(0, 12))
    def a_client_leaves_before_its_batch_is_answered(self, after):
        self.run(self.system.leave_a_batch(after))

    @rule()
    def append_many_at_once(self):
        async def many():
            await asyncio.gather(*(self.system.append() for _ in range(3)), self.system.append_batch())

        self.run(many())

    @rule()
    def renew(self):
        self.run(self.system.renew())

    @rule()
    def the_kms_follows(self):
        self.run(self.system.follow())

    @rule(before=st.integers(0, 1))
    def a_gateway_asks_for_the_key(self, before):
        self.run(self.system.ask_for_the_key(before=before))

    @rule()
    def a_client_asks_for_the_bundle(self):
        self.run(self.system.ask_for_the_bundle())

    @rule(name=names, step=st.integers(0, 12), power=st.booleans(), kept=kept)
    def a_machine_will_die(self, name, step, power, kept):
        self.system.machines[name].arm(Ending(step, power, kept))

    @rule(name=names, power=st.booleans())
    def a_machine_dies_now(self, name, power):
        machine = self.system.machines[name]
        if machine.alive:
            machine.arm(Ending(0, power))
            machine.crash()
            self.run(self.system.settle())

    @rule(kept=kept)
    def the_power_goes_for_all_of_them_and_comes_back(self, kept):
        self.system.lose_power(NAMES, kept=kept)
        self.run(self.system.start_all())

    @rule(name=names)
    def a_machine_starts(self, name):
        if not self.system.machines[name].alive:
            self.run(self.system.start(name))

    @rule()
    def all_that_are_dead_start(self):
        self.run(self.system.start_all())

    @rule()
    def the_ledger_is_stopped_in_good_order_and_starts(self):
        self.run(self.system.restart_the_ledger())

    @rule(seconds=st.sampled_from([1, 40, HOUR, 23 * HOUR, 24 * HOUR]))
    def time_passes(self, seconds):
        self.system.clocks.now += seconds

    @rule(name=names, wrong=st.sampled_from([-HOUR, 0, HOUR]))
    def a_clock_jumps(self, name, wrong):
        self.system.clocks.wrong[name] = wrong

    @rule()
    def the_operator_takes_a_backup(self):
        self.system.keep_backup()

    @rule(after_an_outage=st.booleans())
    def the_operator_restores_the_backup(self, after_an_outage):
        self.run(self.system.restore_backup(after_an_outage=after_an_outage))

    def teardown(self):
        try:
            self.run(self.system.recover())
        finally:
            self.runner.close()
            shutil.rmtree(self.folder)


TestCrashes = Crashes.TestCase
TestCrashes.settings = settings(
    max_examples=int(os.environ.get("CRASH_EXAMPLES", "15")),
    stateful_step_count=30,
    deadline=None,
    phases=(Phase.reuse, Phase.generate),  # a failure is thirty steps to read; making them fewer takes minutes
)


async def a_day_and_more(system):
    """Everything that the parts do for each other, once or twice; who died is started before each."""

    async def the_next_day():
        system.clocks.now += 24 * HOUR

    await system.start_all()
    while not await system.follow():  # the genesis comes first into the log, or nothing ever counts there
        await system.start_all()
    for work in (
        system.append,
        system.ask_for_the_key,
        system.ask_for_the_bundle,
        the_next_day,
        system.follow,  # the next epoch
        system.restart_the_ledger,
        system.ask_for_the_key,
        system.renew,
        system.append_batch,
        system.append,
    ):
        await system.start_all()
        await work()
        await system.settle()
        await system.audit()


def steps_of_a_day(name=None, ending=None):
    """How many durable steps each machine took in a day in which `name` came to this `ending`, and all went on."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, asyncio.Runner() as runner:

        async def living():
            system = DurableSystem(Path(folder))
            if name is not None:
                system.machines[name].arm(ending)
            await a_day_and_more(system)
            assert [machine.name for machine in system.machines.values() if machine.crashes] == ([name] if name else [])
            steps = {machine.name: len(machine.taken) for machine in system.machines.values()}
            await system.recover()
            await system.ledger.abandon()
            return steps

        return runner.run(living())


SWEEP = int(os.environ.get("CRASH_EVERY", "29"))  # every so many steps of a day; 1 takes them all


@pytest.mark.parametrize("power", [False, True], ids=["killed", "without power"])
@pytest.mark.parametrize("name", ["kms", "ledger", "witness1"])
def test_a_death_at_each_step_of_a_day_is_survived(name, power):
    steps = steps_of_a_day()[name]
    assert steps > 20
    for step in range(SWEEP // 2 if power else 0, steps, SWEEP):
        steps_of_a_day(name, Ending(step, power, kept=step % 3 / 2))


class Lazy(Database):
    """Acknowledges before it commits: each transaction is committed when the next begins."""

    def _transact(self, action):
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")
        self._connection.execute("BEGIN IMMEDIATE")
        value = action(self._connection)
        self._taken += 1
        return value, self._taken


class CommitsLate(Variant):
    database = Lazy


class NeverSynchronises(Variant):
    """A commit that has returned is not on disk yet."""

    synchronous = NEVER


class RemembersNothing(WitnessStore):
    """A witness's heads in memory."""

    def __init__(self):
        self._heads = {}

    async def advance(self, origin, decide):
        self._heads[origin] = decide(self._heads.get(origin, NOTHING))
        return self._heads[origin]


class WitnessesForget(Variant):
    def witnessing(self, name, keys, log, store, clock):
        return super().witnessing(name, keys, log, RemembersNothing(), clock)


class ShowsWhatItStored(Sequencer):
    """Shows at its start the checkpoint that it has on disk, although it may have shown a newer one."""

    def _take(self, newest):
        super()._take(newest)
        self._hidden = False


class LedgerForgetsWhatItShowed(Variant):
    def sequencer(self, key, store, quorum):
        return ShowsWhatItStored(ORIGIN, key, store, quorum)


class ReleasesFirst(Kms):
    """Lets the key go on its decision alone."""

    async def release(self, data):
        self._require_serving()
        request, evidence = read_release(data)
        asked = Asked(request.contract, request.key_id, *await self._desk.shown(request.contract, evidence))
        async with self._where_the_log_is():
            await self._due.begin()
        standing = self._standing
        decision = judge(standing, asked).require()
        entry = release_entry(decision, asked.evidence, standing.instance.secrets.sign, at=standing.now())
        secret, here = held_key(standing, decision).secret.reveal(), standing.history.checkpoint
        wrapped = wrap(asked.evidence.keys.wrap, secret, info=WRAP_INFO, aad=entry_digest(entry))
        epoch = decision.epoch.placed.entry
        return canonical.encode(
            ReleaseReply(
                entry=entry, index=here.size, path=(), checkpoint=here.note, epoch_entry=epoch, wrapped=wrapped
            )
        )


class KmsReleasesFirst(Variant):
    def kms(self, ledger, instance, genesis, clock, peers):
        return ReleasesFirst(ledger, instance, genesis=genesis, clock=clock, peers=peers)


class KmsKeepsItsKeys(Variant):
    """A KMS whose keys outlive it."""

    def __init__(self):
        self._secrets = NodeSecrets.generate()

    def instance(self, tee):
        return Instance(tee, self._secrets, SECURITY)


BUGS = {
    CommitsLate: "is missing|were shown|went back|two roots|nothing can be logged",
    NeverSynchronises: "is missing|were shown|went back|two roots|nothing can be logged",
    WitnessesForget: "two roots|went back",
    LedgerForgetsWhatItShowed: "entries were shown",
    KmsReleasesFirst: "no entry .* in a log",
    KmsKeepsItsKeys: "has the keys of its life before",
}


# Any finds it in the end; these soon.
SEEDS: dict[type[Variant], int] = {CommitsLate: 4, WitnessesForget: 8, LedgerForgetsWhatItShowed: 2}


@pytest.mark.parametrize(("bug", "found"), BUGS.items(), ids=[bug.__name__ for bug in BUGS])
def test_the_machine_finds_a_planted_bug(bug, found):
    class Planted(Crashes):
        variant = bug

    search = settings(
        max_examples=200,
        stateful_step_count=30,
        deadline=None,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
    )
    with pytest.raises((Violation, BadProof), match=found):
        run_state_machine_as_test(seed(SEEDS.get(bug, 0))(Planted), settings=search)
