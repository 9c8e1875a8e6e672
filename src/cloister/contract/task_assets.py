"""Holds what a node was given for its task against the contract: the key of its model, and the sections of its parties.

Who deposited each, for which contract, task and code, was examined before; what a section holds, `sections` examines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cloister.contract.sections import NO_SECTIONS, VerifiedSections, examine_sections, sections_of
from cloister.errors import Refused
from cloister.examination import Examination, Steps
from cloister.formats.contract import Asset, Contract
from cloister.formats.custody import DATA_KEY
from cloister.secret import SecretBytes

MODEL_STEPS: Final = ("model.asset", "model.key")


class ModelRefused(Refused):
    """The sealed model that lies here cannot be opened for this task."""


@dataclass(frozen=True, slots=True)
class VerifiedTaskAssets:
    """What the parties of its contract give a node's task. Built only here."""

    sections: VerifiedSections
    model_key: SecretBytes | None  # 32 bytes; None where the node's model is not sealed


NO_ASSETS: Final = VerifiedTaskAssets(NO_SECTIONS, None)


def wanted_assets(contract: Contract, task: str, model: bytes | None) -> tuple[Asset, ...]:
    """What a node asks the KMS for: the sections of `task`, and its model where that is sealed.

    `model` is the digest of the sealed model that lies there, 32 bytes.

    Raises:
        ModelRefused: the contract grants the task no such model; nobody is asked for its key then.
    """
    sections = sections_of(contract, task)
    if model is None:
        return sections
    asset = _model_of(contract, task, model)
    if asset is None:
        raise ModelRefused("model.asset", _shortfall(contract, task, model))
    return (*sections, asset)


def examine_model_key(
    values: Mapping[str, SecretBytes], contract: Contract, *, task: str, model: bytes
) -> Examination[SecretBytes]:
    """Hold what the model's owner deposited, by the asset's name, against the contract."""
    steps = Steps(MODEL_STEPS, ModelRefused)
    # 1. The model that lies here is one that the contract grants the task …
    asset = _model_of(contract, task, model)
    steps.check("model.asset", asset is not None, _shortfall(contract, task, model), found=asset.name if asset else "")
    if asset is None:
        return steps.stopped()
    # 2. … and what its owner deposited for it has the form of its key. Whether it opens the model, opening shows.
    key = values.get(asset.name, SecretBytes(b""))
    shortfall = f"what {asset.owner} deposited as {asset.name} has {len(key)} bytes, and the key of a model {DATA_KEY}"
    steps.check("model.key", len(key) == DATA_KEY, shortfall, found=f"of {asset.owner}")
    return steps.examined(lambda: key)


def task_assets(
    values: Mapping[str, SecretBytes], contract: Contract, *, task: str, model: bytes | None
) -> VerifiedTaskAssets:
    """What all of it is together.

    Raises:
        ModelRefused, SectionsRefused: it is not what the contract says.
    """
    key = None if model is None else examine_model_key(values, contract, task=task, model=model).require()
    return VerifiedTaskAssets(examine_sections(values, contract, task=task).require(), key)


def _model_of(contract: Contract, task: str, model: bytes) -> Asset | None:
    return next((asset for asset in contract.granted(task, "model") if asset.digest == model), None)


def _shortfall(contract: Contract, task: str, model: bytes) -> str:
    named = ", ".join(f"{one.name} {one.digest.hex()[:16]}…" for one in contract.granted(task, "model")) or "none"
    return f"the contract grants {task} {named}; the sealed model here is {model.hex()[:16]}…"
