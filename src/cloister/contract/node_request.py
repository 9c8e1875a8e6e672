"""What every request of a node's is held against first: the contract in force, and the node that shows itself.

Whatever a node asks for, a transport key, assets or an identity, begins and ends with these steps.
"""

from __future__ import annotations

from typing import Protocol

from cloister.attest.evidence import AppraisedEvidence, Expected, examine_evidence
from cloister.attest.seen import SeenEndorsements
from cloister.contract.release_policy import grants_in_force
from cloister.contract.state import ContractLine, State
from cloister.examination import Steps
from cloister.formats.contract import TIERS, Contract
from cloister.formats.evidence import Evidence


class Shown(Protocol):
    """What any request of a node's shows of it."""

    @property
    def contract(self) -> bytes:
        """The digest of the first contract of the line."""

    @property
    def evidence(self) -> Evidence:
        """The node's."""

    @property
    def challenge(self) -> bytes:
        """The one in the evidence."""

    @property
    def challenge_live(self) -> bool:
        """Whether the KMS issued it, has not seen it used, and it has not expired."""

    @property
    def seen(self) -> SeenEndorsements:
        """What the KMS met in evidence before."""


def check_in_force(steps: Steps, state: State, asked: Shown, *, at: int) -> ContractLine | None:
    """The contract line that the node asks under: in the witnessed log, not revoked, valid `at` (since 1970)."""
    line = state.lines.get(asked.contract)
    steps.check("release.contract", line is not None, f"no contract {asked.contract.hex()[:16]}… in the log")
    if line is None:
        return None
    steps.check("release.contract", not line.ended, "the contract was revoked by one who may")
    valid = line.current.not_before <= at < line.current.not_after
    steps.check("release.validity", valid, "the contract is not valid at this time")
    return line


def check_evidence(steps: Steps, line: ContractLine, asked: Shown, at: int) -> AppraisedEvidence | None:
    """The node in the role that the contract names for it, not revoked, with evidence that answers us."""
    role = asked.evidence.binding.role
    revoked = asked.evidence.keys.sign in line.revoked_nodes
    steps.check("release.node", not revoked, "the node is revoked: it has to start with new keys")
    contract = line.current
    reference = next((reference for reference in contract.serving.nodes if reference.role == role), None)
    steps.check("release.role", reference is not None, f"the contract names no {role}")
    steps.check("release.challenge", asked.challenge_live, "not issued here, used before, or expired")
    if reference is None:
        return None
    expected = Expected(asked.challenge, contract.digest(), reference)
    return steps.include(examine_evidence(asked.evidence, contract.appraisal, expected, at=at, seen=asked.seen))


def check_settings(steps: Steps, contract: Contract, appraised: AppraisedEvidence, *, at: int) -> None:
    """The node enforces these itself; its measured code and bound settings say which values it enforces."""
    values, task = appraised.values, contract.serving
    profiles = {profile.hex() for profile in task.sandbox.profiles}
    steps.check("release.sandbox", values.get("sandbox") in profiles, "another sandbox profile")
    confined = TIERS[TIERS.index(task.sandbox.tier) :]
    shortfall = f"the sandbox is of a lower tier than {task.sandbox.tier}"
    steps.check("release.tier", values.get("tier") in confined, shortfall)
    steps.check("release.engine", values.get("engine") == task.engine.digest.hex(), "another engine")
    granted = {grant.asset for grant in grants_in_force(contract, task.name, at=at)}
    models = {asset.digest.hex() for asset in contract.assets if asset.kind == "model" and asset.name in granted}
    steps.check("release.model", values.get("model") in models, "a model that no grant in force lets this task use")
    named = values.get("endpoints") == " ".join(f"{endpoint.method} {endpoint.path}" for endpoint in task.endpoints)
    steps.check("release.endpoints", named, "other endpoints")


def still_in_force(line: ContractLine, contract: bytes, *, at: int) -> bool:
    """Whether the contract with this digest, under which something was decided, is what is in force on `line`."""
    current = line.current
    return not line.ended and line.digest == contract and current.not_before <= at < current.not_after
