"""Governance against a model, with one lying witness: nothing is in force without its approvals, or before its notice.

The model counts by the true time, which no entry knows. One of three witnesses states any time it likes; two have to
have cosigned. Entries of before are logged again, in any order, and noise comes between.
"""

from typing import Any

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cloister.contract import governance, governed
from cloister.contract.fold import advance, begin
from cloister.contract.walk import walk_constitutions, walk_contracts
from cloister.crypto.signing import SigningKey
from cloister.errors import Refused
from cloister.formats.checkpoint import parse_note
from cloister.formats.contract import Duty, Party
from cloister.formats.governance import Vote, WitnessedTime, parse_witnessed_time
from cloister.ledger.cosignatures import cosignature_time
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.testing.memory_log import MemoryLog
from cloister.testing.world import NOON, World

replace = msgspec.structs.replace
DUTIES: dict[str, tuple[Duty, ...]] = {
    "model owner": ("model-owner",),
    "operator": ("operator",),
    "auditor": ("auditor",),
}
NAMES = tuple(DUTIES)
KEYS = {name: SigningKey.generate() for name in NAMES}
STRANGER = SigningKey.generate()
NUMBER, NOTICE, WINDOW = 2, 100, 500
LIES = st.integers(NOON - 10_000, NOON + 1_000_000)
FIRST = World()


class Proposed:
    """What the model knows of a proposal."""

    def __init__(self, successor, signers):
        self.successor = successor
        self.approvals = set(signers) & set(NAMES)
        self.vetoed = False
        self.passed: int | None = None  # the true time

    def may_be_in_force(self, now):
        if self.passed is None or self.vetoed:
            return False
        return len(self.approvals) >= NUMBER and now >= self.passed + NOTICE


class Governance(RuleBasedStateMachine):
    """A log that grows, its fold, and the model beside it."""

    @initialize()
    def begin(self):
        self.log = MemoryLog(witnesses=3)
        constitution = replace(FIRST.constitution, log=self.log.log, witnesses=self.log.witnesses, quorum=2)
        parties = tuple(Party(name=name, duties=DUTIES[name], keys=(KEYS[name].public,), seal=b"") for name in NAMES)
        rules = replace(
            FIRST.contract.changes,
            approvers=NAMES,
            number=NUMBER,
            veto=("model owner",),
            window_seconds=WINDOW,
            notice_seconds=NOTICE,
        )
        self.first = replace(
            FIRST.contract, parties=parties, changes=rules, constitution=constitution.digest(), not_after=NOON + 10**9
        )
        self.now = NOON
        self.proposals: dict[bytes, Proposed] = {}
        signers = (FIRST.parties.owner, FIRST.parties.operator)
        genesis = sign_statement("constitution", constitution, signers)
        self.log.append(genesis)
        self.state = begin(genesis, genesis=constitution.digest())
        self.current = self.first
        self.append(sign_statement("contract", self.first, list(KEYS.values())))
        assert self.line.current == self.first

    @property
    def line(self):
        return self.state.lines[self.first.digest()]

    def append(self, entry):
        """One more entry; what came into force with it was due."""
        self.log.append(entry)
        self.state = advance(self.state, entry)
        if self.line.current != self.current:
            self.came_into_force(self.line.current)

    def came_into_force(self, contract):
        known = [one for one in self.proposals.values() if one.successor == contract]
        assert contract.previous == self.current.digest()
        assert any(
            len(one.approvals) >= NUMBER
            and not one.vetoed
            and one.passed is not None
            and self.now >= one.passed + NOTICE
            for one in known
        ), "in force without its approvals, vetoed, or before its notice was over"
        self.current = contract

    @rule(
        names=st.lists(st.sampled_from([*NAMES, "stranger"]), min_size=1, max_size=3, unique=True),
        later=st.integers(1, 50),
    )
    def propose(self, names, later):
        successor = replace(
            self.current,
            sequence=self.current.sequence + 1,
            previous=self.current.digest(),
            not_after=self.current.not_after - later,
        )
        keys = [KEYS.get(name, STRANGER) for name in names]
        entry = sign_statement("contract", successor, keys)
        known = self.proposals.setdefault(entry_digest(entry), Proposed(successor, names))
        if len(known.approvals) >= NUMBER and known.passed is None and "stranger" not in names:
            known.passed = self.now
        self.append(entry)

    @precondition(lambda self: self.proposals)
    @rule(data=st.data(), name=st.sampled_from([*NAMES, "stranger"]), choice=st.sampled_from(["approve", "veto"]))
    def vote(self, data, name, choice):
        digest = data.draw(st.sampled_from(list(self.proposals)))
        known = self.proposals[digest]
        counted = name in NAMES and (choice == "approve" or name == "model owner")
        if counted and choice == "veto":
            known.vetoed = known.vetoed or known.successor != self.current
        elif counted:
            known.approvals.add(name)
            if len(known.approvals) >= NUMBER and known.passed is None:
                known.passed = self.now
        self.append(sign_statement("vote", Vote(proposal=digest, choice=choice), (KEYS.get(name, STRANGER),)))

    @rule(lie=LIES, honest=st.integers(1, 2), passed=st.integers(0, 300))
    def tell(self, lie, honest, passed):
        self.now += passed
        note = self.log.checkpoint_at_times([lie, *[self.now] * honest])
        self.append(sign_statement("time", WitnessedTime(note=note), (STRANGER,)))

    @rule(lie=LIES)
    def let_the_liar_tell_alone(self, lie):
        before = self.state.time
        note = self.log.checkpoint_at_times([lie])
        self.append(sign_statement("time", WitnessedTime(note=note), (STRANGER,)))
        assert self.state.time == before

    @rule(data=st.data())
    def log_an_old_entry_again(self, data):
        self.append(data.draw(st.sampled_from(self.log.entries)))

    @rule(noise=st.binary(min_size=1, max_size=20))
    def write_noise(self, noise):
        self.append(noise)

    @invariant()
    def the_time_is_never_ahead(self):
        assert self.state.time <= self.now

    @invariant()
    def a_client_comes_to_the_same_contract_by_the_chain_alone(self):
        constitutions = walk_constitutions(self.state.constitutions)
        assert walk_contracts(self.line.chain, constitutions)[-1].current == self.line.current


RIGHT: dict[str, Any] = {"witnessed_time": governance.witnessed_time, "voted": governed.voted}


def at_the_earliest(payload, constitution, placed):
    """A notice begins at the earliest cosignature, which the liar states."""
    note = parse_note(parse_witnessed_time(payload).note)
    times = [cosignature_time(note, witness) for witness in constitution.witnesses]
    witnessed = RIGHT["witnessed_time"](payload, constitution, placed)
    return witnessed._replace(until=min(at for at in times if at is not None))


def approving(line, proposal, _choice, signer, placed):
    """A veto is taken for an approval."""
    return RIGHT["voted"](line, proposal, "approve", signer, placed)


@pytest.mark.parametrize(
    ("name", "fault"), [("witnessed_time", at_the_earliest), ("voted", approving)], ids=["a liar's time", "no veto"]
)
def test_the_search_finds_a_planted_fault(name, fault, monkeypatch):
    monkeypatch.setattr(governance, name, fault)
    search = settings(
        max_examples=500,
        stateful_step_count=40,
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=(Phase.generate,),
    )
    with pytest.raises((AssertionError, Refused)):
        run_state_machine_as_test(Governance, settings=search)


TestGovernance = Governance.TestCase
TestGovernance.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
