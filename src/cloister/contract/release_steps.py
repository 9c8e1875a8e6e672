"""The steps before a key leaves, in their order: on the node's request, and on the release in the log."""

from __future__ import annotations

from cloister.attest.evidence import EVIDENCE_STEPS

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
)

PUBLICATION_STEPS = ("release.inclusion", "release.unchanged", "release.effect")
