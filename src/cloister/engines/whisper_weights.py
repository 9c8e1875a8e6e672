"""Holds the weights' shapes against what a Whisper model is: CTranslate2 takes them as they are, and reads beyond them.

Every variable that such a model has is there in the shape that the others give it, and none that it does not have.
Source: CTranslate2, python/ctranslate2/specs/whisper_spec.py and transformer_spec.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cloister.engines.ctranslate2_file import ModelFile
from cloister.errors import MalformedInput

SPECIFICATION: Final = "WhisperSpec"
REVISION: Final = 3
HEARD: Final = 1500  # places of a sound of 30 s
WRITTEN: Final = 448  # tokens, at most
BANDS: Final = (80, 128)
_MOST = {"layers": 128, "width": 8192, "inner": 65_536}
_FLOATS: Final = ("float32", "float16", "bfloat16")
_LAYER = re.compile(r"(encoder|decoder)/layer_(\d{1,3})/")
# Settings that are single numbers, from and to; all that change which variables are read are as Whisper has them.
_SETTINGS: Final = {
    "decoder/activation": (0, 6),
    "decoder/alibi": (0, 0),
    "decoder/alibi_use_positive_positions": (0, 1),
    "decoder/alignment_heads": (1, 1),
    "decoder/alignment_layer": (-1, -1),
    "decoder/pre_norm": (1, 1),
    "decoder/scale_alibi": (0, 1),
    "decoder/scale_embeddings": (0, 1),
    "decoder/start_from_zero_embedding": (0, 0),
}
_HEADS: Final = ("encoder/num_heads", "decoder/num_heads")

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sizes:
    """`layers` and `heads` are the decoder's, `tokens` the rows of its embedding, `bands` those of a sound."""

    tokens: int
    bands: int
    layers: int
    heads: int


def hold(model: ModelFile) -> Sizes:
    """The model's sizes.

    Raises:
        MalformedInput: it is no Whisper model, or its variables do not belong together; it names the first of them.
    """
    if (model.specification, model.revision) != (SPECIFICATION, REVISION):
        found = f"{model.specification} {model.revision}"
        raise MalformedInput(f"model.bin is a {found}, and {SPECIFICATION} {REVISION} is expected: convert it again")
    tokens, width = _shape(model, "decoder/embeddings/weight", 2)
    _, bands, _ = _shape(model, "encoder/conv1/weight", 3)
    if bands not in BANDS or width > _MOST["width"]:
        raise MalformedInput(f"model.bin takes {bands} bands of sound and is {width} wide, as no Whisper model is")
    expected = dict(_ends(tokens, bands, width))
    layers = {side: _layers(model, side) for side in ("encoder", "decoder")}
    for side, count in layers.items():
        inner = _shape(model, f"{side}/layer_0/ffn/linear_0/weight", 2)[0]
        if inner > _MOST["inner"]:
            raise MalformedInput(f"model.bin: {side}/layer_0/ffn/linear_0/weight has {inner} rows")
        for layer in range(count):
            expected |= dict(_layer(f"{side}/layer_{layer}", width, inner, listens=side == "decoder"))
    heads = [_setting(model, name, 1, width) for name in _HEADS]
    for name, count in zip(_HEADS, heads, strict=True):
        if width % count:
            raise MalformedInput(f"model.bin: {name} is {count}, which does not divide the width, {width}")
    _hold_variables(model, expected)
    return Sizes(tokens, bands, layers["decoder"], heads[1])


def _hold_variables(model: ModelFile, expected: dict[str, Shape]) -> None:
    scales = set()
    for name, shape in expected.items():
        found = _shape(model, name, len(shape))
        if found != shape:
            raise MalformedInput(f"model.bin: {name} has the shape {found}, and the other weights need {shape}")
        scales |= _hold_kind(model, name)
    for name, (least, most) in _SETTINGS.items():
        if name in model.variables:
            _setting(model, name, least, most)
    known = expected.keys() | scales | _SETTINGS.keys() | set(_HEADS)
    if unknown := sorted((model.variables.keys() | model.aliases.keys()) - known):
        raise MalformedInput(f"model.bin has {unknown[0]}, which no Whisper model has")


def _hold_kind(model: ModelFile, name: str) -> set[str]:
    """Its kind is one that it may have; the name of its scale, where it has one."""
    target = model.target(name)
    variable, scale = model.variables[target], f"{target}_scale"
    if variable.kind in _FLOATS:
        return set()
    if not name.endswith("weight") or variable.kind not in ("int8", "int16"):
        raise MalformedInput(
            f"model.bin: {name} is of kind {variable.kind}, and one of {', '.join(_FLOATS)} is expected"
        )
    rows = variable.shape[:1] if variable.kind == "int8" else ()
    found = model.variables.get(scale)
    if found is None or (found.shape, found.kind) != (rows, "float32"):
        raise MalformedInput(f"model.bin: {scale} is missing, or not of the shape {rows} of float32")
    return {scale}


def _ends(tokens: int, bands: int, width: int) -> Iterator[tuple[str, Shape]]:
    """What lies before the layers and after them."""
    for name, taken in (("conv1", bands), ("conv2", width)):
        yield f"encoder/{name}/weight", (width, taken, 3)
        yield f"encoder/{name}/bias", (width,)
    yield "encoder/position_encodings/encodings", (HEARD, width)
    yield "decoder/position_encodings/encodings", (WRITTEN, width)
    yield "decoder/embeddings/weight", (tokens, width)
    yield "decoder/projection/weight", (tokens, width)
    yield from _norm("encoder", width)
    yield from _norm("decoder", width)


def _layer(name: str, width: int, inner: int, *, listens: bool) -> Iterator[tuple[str, Shape]]:
    own, heard = f"{name}/self_attention", f"{name}/attention"
    yield from _norm(own, width)
    yield from _linear(f"{own}/linear_0", 3 * width, width)
    yield from _linear(f"{own}/linear_1", width, width)
    if listens:
        yield from _norm(heard, width)
        yield from _linear(f"{heard}/linear_0", width, width)
        yield from _linear(f"{heard}/linear_1", 2 * width, width)
        yield from _linear(f"{heard}/linear_2", width, width)
    yield from _norm(f"{name}/ffn", width)
    yield from _linear(f"{name}/ffn/linear_0", inner, width)
    yield from _linear(f"{name}/ffn/linear_1", width, inner)


def _linear(name: str, rows: int, columns: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}/weight", (rows, columns)
    yield f"{name}/bias", (rows,)


def _norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}/layer_norm/gamma", (width,)
    yield f"{name}/layer_norm/beta", (width,)


def _shape(model: ModelFile, name: str, rank: int) -> Shape:
    variable = model.variables.get(model.target(name))
    if variable is None or len(variable.shape) != rank:
        raise MalformedInput(f"model.bin: {name} is missing, or has not {rank} dimensions")
    return variable.shape


def _layers(model: ModelFile, side: str) -> int:
    names = (_LAYER.match(name) for name in (*model.variables, *model.aliases))
    found = {int(name[2]) for name in names if name and name[1] == side}
    if not 1 <= len(found) <= _MOST["layers"]:
        raise MalformedInput(f"model.bin: its {side} has {len(found)} layers, as no Whisper model has")
    return len(found)


def _setting(model: ModelFile, name: str, least: int, most: int) -> int:
    variable = model.variables.get(name)
    if variable is None or variable.value is None or not least <= variable.value <= most:
        found = "missing" if variable is None else variable.value
        raise MalformedInput(f"model.bin: {name} is {found}, and a whole number from {least} to {most} is expected")
    return variable.value
