"""A constitution or contract with its successors, proposed and in force: only what its own rules say makes one follow.

A successor is proposed by an entry that one with a say signed. It passes with as many approvers as the rules in force
want, and everyone whom it names anew; it is in force when the notice is over, unless it was vetoed until then. Entries
have no time of their own: what is said of time, witnesses said. The notice begins at a time by which, as some witness
of a quorum stated, the log had all that made the proposal pass, and is over at a time that a whole quorum says it is
past. So an operator can make it longer, and never shorter.

The same rules run in the fold over the whole log and, over the few entries that brought a document into force, in a
client: `contract.governance`, `trust.governed`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Generic, Literal, NamedTuple, TypeVar

import msgspec

from cloister.contract.amendment import names_of
from cloister.contract.placed import Placed, require
from cloister.formats.constitution import Amender, Constitution
from cloister.formats.contract import Asset, Contract, Party
from cloister.formats.governance import Choice

Document = TypeVar("Document", bound=Constitution | Contract)
Standing = Literal["open", "passed", "vetoed", "lapsed"]

URGENT_CHAIN = 128  # entries of a chain, beyond which fixes wait for approvals: clients are shown all of it
KEPT_PROPOSALS = 8  # of one proposer; beyond, what is closed is forgotten, and with nothing closed there is no other


class Witnessed(NamedTuple):
    """What the cosignatures on a checkpoint of this log say of time."""

    size: int  # entries that the log had
    since: int  # seconds since 1970: it is this late at least, a quorum says
    until: int  # by then the log had these entries, says one at least who is honest


@dataclass(frozen=True, slots=True)
class Proposal(Generic[Document]):
    """A successor that was proposed, and what became of it so far."""

    placed: Placed
    successor: Document
    proposer: str
    approvals: frozenset[str]
    votes: tuple[Placed, ...] = ()  # the approvals that came after
    standing: Standing = "open"
    public: int | None = None  # by when the log had the proposal
    passed_at: int | None = None  # the index of the entry with which it passed
    noticed: int | None = None  # by when the log had that entry; from then the notice runs
    notice: Placed | None = None  # the entry that says so


@dataclass(frozen=True, slots=True)
class Governed(Generic[Document]):
    """What is in force, by which entries, and what is proposed to follow it."""

    chain: tuple[Placed, ...]  # all that it takes to see that `current` is in force
    current: Document
    digest: bytes  # of `current`
    since: int  # the index of the entry with which it was in force
    proposals: tuple[Proposal[Document], ...] = ()
    known: frozenset[bytes] = frozenset()  # digests of all successors that were proposed to it


def proposed(
    governed: Governed[Document], successor: Document, signers: frozenset[bytes], placed: Placed
) -> Governed[Document]:
    """After the entry that proposes `successor`, which follows the document in force in form and line.

    Raises:
        EntryVoid: `proposal.again`, `proposal.number`.
    """
    # Else whoever has the entry, or its signatures in another order, would undo a veto by logging it once more.
    digest = successor.digest()
    require("proposal.again", digest not in governed.known, "was proposed before: change something, if only the end")
    governed = replace(governed, known=governed.known | {digest})
    rules, voters = governed.current.changes, governed.current.voters  # a party named anew brings its own keys
    proposers = names_of(signers, voters)
    proposal = Proposal(placed, successor, min(proposers), names_of(signers, {**successor.voters, **voters}))
    others = _room(governed.proposals, proposal.proposer)
    published = rules.urgent != "none" and rules.urgent.publisher in proposers
    if published and len(governed.chain) < URGENT_CHAIN and only_workloads(governed.current, successor):
        return _in_force(governed, proposal)
    return _settled(replace(governed, proposals=(*others, proposal)), proposal, placed)


def voted(
    governed: Governed[Document], proposal: Proposal[Document], choice: Choice, signer: bytes, placed: Placed
) -> Governed[Document]:
    """After a vote on `proposal`, which is one of `governed.proposals`.

    Raises:
        EntryVoid: names the rule that the vote breaks.
    """
    rules = governed.current.changes
    ended = f"the proposal is {proposal.standing}"
    require("vote.open", proposal.standing == "open" or (proposal.standing, choice) == ("passed", "veto"), ended)
    voters = {**proposal.successor.voters, **governed.current.voters}
    names = names_of({signer}, voters)
    require("vote.signature", len(names) == 1, "is signed by nobody who has a say")
    (name,) = names
    if choice == "veto":
        require("vote.veto", name in rules.veto, f"{name} has no veto")
        return _with(governed, replace(proposal, standing="vetoed"))
    # Everyone's approval counts where one is to go: that of all others stands for its own.
    everyone = governed.current.voters if leaving(governed.current, proposal.successor) else ()
    say = {*rules.approvers, *must_approve(governed.current, proposal.successor), *everyone}
    require("vote.approver", name in say, f"{name} is no approver")
    require("vote.twice", name not in proposal.approvals, f"{name} has approved already")
    counted = replace(proposal, approvals=proposal.approvals | {name}, votes=(*proposal.votes, placed))
    return _settled(_with(governed, counted), counted, placed)


def told(governed: Governed[Document], witnessed: Witnessed, placed: Placed) -> Governed[Document]:
    """After an entry in which witnesses say how late it is: proposals lapse, notices begin and end."""
    for proposal in governed.proposals:
        known = _timed(proposal, witnessed, placed)
        rules = governed.current.changes
        if known.standing == "passed" and known.noticed is not None and known.notice is not None:
            over = known.noticed + rules.notice_seconds
            if witnessed.since >= over:
                return _in_force(governed, known, known.notice, placed)
        late = known.public is not None and witnessed.since > known.public + rules.window_seconds
        governed = _with(governed, replace(known, standing="lapsed") if known.standing == "open" and late else known)
    return governed


class Heeds(NamedTuple):
    """What witnesses would have to say for something to come of it, in the terms of `Witnessed`."""

    size: float  # more entries than this
    since: float  # so late, or later
    until: float  # earlier than this

    def by(self, witnessed: Witnessed) -> bool:
        """Whether they say it."""
        size, since, until = witnessed
        return size > self.size or since >= self.since or until < self.until


def heeds(governed: Governed[Document]) -> Heeds | None:
    """When `told` does something: never where None."""
    rules = governed.current.changes
    sizes, sinces, latest = [inf], [inf], [-inf]
    for one in governed.proposals:
        if one.standing == "open":
            begins, begun, lasts = one.placed.index, one.public, rules.window_seconds + 1
        elif one.standing == "passed" and one.passed_at is not None:
            begins, begun, lasts = one.passed_at, one.noticed, rules.notice_seconds
        else:
            continue
        if begun is None:
            sizes.append(begins)
        else:
            sinces.append(begun + lasts)
            latest.append(begun)
    return Heeds(min(sizes), min(sinces), max(latest)) if len(sizes) + len(sinces) > 2 else None


def must_approve(current: Document, successor: Document) -> frozenset[str]:
    """Who has to approve beside the number that it takes.

    Whoever's own part changes or is new; the owner of an asset where anything changes of what is said of it, of who may
    use it, by which code, under which appraisal, or of who keeps its key; and all to a rule of urgent fixes, and to who
    joins. So nobody is outvoted about what is its own, and nobody brings in others to outvote with.
    """
    if successor.changes.urgent not in ("none", current.changes.urgent):
        return frozenset({*current.voters, *successor.voters})
    before, after = _parts(current), _parts(successor)
    changed = {name for name, part in after.items() if before.get(name) != part}
    if after.keys() - before.keys():
        changed |= before.keys()
    if isinstance(current, Contract) and isinstance(successor, Contract):
        changed |= {asset.owner for asset in current.assets if _use(asset, current) != _use(asset, successor)}
    return frozenset(changed)


def leaving(current: Document, successor: Document) -> frozenset[str]:
    """Who would have no part any more, or no say or no veto, and has it now."""
    before, after = current.changes, successor.changes
    say, veto = {*before.approvers} - {*after.approvers}, {*before.veto} - {*after.veto}
    return frozenset(_parts(current).keys() - _parts(successor).keys() | say | veto)


def still_to_approve(current: Document, proposal: Proposal[Document]) -> frozenset[str]:
    """Whose approval is missing beside the number that it takes.

    To have a part, a say or a veto is one's own as well: who is to lose it has to approve that, or everyone else has
    to, two at least. So no majority throws anyone out, nor one of two the other; two that are to go stand for each
    other; and who has lost its keys, or is no more, holds the others up not for good.
    """
    approvals, voters = proposal.approvals, current.voters.keys()
    own = must_approve(current, proposal.successor) - approvals
    going = leaving(current, proposal.successor) - approvals
    enough = len(voters) > 2 and len(voters - approvals) <= 1
    return own if enough else own | going


def _parts(document: Constitution | Contract) -> dict[str, Party | Amender]:
    """What a document says of each who has a say."""
    if isinstance(document, Contract):
        return {party.name: party for party in document.parties}
    return {amender.name: amender for amender in document.amenders}


def _use(asset: Asset, contract: Contract) -> tuple[object, ...]:
    """What a contract says of the asset that has this name in the one before."""
    named = [one for one in contract.assets if one.name == asset.name]
    grants = {grant for grant in contract.grants if grant.asset == asset.name}
    granted = {grant.task for grant in grants}
    tasks = tuple(task for task in contract.tasks if task.name in granted)
    return (*named, frozenset(grants), tasks, contract.appraisal, contract.custody)


def only_workloads(current: Document, successor: Document) -> bool:
    """Whether `successor` differs from `current` in the workload measurements of its reference values alone."""
    kept = msgspec.structs.replace(successor, sequence=current.sequence, previous=current.previous)
    return _without_workloads(kept) == _without_workloads(current)


def _without_workloads(document: Constitution | Contract) -> Constitution | Contract:
    if isinstance(document, Constitution):
        return msgspec.structs.replace(document, kms=msgspec.structs.replace(document.kms, workloads=()))
    tasks = tuple(
        msgspec.structs.replace(
            task, nodes=tuple(msgspec.structs.replace(reference, workloads=()) for reference in task.nodes)
        )
        for task in document.tasks
    )
    return msgspec.structs.replace(document, tasks=tasks)


def _settled(governed: Governed[Document], proposal: Proposal[Document], placed: Placed) -> Governed[Document]:
    """Whether the proposal has passed with the entry `placed`, and is even in force."""
    rules = governed.current.changes
    enough = len(proposal.approvals & set(rules.approvers)) >= rules.number
    if not enough or still_to_approve(governed.current, proposal):
        return governed
    if rules.notice_seconds == 0:
        return _in_force(governed, proposal)
    return _with(governed, replace(proposal, standing="passed", passed_at=placed.index))


def _timed(proposal: Proposal[Document], witnessed: Witnessed, placed: Placed) -> Proposal[Document]:
    """A later word can make these times earlier, where a witness of before had a clock that was ahead."""
    if witnessed.size > proposal.placed.index:
        proposal = replace(proposal, public=_earlier(proposal.public, witnessed.until))
    covers = proposal.passed_at is not None and witnessed.size > proposal.passed_at
    if covers and (proposal.noticed is None or witnessed.until < proposal.noticed):
        return replace(proposal, noticed=witnessed.until, notice=placed)
    return proposal


def _earlier(known: int | None, heard: int) -> int:
    return heard if known is None else min(known, heard)


def _in_force(governed: Governed[Document], proposal: Proposal[Document], *times: Placed) -> Governed[Document]:
    """The successor is in force; what else was proposed to follow the one before follows nothing any more."""
    entries = sorted({one.index: one for one in (proposal.placed, *proposal.votes, *times)}.items())
    chain = (*governed.chain, *(placed for _, placed in entries))
    return Governed(chain, proposal.successor, proposal.successor.digest(), chain[-1].index)


def _with(governed: Governed[Document], proposal: Proposal[Document]) -> Governed[Document]:
    others = (proposal if one.placed.digest == proposal.placed.digest else one for one in governed.proposals)
    return replace(governed, proposals=tuple(others))


def _room(proposals: tuple[Proposal[Document], ...], proposer: str) -> tuple[Proposal[Document], ...]:
    own = [one for one in proposals if one.proposer == proposer]
    if len(own) < KEPT_PROPOSALS:
        return proposals
    closed = [one for one in own if one.standing in ("vetoed", "lapsed")]
    require("proposal.number", bool(closed), f"{proposer} has {KEPT_PROPOSALS} proposals open")
    return tuple(one for one in proposals if one is not closed[0])
