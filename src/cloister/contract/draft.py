"""Contracts to begin from, in which nothing can be done yet, and successors in which nothing has changed yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import msgspec

from cloister.formats.appraisal_policy import AppraisalPolicy, RoleReference
from cloister.formats.change_rules import ChangeRules
from cloister.formats.contract import Asset, Contract, Grant, NamedDigest, Outcome, Party, Sandbox, Task, Term

DAY: Final = 86_400
OPEN: Final = bytes(32)  # stands where a digest is still to be filled in
TASK: Final = "serve"
COMMENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "name": "A contract among the parties below. Everything here is signed; comments are not.",
        "constitution": "The KMS, by the SHA-256 of its first constitution. It changes only by its own rules.",
        "local": "true only for one machine's own system, whose owner signs everything.",
        "parties": "Each party sent its own table (cloister contract party). Any one of its keys signs for it.",
        "assets": "What is used and not shown. digest: SHA-256 of a model or dataset; of a secret it is empty.\n"
        'recovery: "none", or "custodians" where the contract names some.\n'
        'section: "none", or of a secret whose section it is: "workload", "environment", "secrets".',
        "tasks": "What is done with the assets, and by which code alone.",
        "tasks.nodes": "What cloister workload measure and the node's settings say, for each role.",
        "tasks.sandbox": "tier: contents < namespaces < files < sockets < signals < kernel (docs/sandbox.md).",
        "tasks.endpoints": "What passes to the engine. Every other request is refused.",
        "grants": "Without a grant a task uses nothing. policy: expressions that have to hold of the node's evidence.",
        "outcomes": "What leaves, and to whom; nobody named: to the client who asked.",
        "terms": "What was agreed on the use of data: a table for each sentence, with the ids of the\n"
        "checks that enforce it (docs/formats/checks.md). A term without a check is a promise, and shown as one.",
        "appraisal": "What the evidence of every node has to meet: cloister appraisal-policy example has strict ones.",
        "changes": "By whose word there is a successor, and after how long.",
    }
)


@dataclass(frozen=True, slots=True)
class DraftTerms:
    """What is known when a contract is begun."""

    name: str
    constitution: bytes  # digest of the genesis
    parties: tuple[Party, ...]
    not_before: int
    not_after: int


def draft_contract(terms: DraftTerms) -> Contract:
    """A contract whose digests are `OPEN`: well-formed as soon as its parties have the duties that one needs."""
    names = tuple(party.name for party in terms.parties)
    owners = [party.name for party in terms.parties if "model-owner" in party.duties] or list(names)
    model = Asset(name="model", kind="model", digest=OPEN, owner=owners[0], recovery="none", section="none")
    return Contract(
        name=terms.name,
        sequence=0,
        previous=b"",
        constitution=terms.constitution,
        parties=terms.parties,
        assets=(model,),
        custody="none",
        tasks=(_task(),),
        grants=(Grant(asset="model", task=TASK, uses="unlimited", not_after=terms.not_after, policy=()),),
        outcomes=(Outcome(name="answers", task=TASK, what="answers", recipients=()),),
        terms=(Term(text="The model is used by the named code alone.", checks=("evidence.workload", "release.model")),),
        appraisal=AppraisalPolicy(unsafe=(), roots="vendors", platforms=()),
        changes=ChangeRules(
            approvers=names,
            number=len(names),
            veto=names,
            window_seconds=14 * DAY,
            notice_seconds=7 * DAY,
            urgent="none",
        ),
        not_before=terms.not_before,
        not_after=terms.not_after,
        local=False,
    )


def successor_of(contract: Contract) -> Contract:
    """The next of its line, not changed yet."""
    return msgspec.structs.replace(contract, sequence=contract.sequence + 1, previous=contract.digest())


def still_open(contract: Contract) -> list[str]:
    """What a well-formed contract leaves open or empty, so that as it stands nothing can be done under it; in words."""
    task = contract.serving
    found = [f"asset {one.name}: its digest is not filled in" for one in contract.assets if one.digest == OPEN]
    if task.engine.digest == OPEN:
        found.append(f"task {task.name}: the engine's digest is not filled in")
    if OPEN in task.sandbox.profiles:
        found.append(f"task {task.name}: the sandbox's profile is not filled in")
    found += [f"task {task.name}: no code is named for the {one.role}" for one in task.nodes if not one.workloads]
    found += [f"task {task.name}: no settings are named for the {one.role}" for one in task.nodes if not one.settings]
    if not task.nodes:
        found.append(f"task {task.name}: no node is named")
    if not task.endpoints:
        found.append(f"task {task.name}: no endpoint is open")
    if not contract.appraisal.platforms:
        found.append("appraisal: no platform is taken")
    if not contract.granted(task.name, "model"):
        found.append(f"task {task.name}: no model is granted to it")
    return found


def comment_of(path: Sequence[str]) -> str:
    """The words above a key of a new contract."""
    return COMMENTS.get(".".join(path), "")


def _task() -> Task:
    return Task(
        name=TASK,
        kind="serve",
        nodes=(RoleReference(role="gateway", workloads=(), settings=()),),
        sandbox=Sandbox(tier="files", profiles=(OPEN,)),
        engine=NamedDigest(name="engine", digest=OPEN),
        endpoints=(),
    )
