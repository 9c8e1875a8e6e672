"""A model.bin is held to its format and to a Whisper model's shapes before CTranslate2 reads it: changes by name."""

import struct

import pytest
from tests.doubles.converted_models import HEADS, TOKENS, WIDTH, ModelBin, setting, text, variable

from cloister.engines import ctranslate2_file, whisper_weights
from cloister.engines.whisper_weights import Sizes
from cloister.errors import MalformedInput

EMBEDDING, SCALE = "decoder/embeddings/weight", "decoder/embeddings/weight_scale"
LINEAR = "decoder/layer_0/attention/linear_1/weight"


@pytest.fixture
def file():
    return ModelBin()


def hold(data):
    return whisper_weights.hold(ctranslate2_file.parse(data))


def refused(file, sentence):
    with pytest.raises(MalformedInput, match=sentence):
        hold(file.data() if isinstance(file, ModelBin) else file)


def test_a_whole_model_gives_its_sizes(file):
    assert hold(file.data()) == Sizes(TOKENS, bands=80, layers=1, heads=HEADS)


def test_weights_of_other_kinds_are_read_too(file):
    file.variables[EMBEDDING] = variable(EMBEDDING, (TOKENS, WIDTH), "bfloat16")
    del file.variables[SCALE]
    scale = f"{LINEAR}_scale"
    file.variables[LINEAR] = variable(LINEAR, (2 * WIDTH, WIDTH), "int16")
    file.variables[scale] = variable(scale, (), "float32")
    assert hold(file.data()).tokens == TOKENS


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("version", 5, "version 5, and 6 is read"),
        ("specification", "TransformerSpec", "is a TransformerSpec 3"),
        ("revision", 2, "is a WhisperSpec 2"),
    ],
)
def test_what_is_no_whisper_model_of_this_format_is_refused(file, field, value, sentence):
    setattr(file, field, value)
    refused(file, sentence)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (EMBEDDING, (TOKENS - 1, WIDTH)),
        (EMBEDDING, (TOKENS, WIDTH + 1)),
        (LINEAR, (WIDTH, WIDTH)),
        ("encoder/layer_0/ffn/linear_1/weight", (WIDTH, 5)),
        ("encoder/conv2/weight", (WIDTH, 80, 3)),
        ("encoder/conv1/bias", (1,)),
        ("encoder/position_encodings/encodings", (1499, WIDTH)),
        ("decoder/position_encodings/encodings", (447, WIDTH)),
        ("decoder/layer_norm/gamma", (WIDTH, 1)),
    ],
)
def test_a_weight_of_another_shape_is_refused(file, name, shape):
    file.variables[name] = variable(name, shape, "float16")
    refused(
        file, "model.bin: .* (has the shape|has not|is missing|which no Whisper model has|does not divide)|weight_scale"
    )


def test_a_scale_of_fewer_rows_than_its_weight_is_refused_by_name(file):
    file.variables[SCALE] = variable(SCALE, (TOKENS - 1,), "float32")
    refused(file, f"{SCALE} is missing, or not of the shape")


def test_any_variable_that_is_missing_is_refused(file):
    for name in (*file.variables, *file.aliases):
        if name == "decoder/pre_norm":
            continue
        less = ModelBin()
        less.variables.pop(name, None)
        less.aliases.pop(name, None)
        refused(less, "missing|has 0 layers|is not there|which no Whisper model has")


@pytest.mark.parametrize(
    "name", ["decoder/layer_0/self_attention/rotary_dim", "encoder/layer_0/attention/linear_0/bias", "x"]
)
def test_a_variable_that_no_whisper_model_has_is_refused_by_name(file, name):
    file.variables[name] = setting(name, 1)
    refused(file, f"has {name}, which no Whisper model has")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("decoder/alibi", 1),
        ("decoder/pre_norm", 0),
        ("decoder/activation", 7),
        ("decoder/alignment_layer", 99),
        ("decoder/num_heads", 0),
        ("decoder/num_heads", -2),
        ("encoder/num_heads", 3),
    ],
)
def test_a_setting_beyond_its_bounds_is_refused_by_name(file, name, value):
    file.variables[name] = setting(name, value)
    refused(file, f"{name} is {value}, ")


@pytest.mark.parametrize("shape", [(2**32 - 1, 2**32 - 1, 2), (2**31, 2**31, 4), (0, WIDTH)])
def test_a_shape_whose_product_wraps_around_or_is_nothing_is_refused(file, shape):
    file.variables[EMBEDDING] = variable(EMBEDDING, shape, "int8", b"")
    refused(file, f"{EMBEDDING} has 0 bytes, which are not those of its shape")


def test_more_bytes_than_the_shape_has_are_refused(file):
    file.variables[EMBEDDING] = variable(EMBEDDING, (TOKENS, WIDTH), "int8", bytes(TOKENS * WIDTH + 1))
    refused(file, "which are not those of its shape")


def test_a_bias_of_whole_numbers_is_refused(file):
    file.variables["encoder/conv1/bias"] = variable("encoder/conv1/bias", (WIDTH,), "int8")
    refused(file, "encoder/conv1/bias is of kind int8")


@pytest.mark.parametrize(
    ("name", "target", "sentence"),
    [
        ("encoder/conv1/bias", "encoder/conv2/bias", "twice"),
        ("decoder/projection/bias", "decoder/nothing", "is not there"),
        ("decoder/projection/bias", EMBEDDING, "another kind"),
        ("decoder/other_scale", SCALE, "another kind"),
    ],
)
def test_an_alias_that_leads_elsewhere_is_refused(file, name, target, sentence):
    file.aliases[name] = target
    refused(file, sentence)


def test_a_variable_twice_is_refused(file):
    file.variables["again"] = file.variables["encoder/conv1/bias"]
    refused(file, "encoder/conv1/bias twice")


def test_a_name_that_ends_without_a_zero_is_refused(file):
    data = file.data()
    refused(data.replace(text("WhisperSpec"), text("WhisperSpec")[:-1] + b"x"), "a zero at its end")


def test_a_file_that_claims_many_variables_or_goes_on_is_refused(file):
    data = file.data()
    at = data.index(text("WhisperSpec")) + len(text("WhisperSpec")) + 4
    refused(data[:at] + struct.pack("<I", 2**32 - 1) + data[at + 4 :], "says that it has 4294967295 variables")
    refused(data + b"\0", "goes on after its end")


def test_a_file_that_is_cut_anywhere_is_refused(file):
    data = file.data()
    for end in range(0, len(data), 97):
        refused(data[:end], "model.bin")
