"""Whether a manifest expects the workloads that contract and constitution name: no key goes to others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from cloister.examination import Examination, Steps
from cloister.formats.node_manifest import MEASURED, Node
from cloister.services.deployment.examination import ManifestRefused

WORKLOAD_STEPS: Final = ("manifest.workload",)


def examine_workloads(nodes: Sequence[Node], named: Mapping[str, Sequence[bytes]]) -> Examination[tuple[Node, ...]]:
    """Hold the expected measurement of each node against those `named` for its role, 48 bytes each.

    A role of which nothing is known is not examined: the contract names gateways, a constitution the KMS.
    """
    steps = Steps(WORKLOAD_STEPS, ManifestRefused)
    judged = [node for node in nodes if node.role in MEASURED and node.role in named and node.replicas]
    for node in judged:
        known = ", ".join(f"{one.hex()[:16]}…" for one in named[node.role]) or "none"
        expected = f"{node.workload.hex()[:16]}…" if node.workload else "no workload"
        steps.check(
            "manifest.workload",
            node.workload in named[node.role],
            f"node {node.name}, workload: the manifest expects {expected}, and {known} is what a {node.role} may be",
        )
    steps.check("manifest.workload", True, "")
    return steps.examined(lambda: tuple(judged))
