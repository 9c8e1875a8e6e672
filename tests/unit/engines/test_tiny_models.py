"""What tests of engines stand on: the tiny models are there, whole, in formats that nothing executable hides in."""

import json

import pytest
from tests.doubles.tiny_models import tiny_model

from cloister.engines import model_folder, self_test


@pytest.mark.parametrize("name", ["llama", "encoder"])
def test_a_tiny_model_has_weights_names_and_a_test_of_its_own(name):
    folder = tiny_model(name)
    assert (folder / "model.safetensors").stat().st_size < 3_000_000
    assert json.loads((folder / "config.json").read_bytes())["model_type"] in {"llama", "bert"}
    assert model_folder.names(folder, otherwise="?")[0] == name
    assert self_test.read(folder)
    assert tiny_model(name) == folder
