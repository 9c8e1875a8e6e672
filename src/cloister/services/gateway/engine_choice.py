"""What a gateway has in its sandbox: the engine that its settings name, the sizes that they give, its sealed model.

All of it is decided before anything starts, by the same rules wherever it is measured: the profile's digest, which a
contract names, depends on the engine, on the sizes, and on how large the model is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import msgspec

from cloister.contract.task_assets import ModelRefused
from cloister.errors import UsageError
from cloister.formats.contract import TIERS, Tier
from cloister.hosting.setting_words import MAY_BE
from cloister.sandbox.closure import ECHO, SPEECH, TRANSFORMERS, WHISPER, Engine, StagedEngine, stage
from cloister.sandbox.devices import Devices
from cloister.sandbox.model import ModelSource
from cloister.sandbox.plan import Choice, Plan, plan
from cloister.sandbox.profile import MIB
from cloister.sandbox.sizes import Sizes
from cloister.sandbox.upstream import upstream_engine
from cloister.sealing.artifact import Artifact, open_artifact
from cloister.secret import SecretBytes
from cloister.services.gateway.security import Runs
from cloister.tee.measurement import measured_needs

ENGINES: Final[dict[str, Engine]] = {
    "speech": SPEECH,
    "echo": ECHO,
    "whisper": WHISPER,
    "transformers": TRANSFORMERS,
}

EngineName = Annotated[
    str, msgspec.Meta(extra={MAY_BE: f"one of {', '.join(ENGINES)}, or the folder of an upstream server (./server)"})
]
Mebibytes = Annotated[int, msgspec.Meta(ge=16, le=2**24)]


class SandboxSizes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The `[sizes]` table: what the engine may use, each as its own needs say where nothing is set.

    They are in the sandbox's profile: changing one makes another, and the contract must name it.
    """

    memory_mib: Mebibytes | None = None  # beside the model's files, which are always counted in
    tasks: Annotated[int, msgspec.Meta(ge=1, le=65_536)] | None = None  # processes and threads
    scratch_mib: Mebibytes | None = None  # of /tmp
    request_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] | None = None

    def holding(self, engine: Engine, files: Sequence[tuple[str, int]]) -> Sizes:
        """What `engine` may use with a model of these files, each with its size in bytes.

        Where nothing is set, memory is the engine's own need, the model's files, and the weights as often as the engine
        has them beside those.
        """
        own = engine.sizes
        return replace(
            own,
            tasks=self.tasks or own.tasks,
            scratch_bytes=_bytes(self.scratch_mib, own.scratch_bytes),
            request_seconds=self.request_seconds or own.request_seconds,
            memory_bytes=_bytes(self.memory_mib, own.memory_bytes),
            model_copies=own.model_copies if self.memory_mib is None else 0,
        ).holding(files)


@dataclass(frozen=True, slots=True)
class Held:
    """How an engine is held: its sizes, by what, with which devices, and in which tier at least."""

    sizes: SandboxSizes
    tool: Choice = "auto"
    devices: Devices = "none"
    floor: Tier = TIERS[0]


@dataclass(frozen=True, slots=True)
class ChosenEngine:
    """An engine, how it is held, and the sealed model that is opened into it."""

    engine: Engine
    plan: Plan
    model: Artifact | None

    def staged(self, into: Path) -> StagedEngine:
        """The engine at its address below `into`; raises as `stage`."""
        return stage(self.engine, into)

    def runs(self, staged: StagedEngine) -> Runs:
        """The digests of the sandbox, the engine and its model, as found on this machine."""
        return what_runs(staged, self.plan, self.model)

    def source(self, key: SecretBytes | None) -> ModelSource | None:
        """The sealed model, opened by `key` anew for each engine that starts; None where it has none.

        Raises:
            ArtifactRefused: `key` is another artifact's.
            ModelRefused: there is none, and a sealed model.
        """
        if self.model is None:
            return None
        if key is None:
            raise ModelRefused("model.key", "was not given")
        return self.model.source(key)


def what_runs(staged: StagedEngine, planned: Plan, model: Artifact | None = None) -> Runs:
    """The digests of the sandbox, the engine and its model: the sealed one, or the one that comes with the engine."""
    digest = staged.model_digest if model is None else model.digest
    return Runs(planned.profile.digest, staged.digest, digest, planned.profile.tier)


def measured_beside(planned: Plan, engine: Engine | None = None) -> dict[str, bytes]:
    """What a gateway measures beside its closure, by its name in the manifest: its sandbox, and what upstreams need.

    Of an upstream these are the system's shared objects that its files name. Other engines' are in the closure.

    Raises:
        ClosureRefused: as `measured_needs`.
    """
    beside = {"sandbox-profile": planned.profile.digest}
    if engine is None or engine.tree is None:
        return beside
    needs = measured_needs(file for file in sorted(engine.tree.rglob("*")) if file.is_file())
    return beside | {f"upstream/{name}": digest for name, digest in needs.items()}


def engine_named(name: str) -> Engine:
    """One of `ENGINES`, or the server whose folder `name` is, with its definition in it.

    Raises:
        UsageError: it is neither.
        MalformedInput: the folder's definition is none.
    """
    if name not in ENGINES and "/" not in name:
        known = ", ".join(ENGINES)
        raise UsageError(f"engine {name!r} is none: there are {known}, and the folder of an upstream server (./server)")
    return ENGINES[name] if name in ENGINES else upstream_engine(Path(name))


def require_engine(name: str, model: Path | None) -> None:
    """Hold that `name` could be an engine, with this `model` or none, as far as settings tell: no folder is looked at.

    Raises:
        UsageError: it could not.
    """
    if "/" not in name:
        require_model(engine_named(name), model)


def require_model(engine: Engine, model: Path | None) -> None:
    """Hold that `engine` takes the sealed model, or does without where there is none.

    Raises:
        UsageError: it does not.
    """
    if engine.takes_model == "must" and model is None:
        raise UsageError(
            f"the engine {engine.name} computes with a model of yours, and none is named: --model ARTIFACT, or model in"
            " the settings; cloister model seal makes one of a folder of weights"
        )
    if engine.takes_model == "no" and model is not None:
        takers = ", ".join(name for name, one in ENGINES.items() if one.takes_model != "no")
        raise UsageError(
            f"the engine {engine.name} takes no model: name none, or choose the engine that is to compute with it:"
            f" {takers}, or the folder of an upstream server"
        )


def chosen_engine(name: str, model: Path | None, how: Held) -> ChosenEngine:
    """What a gateway of this machine would run.

    Raises:
        ArtifactRefused, MalformedInput, UsageError: what lies at `model` is no sealed model, or not whole.
        UsageError: the engine takes no model, or needs one.
        SandboxUnavailable: this machine cannot hold the engine as it must be held.
    """
    engine = engine_named(name)
    require_model(engine, model)
    artifact = None if model is None else open_artifact(model)
    files = [] if artifact is None else [(file.path, file.size) for file in artifact.manifest.files]
    sizes = how.sizes.holding(engine, files)
    confinement, devices = engine.confinement, how.devices
    planned = plan(sizes, confinement=confinement, devices=devices, tool=how.tool, floor=how.floor)
    return ChosenEngine(engine, planned, artifact)


def _bytes(mebibytes: int | None, otherwise: int) -> int:
    return otherwise if mebibytes is None else mebibytes * MIB
