"""The small files beside a Whisper model's weights: every id within the model, each other one refused by name."""

import json

import pytest
from tests.doubles.converted_models import (
    CONFIG,
    HEADS,
    PREPROCESSOR,
    TOKENIZER,
    TOKENS,
    VOCABULARY,
    ModelBin,
    written,
)

from cloister.engines import whisper_settings
from cloister.engines.whisper_folder import describe
from cloister.engines.whisper_weights import Sizes
from cloister.errors import MalformedInput

SIZES = Sizes(TOKENS, bands=80, layers=1, heads=HEADS)


@pytest.fixture
def folder(tmp_path):
    files = {
        "config.json": written(CONFIG),
        "tokenizer.json": written(TOKENIZER),
        "vocabulary.json": written(VOCABULARY),
        "preprocessor_config.json": written(PREPROCESSOR),
        "model.bin": ModelBin().data(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def hold(**changed):
    whisper_settings.hold_config(written(CONFIG | changed), SIZES, multilingual=True)


def test_a_whole_folder_is_described(folder):
    found = describe(folder)
    assert (found.sizes, found.multilingual, found.vocabulary) == (SIZES, True, tuple(VOCABULARY))


@pytest.mark.parametrize("field", ["suppress_ids", "suppress_ids_begin", "lang_ids"])
def test_ids_of_every_token_are_taken(field):
    hold(**{field: [0, TOKENS - 1]})


@pytest.mark.parametrize("field", ["suppress_ids", "suppress_ids_begin", "lang_ids"])
@pytest.mark.parametrize("one", [TOKENS, -1, 2**31, 2**64, 1.0, 1e300, "1", True, None, [1]])
def test_an_id_of_no_token_is_refused_by_its_fields_name(field, one):
    with pytest.raises(MalformedInput, match=f"{field} has .*whole numbers from 0 to {TOKENS - 1}"):
        hold(**{field: [0, one]})


@pytest.mark.parametrize("field", ["suppress_ids", "suppress_ids_begin", "lang_ids"])
@pytest.mark.parametrize("ids", [7, "ids", {"0": 1}, [0] * (TOKENS + 1)])
def test_what_is_no_list_of_ids_is_refused(field, ids):
    with pytest.raises(MalformedInput, match=f"{field} is no list"):
        hold(**{field: ids})


@pytest.mark.parametrize("pair", [[1, 0], [0, HEADS], [-1, 0], [0, -1], [0], [0, 0, 0], [0, 0.0], "00", 5, None])
def test_a_head_that_the_model_has_not_is_refused(pair):
    with pytest.raises(MalformedInput, match=r"alignment_heads has .*1 layers of 2 heads"):
        hold(alignment_heads=[pair])


@pytest.mark.parametrize("pairs", [[], None, 3, [[0, 0]] * 3])
def test_no_heads_and_too_many_are_refused(pairs):
    with pytest.raises(MalformedInput, match="no list of 1 to 2 pairs"):
        hold(alignment_heads=pairs)


def test_a_model_of_many_languages_has_to_name_them():
    with pytest.raises(MalformedInput, match="lang_ids is empty"):
        hold(lang_ids=[])
    whisper_settings.hold_config(written(CONFIG | {"lang_ids": None}), SIZES, multilingual=False)


@pytest.mark.parametrize("field", sorted(CONFIG))
def test_a_field_that_is_missing_is_refused_by_name(field):
    config = {name: value for name, value in CONFIG.items() if name != field}
    with pytest.raises(MalformedInput, match=f"{field} is missing"):
        whisper_settings.hold_config(written(config), SIZES, multilingual=True)


def test_a_field_that_is_not_known_is_refused_by_name():
    with pytest.raises(MalformedInput, match="quantization_type is not known"):
        hold(quantization_type=1)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b"\xff\xfe{\x00}\x00", b"[" * 100_000, b'{"lang_ids":1,"lang_ids":2}']
)
def test_what_is_no_object_in_json_is_refused(data):
    with pytest.raises(MalformedInput, match=r"config\.json"):
        whisper_settings.hold_config(data, SIZES, multilingual=True)


def test_a_vocabulary_of_text_is_read_as_well():
    data = "\n".join([*VOCABULARY, ""]).encode()
    assert whisper_settings.read_vocabulary("vocabulary.txt", data) == tuple(VOCABULARY)


@pytest.mark.parametrize(
    ("tokens", "sentence"),
    [
        (VOCABULARY[:-1], "1500 tokens after <|notimestamps|>"),
        ([*VOCABULARY, "a"], "has a token twice"),
        ([one for one in VOCABULARY if one != "<|endoftext|>"], r"has no <\|endoftext\|>"),
        ([1], "no list of texts"),
        ({}, "no list of texts"),
    ],
)
def test_a_vocabulary_that_is_no_whisper_models_is_refused(tokens, sentence):
    with pytest.raises(MalformedInput, match=sentence.replace("after <|", r"after <\|").replace("ps|>", r"ps\|>")):
        whisper_settings.read_vocabulary("vocabulary.json", written(tokens))


def test_a_vocabulary_with_other_rows_than_the_weights_is_refused(folder):
    (folder / "vocabulary.json").write_text(json.dumps([*VOCABULARY, "more"]))
    with pytest.raises(MalformedInput, match=f"has {TOKENS + 1} tokens, and model.bin has {TOKENS} rows"):
        describe(folder)


def test_two_vocabularies_are_refused(folder):
    (folder / "vocabulary.txt").write_text("\n".join(VOCABULARY))
    with pytest.raises(MalformedInput, match="2 are there"):
        describe(folder)


def test_a_file_of_more_than_its_cap_is_refused(folder):
    with (folder / "config.json").open("r+b") as file:
        file.truncate(2**26)
    with pytest.raises(MalformedInput, match=r"config\.json has more than"):
        describe(folder)


@pytest.mark.parametrize("where", ["pre_tokenizer", "normalizer"])
def test_a_tokenizer_that_brings_a_regular_expression_is_refused(where):
    split = {"type": "Sequence", "items": [{"type": "Split", "pattern": {"Regex": "(a+)+"}}]}
    with pytest.raises(MalformedInput, match="brings a regular expression"):
        whisper_settings.hold_tokenizer(written(TOKENIZER | {where: split}))


@pytest.mark.parametrize("said", [[], {}, {"model": {"type": "Unigram"}}])
def test_a_tokenizer_of_another_kind_is_refused(said):
    with pytest.raises(MalformedInput, match="no model of type BPE"):
        whisper_settings.hold_tokenizer(written(said))


def test_a_tokenizer_with_ids_beyond_the_model_is_refused():
    whisper_settings.hold_ids_of_tokenizer([0, TOKENS - 1], TOKENS)
    with pytest.raises(MalformedInput, match=f"has the id {TOKENS}, and the model has {TOKENS} tokens"):
        whisper_settings.hold_ids_of_tokenizer([0, TOKENS], TOKENS)


@pytest.mark.parametrize(
    ("field", "value"), [("chunk_length", 60), ("n_fft", 2**40), ("hop_length", 0), ("n_fft", 400.0)]
)
def test_another_length_or_rate_of_sound_is_refused_by_name(field, value):
    with pytest.raises(MalformedInput, match=f"{field} is not"):
        whisper_settings.hold_preprocessor(written(PREPROCESSOR | {field: value}), 80)
    whisper_settings.hold_preprocessor(b"{}", 80)
