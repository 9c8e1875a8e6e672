"""Any bytes as a file of a Whisper model: parsed, or refused as malformed; and what is parsed is within the model."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st
from tests.doubles.converted_models import CONFIG, HEADS, TOKENS, ModelBin, text, written

from cloister.engines import ctranslate2_file, whisper_settings, whisper_weights
from cloister.engines.whisper_weights import Sizes
from cloister.errors import MalformedInput

SIZES = Sizes(TOKENS, bands=80, layers=1, heads=HEADS)
WHOLE = ModelBin().data()
NAMES = [WHOLE.index(text(name)) for name in ModelBin().variables]
numbers = st.integers(-(2**65), 2**65) | st.integers(-2, TOKENS + 2)
values = st.recursive(
    st.none() | st.booleans() | st.floats() | numbers | st.text(max_size=4), lambda inner: st.lists(inner, max_size=4)
)


@given(st.binary(max_size=300))
def test_any_bytes_are_no_weights_or_malformed(data: bytes) -> None:
    for start in (b"", WHOLE[:22]):
        with suppress(MalformedInput):
            whisper_weights.hold(ctranslate2_file.parse(start + data))


@given(st.sampled_from(NAMES), st.integers(0, 80), st.binary(min_size=1, max_size=8))
def test_weights_with_changed_heads_keep_their_sizes_or_are_malformed(name: int, at: int, changed: bytes) -> None:
    data = WHOLE[: name + at] + changed + WHOLE[name + at + len(changed) :]
    with suppress(MalformedInput):
        assert whisper_weights.hold(ctranslate2_file.parse(data)) in (
            SIZES,
            Sizes(TOKENS, 80, 1, 1),
            Sizes(TOKENS, 80, 1, 4),
        )


@given(st.dictionaries(st.sampled_from(sorted(CONFIG)), values))
def test_a_config_that_is_taken_has_no_id_beyond_the_model(changed: dict[str, object]) -> None:
    data = written(CONFIG | changed)
    try:
        whisper_settings.hold_config(data, SIZES, multilingual=True)
    except MalformedInput:
        return
    taken = json.loads(data)
    for field in ("suppress_ids", "suppress_ids_begin", "lang_ids"):
        assert all(type(one) is int and 0 <= one < TOKENS for one in taken[field] or ())
    assert all(layer == 0 and head in range(HEADS) for layer, head in taken["alignment_heads"])


@given(st.binary(max_size=200))
def test_any_bytes_are_no_small_file_or_malformed(data: bytes) -> None:
    for hold in (
        lambda: whisper_settings.hold_config(data, SIZES, multilingual=True),
        lambda: whisper_settings.hold_tokenizer(data),
        lambda: whisper_settings.hold_preprocessor(data, 80),
        lambda: whisper_settings.read_vocabulary("vocabulary.json", data),
        lambda: whisper_settings.read_vocabulary("vocabulary.txt", data),
    ):
        with suppress(MalformedInput):
            hold()
