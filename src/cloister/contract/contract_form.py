"""What makes a contract well-formed beyond the types of its fields: who and what it names is there, once, and fits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Protocol, get_args

from cloister.contract.terms import ENFORCING
from cloister.formats.contract import Asset, Contract, Duty, Task
from cloister.formats.custody_messages import MAXIMUM_ASSETS
from cloister.formats.hpke_suite import KEMS, X_WING

OWNS: dict[str, tuple[Duty, ...]] = {
    "model": ("model-owner",),
    "dataset": ("data-provider",),
    "secret": ("model-owner", "data-provider", "operator"),
}
OWNS_SECTION: dict[str, tuple[Duty, ...]] = {
    "workload": ("model-owner",),
    "environment": ("operator",),
    "secrets": get_args(Duty),
}


class Named(Protocol):
    """Anything that is called something in a contract."""

    @property
    def name(self) -> str:
        """What it is called."""


Rule = Callable[[bool, str], None]  # whether it holds, and what is said where it does not


def require_contract_form(contract: Contract, rule: Rule) -> None:
    """Hold `contract` against every rule of its form, in order; `rule` raises at the first that is broken."""
    rule(contract.not_before < contract.not_after, "ends before it begins")
    _parties(contract, rule)
    _assets(contract, rule)
    _tasks(contract, rule)
    _grants(contract, rule)
    _outcomes(contract, rule)
    for term in contract.terms:
        unknown = sorted(set(term.checks) - ENFORCING)
        shortfall = f"a term rests on {', '.join(unknown)}, which is no check of a KMS: without one it is a promise"
        rule(not unknown, shortfall)


def _parties(contract: Contract, rule: Rule) -> None:
    rule(bool(contract.with_duty("operator")), "has no party with the duty operator")
    for party in contract.parties:
        rule(len(set(party.duties)) == len(party.duties), f"{party.name} has a duty twice")
        rule(len(party.seal) in (0, KEMS[X_WING].public), f"{party.name}'s seal key is no X-Wing key of 1,216 bytes")
        sealed = not {"custodian", "result-recipient"} & set(party.duties) or bool(party.seal)
        rule(sealed, f"{party.name} is to open what is sealed to it, and names no seal key")
    urgent = contract.changes.urgent
    named = {party.name for party in contract.with_duty("publisher")}
    rule(urgent == "none" or urgent.publisher in named, "who publishes urgent fixes has the duty publisher")


def _assets(contract: Contract, rule: Rule) -> None:
    _distinct(contract.assets, "asset", rule)
    for asset in contract.assets:
        _owned(contract, asset, rule)
        size = 0 if asset.kind == "secret" else 32
        rule(len(asset.digest) == size, f"the digest of {asset.name} has {size} bytes")
        recoverable = asset.recovery == "none" or contract.custody != "none"
        rule(recoverable, f"{asset.name} is recovered by custodians, and the contract has none")
    if contract.custody != "none":
        custody = contract.custody
        rule(len(set(custody.custodians)) == len(custody.custodians), "a custodian is named twice")
        rule(custody.threshold <= len(custody.custodians), "more shares are needed than there are custodians")
        _known(custody.custodians, (party.name for party in contract.with_duty("custodian")), "custodian", rule)


def _owned(contract: Contract, asset: Asset, rule: Rule) -> None:
    """An asset is of a party whose part it is; a section is of the persona that it is named after."""
    section = asset.section != "none"
    rule(not section or asset.kind == "secret", f"{asset.name} is a {asset.kind}, and a section is a secret")
    duties = OWNS_SECTION[asset.section] if section else OWNS[asset.kind]
    owners = {party.name for duty in duties for party in contract.with_duty(duty)}
    what = f"the {asset.section} section " if section else ""
    shortfall = f"{asset.owner}, the owner of {what}{asset.name}, is no party with the duty {duties[0]}"
    rule(asset.owner in owners, shortfall)


def _tasks(contract: Contract, rule: Rule) -> None:
    _distinct(contract.tasks, "task", rule)
    rule(sum(task.kind == "serve" for task in contract.tasks) == 1, "has one task that serves, no more and no less")
    for task in contract.tasks:
        roles = [reference.role for reference in task.nodes]
        rule(len(set(roles)) == len(roles), f"a role of {task.name} is named twice")
        rule("kms" not in roles, f"{task.name} names a KMS, which the constitution does")


def _grants(contract: Contract, rule: Rule) -> None:
    pairs = [(grant.asset, grant.task) for grant in contract.grants]
    rule(len(set(pairs)) == len(pairs), "an asset is granted to a task twice")
    for task in contract.tasks:
        sections = [asset for asset in contract.granted(task.name, "secret") if asset.section != "none"]
        models = contract.granted(task.name, "model")
        _one_model(task, models, rule)
        most = MAXIMUM_ASSETS - bool(models)  # a node asks for its model's key with them
        rule(len(sections) <= most, f"{task.name} has more than {most} sections")
    _known((asset for asset, _ in pairs), (asset.name for asset in contract.assets), "granted asset", rule)
    _known((task for _, task in pairs), (task.name for task in contract.tasks), "task of a grant", rule)


def _one_model(task: Task, models: Collection[Asset], rule: Rule) -> None:
    """A receipt names the contract alone, so the contract has to say which model answers under it."""
    named = " and ".join(asset.name for asset in models)
    rule(
        len(models) <= 1,
        f"{task.name} has grants for the models {named}: leave one, so that receipts say which answered",
    )


def _outcomes(contract: Contract, rule: Rule) -> None:
    _distinct(contract.outcomes, "outcome", rule)
    recipients = [party.name for party in contract.with_duty("result-recipient")]
    for outcome in contract.outcomes:
        _known((outcome.task,), (task.name for task in contract.tasks), "task of an outcome", rule)
        _known(outcome.recipients, recipients, "recipient", rule)


def _distinct(named: Collection[Named], what: str, rule: Rule) -> None:
    rule(len({one.name for one in named}) == len(named), f"two {what}s have one name")


def _known(named: Iterable[str], known: Iterable[str], what: str, rule: Rule) -> None:
    strangers = sorted(set(named) - set(known))
    rule(not strangers, f"the {what} {', '.join(strangers)} is not among those that the contract names")
