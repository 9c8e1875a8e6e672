"""The time in governance: a notice runs by what a quorum of witnesses stated, and nobody shortens or holds it up."""

import pytest
from tests.doubles.council import AUDITOR, HOUR, NEW, Council

from cloister.contract.governance import TIME_STEP
from cloister.formats.governance import WitnessedTime
from cloister.ledger.checkpoints import examine_checkpoint
from cloister.ledger.statements import sign_statement
from cloister.testing.memory_log import MemoryLog
from cloister.testing.world import DAY, NOON


def test_a_notice_runs_from_what_covers_the_last_approval_and_not_from_before():
    council = Council()
    _, proposal = council.propose("operator", **NEW)
    council.tell(NOON - DAY)
    council.vote(proposal, "auditor")
    council.tell(NOON)
    council.tell(NOON + HOUR)
    assert council.standing == ["passed"]


def test_a_checkpoint_from_before_the_last_approval_begins_no_notice():
    council = Council()
    _, proposal = council.propose("operator", **NEW)
    early = council.world.log.checkpoint(at=NOON - DAY)
    council.vote(proposal, "auditor")
    council.log(sign_statement("time", WitnessedTime(note=early), (AUDITOR,)))
    council.tell(NOON)
    assert council.line.current == council.contract


def test_one_witness_with_a_slow_clock_shortens_no_notice():
    council = Council()
    council.propose("operator", "auditor", **NEW)
    log = council.world.log
    slow = log.checkpoint_at_times([NOON - DAY, NOON])
    council.log(sign_statement("time", WitnessedTime(note=slow), (AUDITOR,)))
    council.tell(NOON + HOUR)
    assert council.line.current == council.contract


def test_one_witness_with_a_fast_clock_ends_no_notice():
    council = Council()
    council.propose("operator", "auditor", **NEW)
    council.tell(NOON)
    fast = council.world.log.checkpoint_at_times([NOON + 2 * DAY, NOON + HOUR])
    council.log(sign_statement("time", WitnessedTime(note=fast), (AUDITOR,)))
    assert council.line.current == council.contract


def test_a_notice_that_a_fast_clock_began_late_begins_earlier_by_a_better_word():
    council = Council()
    successor, _ = council.propose("operator", "auditor", **NEW)
    fast = council.world.log.checkpoint_at_times([NOON + 30 * DAY, NOON])
    council.log(sign_statement("time", WitnessedTime(note=fast), (AUDITOR,)))
    council.tell(NOON + HOUR)
    council.tell(NOON + HOUR + DAY)
    assert council.line.current == successor


def test_one_witness_with_a_fast_clock_holds_nothing_up_where_more_than_a_quorum_cosign():
    log = MemoryLog(witnesses=3)
    log.append(b"entry")
    note = log.checkpoint_at_times([NOON + 9 * DAY, NOON, NOON])
    seen = examine_checkpoint(note, log=log.log, witnesses=log.witnesses, quorum=2).require()
    assert (seen.cosigned_at, seen.seen_by) == (NOON, NOON)


@pytest.mark.parametrize(
    ("cosigned", "reason"),
    [({"cosigners": 1}, "checkpoint.witnesses"), ({"origin": "another.test/log"}, "checkpoint.origin")],
    ids=["one witness of two", "another log"],
)
def test_a_time_that_no_quorum_of_this_log_states_has_no_effect(cosigned, reason):
    council = Council()
    council.tell(NOON, **cosigned)
    assert reason in council.state.reason
    assert council.state.time == 0


def test_a_time_of_more_entries_than_there_were_has_no_effect():
    council = Council()
    council.world.log.append(b"an entry that the fold has not come to")
    note = council.world.log.checkpoint(at=NOON)
    council.world.log.entries.pop()
    council.log(sign_statement("time", WitnessedTime(note=note), (AUDITOR,)))
    assert "time.size" in council.state.reason


def test_a_time_that_is_no_news_has_no_effect():
    """Anyone may log any checkpoint; every replay would pay for each."""
    council = Council()
    council.tell(NOON)
    assert (council.state.time, council.state.reason) == (NOON, "")
    for at in (NOON, NOON - DAY, NOON + TIME_STEP - 1):
        before = council.state
        council.tell(at)
        assert council.state.broken == "time.news"
        assert (council.state.time, council.state.lines, council.state.rules) == (NOON, before.lines, before.rules)
    council.tell(NOON + TIME_STEP)
    assert (council.state.time, council.state.reason) == (NOON + TIME_STEP, "")


def test_a_time_that_a_proposal_waits_for_is_news_however_soon_it_comes():
    council = Council()
    council.tell(NOON)
    _, proposal = council.propose("operator", **NEW)
    council.tell(NOON + 1)
    assert not council.state.reason
    council.vote(proposal, "auditor")
    council.tell(NOON + 2)
    assert not council.state.reason
    assert council.line.governed.proposals[0].noticed == NOON + 2
    council.tell(NOON + 3)
    assert council.state.broken == "time.news"


def test_the_time_is_awaited_exactly_where_something_comes_of_it():
    council = Council()
    assert not council.waits_for(NOON)
    _, proposal = council.propose("operator", **NEW)
    assert council.waits_for(NOON)  # when the window begins
    council.tell(NOON)
    assert not council.waits_for(NOON + 2 * DAY)
    assert council.waits_for(NOON + 2 * DAY + 1)  # that the window is over
    council.vote(proposal, "auditor")
    assert council.waits_for(NOON)  # when the notice begins
    council.tell(NOON)
    assert not council.waits_for(NOON + DAY - 1)
    assert council.waits_for(NOON + DAY)  # that it is over
    council.tell(NOON + DAY)
    assert not council.waits_for(NOON + 9 * DAY)
