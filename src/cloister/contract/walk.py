"""From the first constitution or contract to the one in force, by the few entries that brought it there.

What a client or a file has of the log is not all of it: the entries of a chain, each at its place. They count by the
same rules as in the fold (`contract.governed`), and each has to have led to something.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cloister.contract.amendment import (
    AmendmentRefused,
    Document,
    first_constitution,
    first_contract,
    following_constitution,
    following_contract,
)
from cloister.contract.governance import witnessed_time
from cloister.contract.governed import Governed, proposed, told, voted
from cloister.contract.placed import Placed
from cloister.formats.constitution import Constitution
from cloister.formats.contract import Contract
from cloister.formats.governance import parse_vote
from cloister.ledger.statements import SignedStatement, entry_digest, open_statement

Chain = tuple[Governed[Document], ...]  # all that were in force, first to current


def unlogged(entries: Sequence[bytes]) -> tuple[Placed, ...]:
    """Entries of a file, placed as they stand in it; what needs the log's word on time cannot be told of them."""
    return tuple(Placed(index, entry, entry_digest(entry)) for index, entry in enumerate(entries))


def walk_constitutions(entries: Sequence[Placed]) -> Chain[Constitution]:
    """Every constitution that was in force, by the entries of its chain, at least one.

    Raises:
        AmendmentRefused, EntryVoid, CheckpointRefused: names the rule that an entry breaks.
        BadSignature, MalformedInput, TooLarge: an entry is not one.
    """

    def ruling(chain: Chain[Constitution], _: int) -> Constitution:
        return chain[-1].current

    return _walk("constitution", entries, first_constitution, following_constitution, ruling)


def walk_contracts(entries: Sequence[Placed], constitutions: Chain[Constitution]) -> Chain[Contract]:
    """Every contract of a line that was in force, under the constitutions that were; raises as `walk_constitutions`."""

    def ruling(_: Chain[Contract], index: int) -> Constitution:
        before = [one.current for one in constitutions if one.since < index]
        if not before:
            raise AmendmentRefused("contract.notice", "no constitution was in force whose witnesses could say the time")
        return before[-1]

    return _walk("contract", entries, first_contract, following_contract, ruling)


def _walk(
    kind: str,
    entries: Sequence[Placed],
    first: Callable[[SignedStatement], Document],
    following: Callable[[Document, SignedStatement], Document],
    ruling: Callable[[Chain[Document], int], Constitution],
) -> Chain[Document]:
    begin, *others = entries
    document = first(open_statement(begin.entry))
    chain: Chain[Document] = (Governed((begin,), document, document.digest(), begin.index),)
    for placed in others:
        statement = open_statement(placed.entry)
        governed = chain[-1]
        if statement.kind == "vote":
            governed = _voted(kind, governed, statement, placed)
        elif statement.kind == "time":
            witnessed = witnessed_time(statement.payload, ruling(chain, placed.index), placed)
            governed = told(governed, witnessed, placed)
        else:
            governed = proposed(governed, following(governed.current, statement), statement.signers, placed)
        chain = (*chain[:-1], governed) if governed.digest == chain[-1].digest else (*chain, governed)
    for proposal in chain[-1].proposals:
        passed = proposal.standing == "passed"
        said = "is not in force before its notice is over" if passed else "lacks approvals"
        raise AmendmentRefused(f"{kind}.{'notice' if passed else 'signatures'}", f"the last proposal {said}")
    return chain


def _voted(kind: str, governed: Governed[Document], statement: SignedStatement, placed: Placed) -> Governed[Document]:
    said = parse_vote(statement.payload)
    for proposal in governed.proposals:
        if (proposal.placed.digest, len(statement.signers)) == (said.proposal, 1):
            return voted(governed, proposal, said.choice, next(iter(statement.signers)), placed)
    raise AmendmentRefused(f"{kind}.signatures", "a vote is on no proposal that is shown")
