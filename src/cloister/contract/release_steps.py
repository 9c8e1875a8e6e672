"""The steps before a key or an asset leaves, in their order: on the node's request, and on its entry in the log."""

from __future__ import annotations

from cloister.attest.evidence import EVIDENCE_STEPS
from cloister.contract.release_policy import RELEASE_POLICY_STEPS

RELEASE_STEPS = (
    "release.contract",
    "release.validity",
    "release.epoch",
    "release.epoch-window",
    "release.revoked",
    "release.node",
    "release.role",
    "release.challenge",
    *EVIDENCE_STEPS,
    "release.sandbox",
    "release.tier",
    "release.engine",
    "release.model",
    "release.endpoints",
    *RELEASE_POLICY_STEPS,
)

PUBLICATION_STEPS = ("release.inclusion", "release.unchanged", "release.effect")

# Of assets: every one asked for has to pass, in the KMS and again in the fold, at the use's place in the log.
USE_STEPS = ("asset.deposit", "asset.task", "asset.contract", "asset.grant", "asset.expiry", "asset.uses")

_OF_EPOCHS = ("release.epoch", "release.epoch-window", "release.revoked")
ASSET_STEPS = (
    *(step for step in RELEASE_STEPS if step not in (*_OF_EPOCHS, *RELEASE_POLICY_STEPS)),
    *USE_STEPS,
    "asset.workload",
    *RELEASE_POLICY_STEPS,
)

USE_PUBLICATION_STEPS = ("release.inclusion", "release.unchanged", "asset.effect")
