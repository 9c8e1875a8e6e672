"""A Whisper model's folder, held before anything native reads it: each file by itself, and against the others."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloister.engines import ctranslate2_file, whisper_settings, whisper_weights
from cloister.engines.whisper_settings import CONFIG, JSON_VOCABULARY, PREPROCESSOR, TEXT_VOCABULARY, TOKENIZER
from cloister.engines.whisper_weights import Sizes
from cloister.errors import MalformedInput

_WEIGHTS: Final = "model.bin"
_NEEDED: Final = (_WEIGHTS, CONFIG, TOKENIZER)
_MAXIMUM_BYTES = 32 * 1024 * 1024  # of each file but the weights


@dataclass(frozen=True, slots=True)
class Described:
    """`multilingual`: it knows languages beside English, and translates."""

    vocabulary: tuple[str, ...]
    sizes: Sizes
    multilingual: bool


def describe(folder: Path) -> Described:
    """What lies in `folder`.

    Raises:
        MalformedInput: no Whisper model of CTranslate2's, or files that do not belong together.
    """
    for name in _NEEDED:
        if not (folder / name).is_file():
            raise MalformedInput(
                f"{name} is missing: ct2-transformers-converter writes a folder with {', '.join(_NEEDED)}"
            )
    vocabulary = _vocabulary(folder)
    sizes = _sizes(folder / _WEIGHTS)
    if sizes.tokens != len(vocabulary):
        raise MalformedInput(
            f"the vocabulary has {len(vocabulary)} tokens, and {_WEIGHTS} has {sizes.tokens} rows for them"
        )
    multilingual = "" in vocabulary  # by which CTranslate2 tells
    whisper_settings.hold_config(_read(folder / CONFIG), sizes, multilingual=multilingual)
    whisper_settings.hold_tokenizer(_read(folder / TOKENIZER))
    described = folder / PREPROCESSOR
    whisper_settings.hold_preprocessor(_read(described) if described.is_file() else b"{}", sizes.bands)
    return Described(vocabulary, sizes, multilingual)


def _vocabulary(folder: Path) -> tuple[str, ...]:
    found = [name for name in (JSON_VOCABULARY, TEXT_VOCABULARY) if (folder / name).is_file()]
    if len(found) != 1:
        raise MalformedInput(f"one of {JSON_VOCABULARY} and {TEXT_VOCABULARY} is expected, and {len(found)} are there")
    return whisper_settings.read_vocabulary(found[0], _read(folder / found[0]))


def _sizes(weights: Path) -> Sizes:
    """Of gigabytes, what lies between the weights is read, and no more."""
    if not weights.stat().st_size:
        raise MalformedInput(f"{_WEIGHTS} is empty")
    with weights.open("rb") as file:
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # it goes with the last that looks into it
    return whisper_weights.hold(ctranslate2_file.parse(memoryview(whole)))


def _read(path: Path) -> bytes:
    if path.stat().st_size > _MAXIMUM_BYTES:
        raise MalformedInput(f"{path.name} has more than {_MAXIMUM_BYTES} bytes")
    return path.read_bytes()
