"""Whether a machine takes a revision: who signed it, what it follows, what it would have run. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge, UsageError
from cloister.examination import Examination, Steps
from cloister.formats.node_manifest import Node, NodeManifest
from cloister.services.deployment.signed_manifest import SignedManifest, named_signer, open_node_manifest

MANIFEST_STEPS: Final = (
    "manifest.operator",
    "manifest.signature",
    "manifest.deployment",
    "manifest.number",
    "manifest.previous",
    "manifest.restores",
    "manifest.roles",
    "manifest.settings",
)


class ManifestRefused(Refused):
    """A machine does not take a revision. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a machine holds revisions against."""

    deployment: str
    machine: str
    operators: frozenset[bytes]  # public keys
    roles: frozenset[str]  # that it may be told to run
    first: int  # the number from which a machine without any takes revisions
    taken: Mapping[int, NodeManifest]  # all that it took before, by number

    @property
    def head(self) -> NodeManifest | None:
        """The last that it took."""
        return self.taken[max(self.taken)] if self.taken else None


@dataclass(frozen=True, slots=True)
class AcceptedManifest:
    """A revision that follows, by an operator's key, with settings that the roles take. Built only here."""

    signed: SignedManifest

    @property
    def manifest(self) -> NodeManifest:
        """What it says."""
        return self.signed.manifest


def examine_manifest(
    data: bytes, standing: Standing, *, require_settings: Callable[[Node], object] | None
) -> Examination[AcceptedManifest]:
    """Hold a signed revision against what this machine has; `require_settings` raises `UsageError` for a bad node.

    It is None for a revision that was missed and is not to be started: what this machine may run is then no question,
    or one that it refused before could never be followed by another.
    """
    steps = Steps(MANIFEST_STEPS, ManifestRefused)
    # 1. Only operators' words count: to what others wrote not a moment is given, the rest of the content least of all.
    if steps.attempt("manifest.operator", lambda: _named_operator(data, standing), MalformedInput, TooLarge) is None:
        return steps.stopped()
    # 2. The signature of the one that it names, before anything of the content is looked at.
    signed = steps.attempt("manifest.signature", lambda: open_node_manifest(data), BadSignature, MalformedInput)
    if signed is None:
        return steps.stopped()
    manifest = signed.manifest
    # 3. Its place: no other deployment's, none that was taken before, none that leaves one out.
    shortfall = f"it is of {manifest.deployment}, this machine is of {standing.deployment}"
    steps.check("manifest.deployment", manifest.deployment == standing.deployment, shortfall)
    _check_place(steps, manifest, standing)
    # 4. What would run: roles that this machine may run, with settings that they take and paths that it allows.
    if require_settings is not None:
        _check_nodes(steps, manifest.of(standing.machine), standing, require_settings)
    for step in ("manifest.roles", "manifest.settings") if steps.clean else ():
        steps.check(step, True, "")
    return steps.examined(lambda: AcceptedManifest(signed))


def _check_nodes(
    steps: Steps, nodes: Sequence[Node], standing: Standing, require_settings: Callable[[Node], object]
) -> None:
    denied = sorted({node.role for node in nodes} - standing.roles)
    steps.check("manifest.roles", not denied, f"this machine may not run {', '.join(denied)}")
    for node in nodes if steps.clean else ():
        steps.attempt("manifest.settings", partial(require_settings, node), UsageError)


def _named_operator(data: bytes, standing: Standing) -> bytes:
    signer = named_signer(data)
    if signer not in standing.operators:
        raise MalformedInput(f"{signer.hex()[:16]}… is no operator's key here")
    return signer


def _check_place(steps: Steps, manifest: NodeManifest, standing: Standing) -> None:
    head, number = standing.head, manifest.number
    if head is None:
        wanted = f"this machine has none yet, and takes revisions from number {standing.first} on, not {number}"
        steps.check("manifest.number", number >= standing.first, wanted)
        steps.check("manifest.previous", True, "")
    else:
        known = " again" if standing.taken.get(number) == manifest else ""
        shortfall = f"it is number {number}{known}, and the one after {head.number} is wanted"
        steps.check("manifest.number", number == head.number + 1, shortfall)
        shortfall = f"it does not follow revision {head.number} of this machine, {head.digest().hex()[:16]}…"
        steps.check("manifest.previous", manifest.previous == head.digest(), shortfall)
    restored = standing.taken.get(manifest.restores)  # what is older than this machine's first is the operator's word
    same = restored is None or restored.nodes == manifest.nodes
    steps.check("manifest.restores", same, f"its nodes are not those of revision {manifest.restores}")
