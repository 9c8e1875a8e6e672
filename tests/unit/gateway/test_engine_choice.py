"""What a gateway has in its sandbox: sizes that the engine needs, or that settings give, with room for the model."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.doubles.sealed_models import KEY, WEIGHTS, sealed_model
from tests.doubles.upstreams import written

from cloister.contract.task_assets import ModelRefused
from cloister.errors import UsageError
from cloister.sandbox.closure import ECHO, StagedEngine
from cloister.sandbox.plan import plan
from cloister.sandbox.profile import MIB
from cloister.secret import SecretBytes
from cloister.services.gateway.engine_choice import (
    ENGINES,
    Held,
    SandboxSizes,
    chosen_engine,
    engine_named,
    measured_beside,
)
from cloister.tee.closure import mapped

ENGINE = replace(ECHO, sizes=replace(ECHO.sizes, memory_bytes=200 * MIB, tasks=7, model_copies=1))
FILES = [("weights.bin", 3 * MIB), ("config.json", 2)]


@pytest.fixture
def software(tmp_path):
    """The folder of a server that may have a model or not."""
    folder = tmp_path / "software"
    folder.mkdir()
    (folder / "upstream.toml").write_text(written())
    return folder


UPSTREAMS = Path(__file__).parents[3] / "examples" / "upstreams"


def test_what_an_upstreams_programs_need_of_the_system_is_measured_beside_the_gateway(software):
    shutil.copy("/usr/bin/env", software / "server")
    planned = plan()
    beside = measured_beside(planned, engine_named(f"{software}"))
    library = next(place for place in mapped() if place.name == "libc.so.6")
    assert beside["upstream/libc.so.6"] == hashlib.sha256(library.read_bytes()).digest()
    assert beside["sandbox-profile"] == planned.profile.digest
    (software / "server").unlink()
    assert measured_beside(planned, engine_named(f"{software}")) == {"sandbox-profile": planned.profile.digest}


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_is_had_by_its_name(name):
    assert engine_named(name).name == name


def test_a_folder_is_an_upstream_with_its_own_confinement_and_requests_at_once(tmp_path):
    shutil.copy(UPSTREAMS / "vllm.toml", tmp_path / "upstream.toml")
    engine = engine_named(str(tmp_path))
    assert (engine.name, engine.confinement, engine.at_once > 1) == ("upstream", "server", True)


@pytest.mark.parametrize(
    ("name", "said"),
    [("spech", "engine 'spech' is none: there are speech, "), ("./absent", "upstream.toml cannot be read")],
)
def test_what_is_no_engine_is_refused_in_words(name, said):
    with pytest.raises(UsageError, match=said):
        engine_named(name)


def test_without_a_model_the_engine_has_what_it_says_that_it_needs():
    assert SandboxSizes().holding(ENGINE, []) == ENGINE.sizes


def test_a_model_is_counted_as_files_and_as_what_the_engine_loads_from_them():
    sizes = SandboxSizes().holding(ENGINE, FILES)
    assert (sizes.model_bytes, sizes.memory_bytes, sizes.tasks) == (4 * MIB, 208 * MIB, 7)


@pytest.mark.parametrize(
    ("name", "value", "field", "found"),
    [
        ("memory_mib", 300, "memory_bytes", 304 * MIB),  # beside the model's files
        ("tasks", 3, "tasks", 3),
        ("scratch_mib", 16, "scratch_bytes", 16 * MIB),
        ("request_seconds", 5, "request_seconds", 5),
    ],
)
def test_each_size_that_is_set_takes_the_place_of_the_engines(name, value, field, found):
    usual = SandboxSizes().holding(ENGINE, FILES)
    sizes = SandboxSizes(**{name: value}).holding(ENGINE, FILES)
    assert replace(sizes, model_copies=1) == replace(usual, **{field: found})


def test_a_sealed_model_is_what_runs_and_its_size_is_in_the_profile(tmp_path, software):
    artifact = sealed_model(tmp_path)
    plain, sealed = (chosen_engine(str(software), path, Held(SandboxSizes())) for path in (None, artifact))
    staged = StagedEngine("upstream", tmp_path, "upstream.py", digest=bytes(32), model_digest=bytes(32))
    assert sealed.model is not None
    assert (plain.runs(staged).model, sealed.runs(staged).model) == (bytes(32), sealed.model.digest)
    assert plain.plan.profile.digest != sealed.plan.profile.digest


def test_a_sealed_model_is_opened_with_its_key_and_never_without(tmp_path):
    chosen = chosen_engine("transformers", sealed_model(tmp_path), Held(SandboxSizes()))
    source = chosen.source(SecretBytes(KEY))
    assert source is not None
    assert dict(source.files) == {"config.json": 2, "weights.bin": len(WEIGHTS)}
    with pytest.raises(ModelRefused, match=r"model\.key"):
        chosen.source(None)
    assert chosen_engine("echo", None, Held(SandboxSizes())).source(None) is None


def test_what_is_no_artifact_starts_nothing(tmp_path):
    with pytest.raises(UsageError):
        chosen_engine("transformers", tmp_path, Held(SandboxSizes()))


@pytest.mark.parametrize("name", [name for name, engine in ENGINES.items() if engine.takes_model == "no"])
def test_an_engine_that_takes_no_model_is_given_none(tmp_path, name):
    with pytest.raises(UsageError, match=f"the engine {name} takes no model: .*, transformers, .*or the folder of"):
        chosen_engine(name, sealed_model(tmp_path), Held(SandboxSizes()))


@pytest.mark.parametrize("name", [name for name, engine in ENGINES.items() if engine.takes_model == "must"])
def test_an_engine_that_computes_with_a_model_of_others_does_not_start_without_one(name):
    with pytest.raises(UsageError, match=f"the engine {name} computes with a model of yours, and none is named: --mod"):
        chosen_engine(name, None, Held(SandboxSizes()))


def test_a_server_whose_command_names_the_models_place_needs_a_model(software):
    (software / "upstream.toml").write_text(written(environment={"WEIGHTS": "{model}"}))
    with pytest.raises(UsageError, match="the engine upstream computes with a model of yours"):
        chosen_engine(str(software), None, Held(SandboxSizes()))
