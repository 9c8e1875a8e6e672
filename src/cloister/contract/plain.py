"""The plainest contract: a model's owner lets an operator serve it, and both agree to every change."""

from __future__ import annotations

from dataclasses import dataclass

from cloister.formats.appraisal_policy import AppraisalPolicy
from cloister.formats.change_rules import ChangeRules
from cloister.formats.contract import Asset, Contract, Grant, NamedDigest, Outcome, Party, Task, Term

PROMISE = "The operator keeps no record of who asks beyond what running the service takes."


@dataclass(frozen=True, slots=True)
class PlainTerms:
    """What two parties who run everything on one machine have to say; the rest follows."""

    name: str
    constitution: bytes  # digest of the genesis
    owner: bytes  # the model owner's signing key
    operator: bytes
    model: NamedDigest
    task: Task
    appraisal: AppraisalPolicy
    not_before: int
    not_after: int


def plain_contract(terms: PlainTerms) -> Contract:
    """The first contract of a line, local and with no notice; not signed."""
    return Contract(
        name=terms.name,
        sequence=0,
        previous=b"",
        constitution=terms.constitution,
        parties=(
            Party(name="model owner", duties=("model-owner",), keys=(terms.owner,), seal=b""),
            Party(name="operator", duties=("operator",), keys=(terms.operator,), seal=b""),
        ),
        assets=(
            Asset(
                name=terms.model.name,
                kind="model",
                digest=terms.model.digest,
                owner="model owner",
                recovery="none",
                section="none",
            ),
        ),
        custody="none",
        tasks=(terms.task,),
        grants=(
            Grant(asset=terms.model.name, task=terms.task.name, uses="unlimited", not_after=terms.not_after, policy=()),
        ),
        outcomes=(Outcome(name="answers", task=terms.task.name, what="answers", recipients=()),),
        terms=(
            Term(text="The model is used by the named code alone.", checks=("evidence.workload", "release.model")),
            Term(text="The engine reaches no network and no file of its host.", checks=("release.sandbox",)),
            Term(text=PROMISE, checks=()),
        ),
        appraisal=terms.appraisal,
        changes=ChangeRules(
            approvers=("model owner", "operator"),
            number=2,
            veto=("model owner", "operator"),
            window_seconds=7 * 86_400,
            notice_seconds=0,
            urgent="none",
        ),
        not_before=terms.not_before,
        not_after=terms.not_after,
        local=True,
    )
