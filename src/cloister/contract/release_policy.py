"""Release policies: what has to hold before one key may go out, asked of what is proven and of nothing else.

A policy is a list of expressions, all of which have to hold (any of several: `||`); a claim that is not there denies.
The claims are one tree, made here and nowhere else (docs/formats/expressions.md): what the hardware or a named verifier
signed, what the node's evidence binds, the contract, the task and the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from cloister.attest.evidence import AppraisedEvidence
from cloister.errors import Refused
from cloister.examination import Examination, Steps
from cloister.formats.contract import Contract, Grant
from cloister.formats.policy_expression import Claims, Expressions, unheld

RELEASE_POLICY_STEPS: Final = ("release.policy",)
_OF_DEVICES: Final = MappingProxyType(
    {
        "chips": "chip",
        "products": "product",
        "boards": "board",
        "serials": "serial",
        "drivers": "driver",
        "vbioses": "vbios",
        "modes": "mode",
    }
)


class ReleasePolicyRefused(Refused):
    """A key's release policy does not hold for the node that asks for it."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a key is asked for."""

    line: bytes  # the digest of the first contract of the line
    contract: Contract  # in force
    task: str  # its name in the contract
    role: str


def grants_in_force(contract: Contract, task: str, *, at: int) -> tuple[Grant, ...]:
    """The grants for a task that are not over at `at` (seconds since 1970)."""
    return tuple(grant for grant in contract.grants if grant.task == task and at < grant.not_after)


def policies_of(contract: Contract, appraised: AppraisedEvidence, *, at: int) -> Mapping[str, Expressions]:
    """The policies in force, by asset, that a node has to meet for the transport key of the task that serves.

    Of the model that it is set to run, and of all that is no model: the key opens what clients send to that model's
    engine, so it goes where the model and whatever else the task uses may go, and nowhere else.
    """
    own = appraised.values.get("model")
    other = {asset.name for asset in contract.assets if asset.kind == "model" and asset.digest.hex() != own}
    grants = grants_in_force(contract, contract.serving.name, at=at)
    return {grant.asset: grant.policy for grant in grants if grant.asset not in other}


def release_claims(appraised: AppraisedEvidence, purpose: Purpose, *, at: int) -> Claims:
    """The claims of one decision, at `at` (seconds since 1970); bytes are lower-case hexadecimal digits."""
    contract = purpose.contract
    return {
        **appraised.claims,
        "platform": appraised.platform,
        "platform_measurement": appraised.platform_measurement.hex(),
        "workload": appraised.workload.hex(),
        "role": purpose.role,
        "settings": dict(appraised.values),
        "unsafe": sorted(appraised.unsafe),
        "gpus": _devices(appraised),
        "node": {"key": appraised.keys.sign.hex(), "keys": appraised.keys.thumbprint().hex()},
        "contract": {
            "name": contract.name,
            "sequence": contract.sequence,
            "line": purpose.line.hex(),
            "digest": contract.digest().hex(),
        },
        "task": purpose.task,
        "time": at,
    }


def examine_release_policy(
    policies: Mapping[str, Expressions], claims: Claims
) -> Examination[Mapping[str, Expressions]]:
    """Hold every key's policy, by the key's name, against the claims; those that hold are all of them, or none.

    A key without an expression has none to hold: contract and appraisal policy alone decide on it.
    """
    steps: Steps = Steps(RELEASE_POLICY_STEPS, ReleasePolicyRefused)
    wrong = [f"{key}: {one}" for key, policy in sorted(policies.items()) for one in unheld(policy, claims)]
    count = sum(map(len, policies.values()))
    found = f"{count} expressions of {len(policies)} keys hold"
    steps.check("release.policy", not wrong, "; ".join(wrong), found=found)
    return steps.examined(lambda: policies)


def _devices(appraised: AppraisedEvidence) -> dict[str, Any]:
    """GPUs and switches together: how many, and of each thing that they say the distinct values, sorted."""
    told = {names: sorted({getattr(one, name) for one in appraised.gpus}) for names, name in _OF_DEVICES.items()}
    kinds = [one.kind for one in appraised.gpus]
    return told | {"count": kinds.count("gpu"), "switches": kinds.count("switch")}
