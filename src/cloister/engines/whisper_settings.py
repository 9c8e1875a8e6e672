"""Holds the small files of a Whisper model before CTranslate2 gets them: it writes to the places that their ids name.

`config.json` has ids of tokens to be kept out, and of languages, and in `alignment_heads` pairs of a layer and a head.
None of them is bounded where they are used. Source: CTranslate2, src/models/whisper.cc and src/vocabulary.cc.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from cloister.engines.whisper_weights import Sizes
from cloister.errors import MalformedInput

CONFIG, TOKENIZER, PREPROCESSOR = "config.json", "tokenizer.json", "preprocessor_config.json"
JSON_VOCABULARY, TEXT_VOCABULARY = "vocabulary.json", "vocabulary.txt"
MAXIMUM_TOKENS: Final = 262_144
_STAMPS = 1501  # tokens of times, from 0 to 30 s, at the vocabulary's end
_UNTIMED = "<|notimestamps|>"
_MARKS: Final = ("<|endoftext|>", "<|startoftranscript|>", "<|startofprev|>", _UNTIMED)
_TASKS: Final = ("<|transcribe|>", "<|translate|>", "<|en|>")  # of models that know many languages
_IDS: Final = ("suppress_ids", "suppress_ids_begin", "lang_ids")
_HEADS: Final = "alignment_heads"
# How a sound becomes what the model sees: 3000 places of 10 ms. Other numbers make more of them, or take without end.
_SOUND: Final = {"sampling_rate": 16_000, "hop_length": 160, "chunk_length": 30, "n_fft": 400}
_BANDS: Final = "feature_size"


def read_vocabulary(name: str, data: bytes) -> tuple[str, ...]:
    """The tokens in their order, from the file called `name`.

    Raises:
        MalformedInput: it is no list of texts, all different, with the marks that a Whisper model has.
    """
    tokens: Any
    if name == JSON_VOCABULARY:
        tokens = _json(name, data)
    else:
        lines = _text(name, data).split("\n")
        tokens = lines[:-1] if lines[-1] == "" else lines
    if not isinstance(tokens, list) or len(tokens) > MAXIMUM_TOKENS or not all(type(one) is str for one in tokens):
        raise MalformedInput(f"{name} is no list of texts, or has more than {MAXIMUM_TOKENS}")
    if len(set(tokens)) != len(tokens):
        raise MalformedInput(f"{name} has a token twice")
    if missing := [mark for mark in _MARKS if mark not in tokens]:
        raise MalformedInput(f"{name} has no {missing[0]}: this is no Whisper model")
    if (stamps := len(tokens) - 1 - tokens.index(_UNTIMED)) < _STAMPS:
        raise MalformedInput(f"{name} has {stamps} tokens after {_UNTIMED}, and {_STAMPS} tokens of times are expected")
    return tuple(tokens)


def hold_config(data: bytes, sizes: Sizes, *, multilingual: bool) -> None:
    """Hold `config.json` against the model.

    Raises:
        MalformedInput: an id is of no token, a head is none of the model's, a field is missing or unknown.
    """
    config = _json(CONFIG, data)
    if not isinstance(config, dict):
        raise MalformedInput(f"{CONFIG} is no object")
    if wrong := sorted(config.keys() ^ {*_IDS, _HEADS}):
        what = "is not known" if wrong[0] in config else "is missing"
        raise MalformedInput(
            f"{CONFIG}: {wrong[0]} {what}; ct2-transformers-converter writes {', '.join(_IDS)}, {_HEADS}"
        )
    for field in _IDS:
        _hold_ids(field, [] if config[field] is None else config[field], sizes.tokens)
    if multilingual and not config["lang_ids"]:
        raise MalformedInput(f"{CONFIG}: lang_ids is empty, and the model is one of many languages")
    _hold_heads(config[_HEADS], sizes)


def hold_tokenizer(data: bytes) -> None:
    """Hold that `tokenizer.json` is of bytes and pairs, as Whisper's are, and brings no regular expression.

    Raises:
        MalformedInput: it is another kind of tokenizer.
    """
    said = _json(TOKENIZER, data)
    model = said.get("model") if isinstance(said, dict) else None
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        raise MalformedInput(f"{TOKENIZER} has no model of type BPE, as Whisper's has")
    waiting: list[Any] = [said]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if "Regex" in one:
                raise MalformedInput(f"{TOKENIZER} brings a regular expression, which Whisper's does not")
            waiting += one.values()
        elif isinstance(one, list):
            waiting += (inner for inner in one if isinstance(inner, dict | list))


def hold_ids_of_tokenizer(ids: Sequence[int], tokens: int) -> None:
    """Hold that the tokenizer gives no id that the model has no row for.

    Raises:
        MalformedInput: it does.
    """
    if (highest := max(ids, default=0)) >= tokens:
        raise MalformedInput(f"{TOKENIZER} has the id {highest}, and the model has {tokens} tokens")


def hold_marks(places: dict[str, int], vocabulary: Sequence[str], *, multilingual: bool) -> None:
    """Hold that the tokenizer's marks, by their `places`, lie where the model has them: else it writes gibberish.

    Raises:
        MalformedInput: one does not.
    """
    for mark in (*_MARKS, *(_TASKS if multilingual else ())):
        place = places.get(mark, len(vocabulary))
        if place >= len(vocabulary) or vocabulary[place] != mark:
            raise MalformedInput(f"{TOKENIZER} is another model's: it has {mark} at another place or not at all")


def hold_preprocessor(data: bytes, bands: int) -> None:
    """Hold that `preprocessor_config.json` is of a Whisper model that takes `bands` bands of sound.

    Raises:
        MalformedInput: it gives another number of bands, or another length or rate.
    """
    said = _json(PREPROCESSOR, data)
    if not isinstance(said, dict):
        raise MalformedInput(f"{PREPROCESSOR} is no object")
    for field, expected in _SOUND.items():
        if type(found := said.get(field, expected)) is not int or found != expected:
            raise MalformedInput(f"{PREPROCESSOR}: {field} is not {expected}, as Whisper's is")
    if type(found := said.get(_BANDS, 80)) is not int or found != bands:
        raise MalformedInput(
            f"the model takes {bands} bands of sound, and {PREPROCESSOR} says otherwise (80 where it says nothing):"
            " copy the one that lies beside the model that was converted"
        )


def _hold_ids(field: str, ids: object, tokens: int) -> None:
    if not isinstance(ids, list) or len(ids) > tokens:
        raise MalformedInput(f"{CONFIG}: {field} is no list of ids, or longer than the vocabulary")
    for one in ids:
        if type(one) is not int or not 0 <= one < tokens:
            raise MalformedInput(
                f"{CONFIG}: {field} has {_shown(one)}, and ids are whole numbers from 0 to {tokens - 1}"
            )


def _hold_heads(pairs: object, sizes: Sizes) -> None:
    if not isinstance(pairs, list) or not 1 <= len(pairs) <= sizes.layers * sizes.heads:
        most = sizes.layers * sizes.heads
        raise MalformedInput(f"{CONFIG}: {_HEADS} is no list of 1 to {most} pairs, which are the model's heads")
    for pair in pairs:
        whole = isinstance(pair, list) and len(pair) == 2 and all(type(one) is int for one in pair)
        if not whole or not (0 <= pair[0] < sizes.layers and 0 <= pair[1] < sizes.heads):
            raise MalformedInput(
                f"{CONFIG}: {_HEADS} has {_shown(pair)}, and the model has {sizes.layers} layers of {sizes.heads}"
                " heads, counted from 0"
            )


def _shown(value: object) -> str:
    """Short, however deep it is."""
    inner = value if isinstance(value, list) else [value]
    plain = [repr(one)[:24] if isinstance(one, str | int | float | None) else type(one).__name__ for one in inner[:3]]
    return f"[{', '.join(plain)}]" if isinstance(value, list) else plain[0]


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise MalformedInput(f"{name} is not text in UTF-8") from error


def _json(name: str, data: bytes) -> Any:
    try:
        return json.loads(_text(name, data), object_pairs_hook=_once, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise MalformedInput(f"{name} is not JSON, or has a field twice") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _refused(constant: str) -> Any:
    raise ValueError(constant)
