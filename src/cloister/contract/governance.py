"""Constitutions and contracts in the fold: proposals, votes, and the time that decides when one is in force."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from cloister.contract.amendment import first_contract, following_constitution, following_contract
from cloister.contract.governed import Governed, Witnessed, heeds, proposed, told, voted
from cloister.contract.instances import KEPT_INSTANCES
from cloister.contract.placed import EntryVoid, Placed, require
from cloister.contract.state import ContractLine, State
from cloister.formats.constitution import Constitution
from cloister.formats.contract import parse_contract
from cloister.formats.governance import parse_vote, parse_witnessed_time
from cloister.ledger.checkpoints import VerifiedCheckpoint, examine_checkpoint
from cloister.ledger.statements import SignedStatement

TIME_STEP: Final = 60  # seconds: what moves the stated time by less, and nothing else, has no effect


def constitution(state: State, statement: SignedStatement, placed: Placed) -> State:
    """A proposal of what comes after the constitution in force."""
    successor = following_constitution(state.constitution, statement)
    return _ruled(state, proposed(state.rules, successor, statement.signers, placed))


def contract(state: State, statement: SignedStatement, placed: Placed) -> State:
    """The first contract of a line, or a proposal of what comes after the one in force."""
    followed = state.lines.in_force(parse_contract(statement.payload).previous)
    if followed is not None:
        name, line = followed
        successor = following_contract(line.current, statement)
        governed = proposed(line.governed, successor, statement.signers, placed)
        return replace(state, lines=state.lines.put(name, replace(line, governed=governed)))
    first = first_contract(statement)
    require("contract.constitution", first.constitution == state.genesis, "is for another constitution")
    require("contract.succession", first.digest() not in state.lines, "stands in the log already")
    governed = Governed((placed,), first, first.digest(), placed.index)
    return replace(state, lines=state.lines.put(first.digest(), ContractLine(governed)))


def vote(state: State, statement: SignedStatement, placed: Placed) -> State:
    """An approval or a veto, of one signer."""
    said = parse_vote(statement.payload)
    require("vote.signature", len(statement.signers) == 1, "a vote has one signature")
    (signer,) = statement.signers
    for proposal in state.rules.proposals:
        if proposal.placed.digest == said.proposal:
            return _ruled(state, voted(state.rules, proposal, said.choice, signer, placed))
    found = state.lines.with_proposal(said.proposal)
    if found is None:
        raise EntryVoid("vote.proposal", "is on no proposal that may still come into force")
    name, line = found
    motion = next(one for one in line.governed.proposals if one.placed.digest == said.proposal)
    governed = voted(line.governed, motion, said.choice, signer, placed)
    return replace(state, lines=state.lines.put(name, replace(line, governed=governed)))


def time(state: State, statement: SignedStatement, placed: Placed) -> State:
    """How late it is, as a quorum of the witnesses of the constitution in force stated it; no news has no effect."""
    witnessed = witnessed_time(statement.payload, state.constitution, placed)
    heeding = state.lines.heeding(witnessed)
    news = bool(heeding) or _heeded(state.rules, witnessed) or witnessed.since >= state.time + TIME_STEP
    require("time.news", news, f"says what was known: that it is {state.time} at least, and nothing waits to hear more")
    rules, lines = told(state.rules, witnessed, placed), state.lines
    for name in heeding:
        line = lines[name]
        lines = lines.put(name, replace(line, governed=told(line.governed, witnessed, placed)))
    return _ruled(replace(state, lines=lines, time=max(state.time, witnessed.since)), rules)


def witnessed_time(payload: bytes, constitution: Constitution, placed: Placed) -> Witnessed:
    """What the payload of a `time` statement at this place says.

    Raises:
        EntryVoid: `time.size`: it is of entries that the log did not have yet.
        CheckpointRefused: it is not of this log, or not witnessed.
        MalformedInput, TooLarge: it says nothing.
    """
    note = parse_witnessed_time(payload).note
    rules = constitution
    found = examine_checkpoint(note, log=rules.log, witnesses=rules.witnesses, quorum=rules.quorum).require()
    require("time.size", found.size <= placed.index, f"is of {found.size} entries, and entry {placed.index} itself")
    return Witnessed(found.size, found.cosigned_at, found.seen_by)


def time_awaited(state: State, checkpoint: VerifiedCheckpoint) -> bool:
    """Whether a `time` entry with this checkpoint would move something: begin or end a notice, close a proposal."""
    witnessed = Witnessed(checkpoint.size, checkpoint.cosigned_at, checkpoint.seen_by)
    return bool(state.lines.heeding(witnessed)) or _heeded(state.rules, witnessed)


def _heeded(governed: Governed[Constitution], witnessed: Witnessed) -> bool:
    heeded = heeds(governed)
    return heeded is not None and heeded.by(witnessed)


def _ruled(state: State, rules: Governed[Constitution]) -> State:
    """A constitution that comes into force retires every KMS instance: each shows itself again under the new rules."""
    if rules.digest == state.rules.digest:
        return replace(state, rules=rules)
    retired = (*state.retired, *state.instances)[-KEPT_INSTANCES:]
    return replace(state, rules=rules, instances=(), retired=retired)
