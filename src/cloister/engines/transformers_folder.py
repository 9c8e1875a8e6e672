"""What a model's folder holds and how it must be loaded, by its small files; the weights are read elsewhere.

Refused by name: weights in pickles, which are programs; code of the model's own; and what transformers would load only
in part, since a layer that is made up answers garbage.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cloister.engines.model_folder import read_json
from cloister.errors import MalformedInput

Pooling = Literal["mean", "cls", "lasttoken"]

PICKLES: Final = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".h5", ".msgpack")
_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})
_MAXIMUM_INDEX = 32 * 1024 * 1024  # bytes: a line for each parameter, of which experts have many
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors")


@dataclass(frozen=True, slots=True)
class Described:
    """A model's kind. `pooling` None: it writes; otherwise how tokens' vectors become the text's."""

    model_type: str
    pooling: Pooling | None
    normalized: bool


def describe(folder: Path) -> Described:
    """What lies in `folder`.

    Raises:
        MalformedInput: no model that this engine loads, with what it is instead.
    """
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise MalformedInput("config.json says no model_type: this is no model of transformers")
    _check_weights(folder)
    if "transformers_weights" in config:
        raise MalformedInput("config.json names its weights by transformers_weights: *.safetensors are found without")
    if "auto_map" in config:
        raise MalformedInput("config.json has an auto_map: the model brings code of its own, which is not run here")
    kind = config["model_type"]
    if (folder / "modules.json").exists():
        return Described(kind, *_sentence_transformer(folder))
    architectures = config.get("architectures") or []
    if any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in architectures):
        return Described(kind, None, normalized=False)
    if any("For" in str(name) for name in architectures if not str(name).endswith("ForMaskedLM")):
        raise MalformedInput(f"{architectures[0]} neither writes text nor embeds it: see docs/howto/engines.md")
    return Described(kind, "mean", normalized=True)


def _check_weights(folder: Path) -> None:
    """Refuse pickles wherever they lie: an index, or a library's fallback, may reach those beside safetensors."""
    pickles = sorted(path.name for path in folder.rglob("*") if path.suffix.lower() in PICKLES)
    if pickles:
        raise MalformedInput(
            f"{pickles[0]} is no safetensors file: a pickle is a program; convert the weights if need be, and remove it"
        )
    if not any(folder.glob("*.safetensors")):
        raise MalformedInput("there are no weights: *.safetensors is missing")
    for index in sorted(folder.rglob("*.index.json")):
        _check_index(index)


def _check_index(index: Path) -> None:
    """An index names its shards by any path: each has to be a safetensors file that lies beside it."""
    said = read_json(index, most=_MAXIMUM_INDEX)
    shards = said.get("weight_map") if isinstance(said, dict) else None
    if not isinstance(shards, dict):
        raise MalformedInput(f"{index.name} has no weight_map")
    for shard in shards.values():
        if not isinstance(shard, str) or not _SHARD.fullmatch(shard):
            raise MalformedInput(f"{index.name} names weights that are no *.safetensors file beside it: {shard!r:.80}")


def _sentence_transformer(folder: Path) -> tuple[Pooling, bool]:
    modules = {
        str(one.get("type", "")).rpartition(".")[2]: str(one.get("path", ""))
        for one in read_json(folder / "modules.json")
    }
    if unknown := sorted(modules.keys() - _MODULES):
        raise MalformedInput(f"modules.json has a module {unknown[0]}: this engine knows {', '.join(sorted(_MODULES))}")
    if "Pooling" not in modules or ".." in modules["Pooling"]:
        raise MalformedInput("modules.json has no Pooling: what the text's vector is, is not said")
    said = read_json(folder / modules["Pooling"] / "config.json")
    chosen = [name for name, on in said.items() if name.startswith("pooling_mode_") and on is True]
    known: dict[str, Pooling] = {
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_cls_token": "cls",
        "pooling_mode_lasttoken": "lasttoken",
    }
    if isinstance(said.get("pooling_mode"), str):  # how newer versions say it
        chosen = [f"pooling_mode_{said['pooling_mode']}" + ("_tokens" if said["pooling_mode"] == "mean" else "")]
        chosen = [f"{chosen[0]}_token" if said["pooling_mode"] == "cls" else chosen[0]]
    if len(chosen) != 1 or chosen[0] not in known:
        raise MalformedInput(f"the pooling is none of {', '.join(known.values())}, or more than one")
    return known[chosen[0]], "Normalize" in modules
