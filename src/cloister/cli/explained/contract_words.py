"""A contract in sentences: what a person who signs it should have read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import msgspec

from cloister.formats.appraisal_policy import named_verifiers
from cloister.formats.change_rules import ChangeRules
from cloister.formats.contract import Asset, Contract, Grant, Outcome, Party, Task, Term
from cloister.formats.contract_verifier import title_of


class SaidLine(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence, and how it is held: by a check, as a promise, or as what is agreed."""

    subject: str
    says: str
    held: Literal["agreed", "enforced", "promise"] = "agreed"


class SaidContract(msgspec.Struct, frozen=True, kw_only=True):
    """A contract, part by part."""

    name: str
    digest: str
    sequence: int
    validity: str
    constitution: str
    local: bool
    unsafe: tuple[str, ...]
    verifiers: tuple[str, ...]  # whose word counts in place of evidence
    parties: tuple[SaidLine, ...]
    assets: tuple[SaidLine, ...]
    tasks: tuple[SaidLine, ...]
    grants: tuple[SaidLine, ...]
    outcomes: tuple[SaidLine, ...]
    terms: tuple[SaidLine, ...]
    changes: tuple[SaidLine, ...]


def explain_contract(contract: Contract) -> SaidContract:
    """Everything that `contract` says, in the order in which it is written."""
    return SaidContract(
        name=contract.name,
        digest=contract.digest().hex(),
        sequence=contract.sequence,
        validity=f"from {moment(contract.not_before)} to {moment(contract.not_after)}",
        constitution=contract.constitution.hex(),
        local=contract.local,
        unsafe=tuple(contract.appraisal.unsafe),
        verifiers=tuple(map(title_of, named_verifiers(contract.appraisal))),
        parties=tuple(map(_party, contract.parties)),
        assets=tuple(_asset(one, contract) for one in contract.assets),
        tasks=tuple(map(_task, contract.tasks)),
        grants=tuple(map(_grant, contract.grants)),
        outcomes=tuple(map(_outcome, contract.outcomes)),
        terms=tuple(map(_term, contract.terms)),
        changes=_changes(contract.changes),
    )


PARTS: Final = ("parties", "assets", "tasks", "grants", "outcomes", "terms", "changes")


def differences(before: SaidContract, after: SaidContract) -> tuple[SaidLine, ...]:
    """What the sentences of one contract say otherwise than those of the one before, part by part."""
    return tuple(line for part in PARTS for line in _differing(getattr(before, part), getattr(after, part)))


def _differing(before: Sequence[SaidLine], after: Sequence[SaidLine]) -> Iterator[SaidLine]:
    for line in before:
        if line not in after:
            others = {one.subject for one in after}
            word = "no more" if line.subject in others else "no part of it any more"
            yield SaidLine(subject=line.subject, says=f"{word}: {line.says}", held=line.held)
    for line in after:
        if line not in before:
            yield SaidLine(subject=line.subject, says=f"now: {line.says}", held=line.held)


def moment(seconds: int) -> str:
    """A moment as people write it."""
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S UTC")
    except OverflowError:
        return f"{seconds} s after 1970"


def span(seconds: int) -> str:
    """A span of time as people say it."""
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size} {unit}{'s' if seconds != size else ''}"
    return f"{seconds} s"


def _party(party: Party) -> SaidLine:
    keys = f"signs with any of {len(party.keys)} keys" if len(party.keys) > 1 else "signs with one key"
    opens = "; opens what is sealed to it" if party.seal else ""
    return SaidLine(subject=party.name, says=f"{', '.join(party.duties)}; {keys}{opens}")


def _asset(asset: Asset, contract: Contract) -> SaidLine:
    digest = f", sha256 {asset.digest.hex()}" if asset.digest else ""
    lost = "its key is lost where every KMS that holds it is"
    if asset.recovery == "custodians" and contract.custody != "none":
        named = ", ".join(contract.custody.custodians)
        lost = f"its key is recovered by {contract.custody.threshold} of {named} together"
    what = f"a {asset.kind}" if asset.section == "none" else f"the {asset.section} section"
    return SaidLine(subject=asset.name, says=f"{what} of {asset.owner}'s{digest}; {lost}")


def _task(task: Task) -> SaidLine:
    nodes = "; ".join(
        f"{one.role}: {len(one.workloads)} code measurements, {len(one.settings)} settings" for one in task.nodes
    )
    endpoints = ", ".join(f"{one.method} {one.path}" for one in task.endpoints) or "no endpoint"
    confined = f"a sandbox of tier {task.sandbox.tier} at least ({len(task.sandbox.profiles)} profiles)"
    says = f"{task.kind} by the engine {task.engine.name} in {confined}; {nodes or 'no node'}; {endpoints}"
    return SaidLine(subject=task.name, says=says)


def _grant(grant: Grant) -> SaidLine:
    often = "as often as it likes" if grant.uses == "unlimited" else f"{grant.uses} times"
    only = f"; only where {' and '.join(grant.policy)}" if grant.policy else ""
    says = f"may be used by {grant.task} {often} until {moment(grant.not_after)}{only}"
    return SaidLine(subject=grant.asset, says=says, held="enforced")


def _outcome(outcome: Outcome) -> SaidLine:
    to = ", ".join(outcome.recipients) or "the client who asked"
    return SaidLine(subject=outcome.name, says=f"{outcome.what} of {outcome.task} leave to {to}, and to nobody else")


def _term(term: Term) -> SaidLine:
    if term.checks:
        return SaidLine(subject=", ".join(term.checks), says=term.text, held="enforced")
    return SaidLine(subject="promise", says=term.text, held="promise")


def _changes(rules: ChangeRules) -> tuple[SaidLine, ...]:
    vetoes = _listed(rules.veto)
    urgent = "none" if rules.urgent == "none" else f"{rules.urgent.publisher} alone, of code measurements, at once"
    said = {
        "approval": f"{rules.number} of {_listed(rules.approvers)}, and whoever is named anew",
        "veto": f"each alone: {vetoes}" if rules.veto else "nobody has one",
        "window": f"{span(rules.window_seconds)} from a proposal's publication",
        "notice": f"{span(rules.notice_seconds)} from the publication of what approved it",
        "urgent fixes": urgent,
    }
    return tuple(SaidLine(subject=subject, says=says) for subject, says in said.items())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
