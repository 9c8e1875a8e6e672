"""The steps before a key or an asset leaves, in their order: on the node's request, and on its entry in the log."""

from __future__ import annotations

from cloister.attest.evidence import EVIDENCE_STEPS
from cloister.contract.release_policy import RELEASE_POLICY_STEPS

IN_FORCE_STEPS = ("release.contract", "release.validity")
_OF_NODE = ("release.node", "release.role", "release.challenge", *EVIDENCE_STEPS)
_OF_EPOCHS = ("release.epoch", "release.epoch-window", "release.revoked")

OPENING_STEPS = (*IN_FORCE_STEPS, *_OF_NODE)  # whatever a node asks for
SETTINGS_STEPS = ("release.sandbox", "release.tier", "release.engine", "release.model", "release.endpoints")

RELEASE_STEPS = (*IN_FORCE_STEPS, *_OF_EPOCHS, *_OF_NODE, *SETTINGS_STEPS, *RELEASE_POLICY_STEPS)

PUBLICATION_STEPS = ("release.inclusion", "release.unchanged", "release.effect")

# Of assets: every one asked for has to pass, in the KMS and again in the fold, at the use's place in the log.
USE_STEPS = ("asset.deposit", "asset.task", "asset.contract", "asset.grant", "asset.expiry", "asset.uses")

ASSET_STEPS = (*OPENING_STEPS, *SETTINGS_STEPS, *USE_STEPS, "asset.workload", *RELEASE_POLICY_STEPS)

USE_PUBLICATION_STEPS = ("release.inclusion", "release.unchanged", "asset.effect")
