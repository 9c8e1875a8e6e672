"""Decides whether assets may go to a node: a pure function of the ledger's state, the evidence and the time.

The KMS asks `examine_assets` before it logs a use, and `examine_use` before anything leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

from cloister.attest.evidence import AppraisedEvidence
from cloister.attest.seen import SeenEndorsements
from cloister.contract.asset_use import check_use
from cloister.contract.custody_records import DepositRecord, grant_of
from cloister.contract.node_request import check_evidence, check_in_force, check_settings, still_in_force
from cloister.contract.release import ReleaseRefused
from cloister.contract.release_policy import Purpose, examine_release_policy, release_claims
from cloister.contract.release_steps import ASSET_STEPS, USE_PUBLICATION_STEPS
from cloister.contract.state import ContractLine, State
from cloister.examination import Examination, Steps
from cloister.formats.evidence import Evidence, Role
from cloister.ledger.checkpoints import VerifiedCheckpoint
from cloister.ledger.inclusion import check_included


@dataclass(frozen=True, slots=True)
class AssetsAsked:
    """A node's request for assets, as the KMS has parsed it."""

    contract: bytes  # the digest of the first contract of the line
    assets: tuple[str, ...]
    evidence: Evidence
    challenge: bytes  # the one in the evidence, if the KMS issued it, has not seen it used, and it has not expired
    challenge_live: bool
    seen: SeenEndorsements


@dataclass(frozen=True, slots=True)
class AssetDecision:
    """These deposits may go to the node once the use is in the witnessed log and counts there. Built only here."""

    line: bytes  # the digest of the first contract of the line
    contract: bytes  # the digest of the contract in force
    role: Role
    task: str
    deposits: tuple[DepositRecord, ...]  # in the order asked for
    evidence: AppraisedEvidence
    checks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PublishedUse:
    """A decision whose entry a quorum of witnesses has seen, and which the fold counts. Built only here."""

    decision: AssetDecision
    index: int


def examine_assets(state: State, asked: AssetsAsked, *, at: int) -> Examination[AssetDecision]:
    """Hold a node's request for assets against the contract in force at `at` (seconds since 1970)."""
    steps = Steps(ASSET_STEPS, ReleaseRefused)
    # 1. The contract, in force now, and the node, as for a transport key.
    line = check_in_force(steps, state, asked, at=at)
    if line is None:
        return steps.stopped()
    contract = line.current
    appraised = check_evidence(steps, line, asked, at)
    if appraised is None:
        return steps.stopped()
    check_settings(steps, contract, appraised, at=at)
    # 2. Every asset: deposited for this task and this code, granted, in time, with a use left.
    task = contract.serving.name
    found = [check_use(steps, line, asset, task, at=at) for asset in asked.assets]
    deposits = tuple(deposit for deposit in found if deposit is not None)
    if len(deposits) < len(found):
        return steps.stopped()
    distinct = len(set(asked.assets)) == len(asked.assets)
    steps.check("asset.deposit", distinct, "an asset is asked for twice")
    _check_workloads(steps, deposits, appraised)
    # 3. And every owner's release policy holds of what was proven.
    _check_policies(steps, line, asked, appraised, at=at)
    return steps.examined(
        lambda: AssetDecision(
            asked.contract, contract.digest(), asked.evidence.binding.role, task, deposits, appraised, steps.ids
        )
    )


def examine_use(
    decision: AssetDecision,
    entry: bytes,
    *,
    index: int,
    path: tuple[bytes, ...],
    checkpoint: VerifiedCheckpoint,
    state: State,
) -> Examination[PublishedUse]:
    """Log, then act: the use is in a checkpoint that the quorum cosigned, and the fold counts it.

    `checkpoint` was verified against the constitution in force; `state` is the fold up to and including the entry.
    """
    steps = Steps(USE_PUBLICATION_STEPS, ReleaseRefused)
    # 1. Inclusion under the cosigned root.
    check_included(steps, "release.inclusion", entry, index=index, path=path, checkpoint=checkpoint)
    # 2. Between decision and publication the contract did not change or end, and nobody took a deposit back.
    line = state.lines.get(decision.line)
    now = checkpoint.cosigned_at  # waiting for the log took time
    unchanged = (
        line is not None
        and still_in_force(line, decision.contract, at=now)
        and all(line.custody.deposits.get(one.deposit.terms.asset) == one for one in decision.deposits)
        and all(one.placed.digest not in line.revoked for one in decision.deposits)
        and all(now < one.deposit.terms.expires for one in decision.deposits)
    )
    steps.check("release.unchanged", unchanged, "the contract or a deposit changed or ended meanwhile")
    # 3. It counts there: another instance that logged the last use before it was first.
    counted = line is not None and any(record.placed.entry == entry for record in line.custody.counted)
    steps.check("asset.effect", counted, "the log's rules give the use no effect: no use may be left, ask again to see")
    return steps.examined(lambda: PublishedUse(decision, index))


def _check_workloads(steps: Steps, deposits: tuple[DepositRecord, ...], appraised: AppraisedEvidence) -> None:
    """What an owner meant for some code goes to no other, whatever a successor of the contract names."""
    for deposit in deposits:
        terms = deposit.deposit.terms
        meant = terms.workloads == "task" or appraised.workload in terms.workloads
        steps.check("asset.workload", meant, f"{terms.asset} was deposited for other workloads than the node's")


def _check_policies(
    steps: Steps, line: ContractLine, asked: AssetsAsked, appraised: AppraisedEvidence, *, at: int
) -> None:
    task = line.current.serving.name
    grants = {asset: grant_of(line.current, asset, task) for asset in asked.assets}
    policies = {asset: grant.policy for asset, grant in grants.items() if grant is not None}
    purpose = Purpose(asked.contract, line.current, task, asked.evidence.binding.role)
    steps.include(examine_release_policy(policies, release_claims(appraised, purpose, at=at)))
