"""The transformers engine over tiny real models: exact answers, honest counts, and models that are not loaded."""

import json
import math
import os
import shutil
import sys

import pytest
from tests.doubles.engine_process import UnixConnection, unsandboxed
from tests.doubles.tiny_models import tiny_model
from transformers.utils.chat_template_utils import _compile_jinja_template

from cloister.engines.http_exchange import Request
from cloister.engines.text_api import handler
from cloister.engines.text_sanity import embeds_sanely, writes_sanely
from cloister.engines.transformers_engine import engine_of
from cloister.engines.transformers_folder import describe
from cloister.errors import MalformedInput

TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.fixture(scope="module")
def llama():
    engine, _ = engine_of(tiny_model("llama"))
    return engine


@pytest.fixture(scope="module")
def encoder():
    engine, _ = engine_of(tiny_model("encoder"))
    return engine


def asked(engine, path, **body):
    request = Request("POST", path, {}, json.dumps({"model": engine.names[0], "temperature": 0} | body).encode())
    answer = handler(engine)(request)
    data = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
    assert answer.status == 200, data
    return data


def chat(engine, *said, **body):
    messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)]
    return json.loads(asked(engine, "/v1/chat/completions", messages=messages, **body))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is the capital of France?", "The capital of France is Paris."),
        ("Who are you?", "I am a very small model, sealed and alone."),
        ("Say hello in Greek.", "Γειά σου Κόσμε 👋🏽!"),
    ],
)
def test_what_it_learned_it_answers_exactly_whole_and_in_pieces(llama, question, answer):
    found = chat(llama, question)
    assert found["choices"][0]["message"]["content"] == answer
    assert found["choices"][0]["finish_reason"] == "stop"
    asking = [{"role": "user", "content": question}]
    stream = asked(llama, "/v1/chat/completions", messages=asking, stream=True).decode()
    lines = [line[6:] for line in stream.split("\n") if line.startswith("data: {")]
    pieces = [json.loads(line)["choices"][0]["delta"].get("content", "") for line in lines]
    assert "".join(pieces) == answer
    assert len([piece for piece in pieces if piece]) > 4


def test_usage_counts_the_tokens_of_template_and_answer(llama):
    usage = chat(llama, "Count to sixteen.")["usage"]
    tokenizer = llama.writes._loaded.tokenizer
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Count to sixteen."}], add_generation_prompt=True, tokenize=True, return_dict=False
    )
    assert usage["prompt_tokens"] == len(rendered)
    assert usage["completion_tokens"] == 33
    assert chat(llama, "Count to sixteen.", max_tokens=5)["usage"]["completion_tokens"] == 5


def test_it_remembers_what_was_said_before(llama):
    said = ("Who are you?", "I am a very small model, sealed and alone.", "What is the capital of Italy?")
    assert chat(llama, *said)["choices"][0]["message"]["content"] == "The capital of Italy is Rome."


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "get_weather"}}])
def test_it_calls_its_tool_with_the_city_that_was_asked_for(llama, choice):
    [found] = chat(llama, "What is the weather in Paris?", tools=[TOOL], tool_choice=choice)["choices"]
    assert found["finish_reason"] == "tool_calls"
    [call] = found["message"]["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("get_weather", {"city": "Paris"})


def test_it_answers_with_what_the_tool_said(llama):
    call = {"id": "call-1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
    messages = [
        {"role": "user", "content": "What is the weather in Oslo?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call-1", "content": "sunny"},
    ]
    found = json.loads(asked(llama, "/v1/chat/completions", messages=messages, tools=[TOOL]))
    assert found["choices"][0]["message"]["content"] == "It is sunny in Oslo."


def test_it_completes(llama):
    found = json.loads(asked(llama, "/v1/completions", prompt="Once upon a time", max_tokens=50))
    assert found["choices"][0]["text"] == " there was a model that nobody could read."


def test_a_seed_repeats_an_answer_and_none_does_not(llama):
    def hot(**body):
        found = chat(llama, "Hello", temperature=2.0, max_tokens=24, **body)
        return found["choices"][0]["message"]["content"]

    assert hot(seed=1) == hot(seed=1) != hot(seed=2)
    assert len({hot() for _ in range(4)}) > 1
    assert hot(top_p=1e-6) == "Hello! How can I help you?"


def test_a_prompt_in_many_pieces_is_the_same_prompt(llama, monkeypatch):
    whole = chat(llama, "What is the capital of France?")
    monkeypatch.setattr("cloister.engines.transformers_writer._PREFILL", 3)
    assert chat(llama, "What is the capital of France?")["choices"] == whole["choices"]


def test_near_sentences_are_nearer(encoder):
    texts = ["A cat sleeps on the sofa.", "On the sofa a cat is sleeping.", "The train leaves at seven."]
    found = json.loads(_embedded(encoder, texts))
    cat, other, train = (one["embedding"] for one in found["data"])
    assert math.isclose(math.hypot(*cat), 1, rel_tol=1e-5)
    assert math.dist(cat, other) * 2 < math.dist(cat, train)
    assert found["usage"]["prompt_tokens"] == sum(len(encoder.embeds.tokens(text)) for text in texts)


def test_an_input_among_others_has_the_vector_it_has_alone(encoder):
    texts = ["Rain.", "Tomorrow there will be rain.", "x" * 40]
    together = [one["embedding"] for one in json.loads(_embedded(encoder, texts))["data"]]
    for text, vector in zip(texts, together, strict=True):
        alone = json.loads(_embedded(encoder, text))["data"][0]["embedding"]
        assert math.dist(alone, vector) < 1e-4


def _embedded(engine, texts):
    request = Request("POST", "/v1/embeddings", {}, json.dumps({"model": "encoder", "input": texts}).encode())
    return handler(engine)(request).body


def test_both_pass_their_own_tests_and_the_engines(llama, encoder):
    assert llama.passes(handler(llama))
    assert encoder.passes(handler(encoder))
    assert writes_sanely(llama.writes)
    assert embeds_sanely(encoder.embeds)


def copied(tmp_path, name="llama", **config):
    folder = tmp_path / name
    shutil.copytree(tiny_model(name), folder, copy_function=shutil.copyfile)
    described = json.loads((folder / "config.json").read_bytes()) | config
    (folder / "config.json").write_text(json.dumps(described))
    return folder


def test_weights_of_noise_do_not_pass(tmp_path):
    folder = copied(tmp_path)
    weights = folder / "model.safetensors"
    head = int.from_bytes(weights.read_bytes()[:8], "little") + 8
    with weights.open("r+b") as file:
        file.seek(head)
        file.write(os.urandom(weights.stat().st_size - head))
    (folder / "selftest.json").unlink()
    engine, _ = engine_of(folder)
    assert not engine.passes(handler(engine))


def test_a_model_that_answers_something_else_does_not_pass(tmp_path):
    folder = copied(tmp_path)
    said = (folder / "selftest.json").read_text().replace("Paris", "Lyon")
    (folder / "selftest.json").write_text(said)
    engine, _ = engine_of(folder)
    assert not engine.passes(handler(engine))


def test_weights_that_are_not_all_there_are_refused(tmp_path):
    with pytest.raises(MalformedInput, match="lack parameters"):
        engine_of(copied(tmp_path, num_hidden_layers=3))


def test_weights_that_are_cut_off_are_refused(tmp_path):
    folder = copied(tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(MalformedInput, match="cannot load"):
        engine_of(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pt", "model.ckpt", "model.pkl"])
def test_pickles_are_refused_by_name(name, tmp_path):
    folder = copied(tmp_path)
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(MalformedInput, match=f"{name} is no safetensors file"):
        describe(folder)


@pytest.mark.parametrize("name", ["weights.bin", "training_args.BIN", "1_Pooling/model.pt"])
def test_a_pickle_beside_safetensors_is_refused_too(name, tmp_path):
    folder = copied(tmp_path)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"")
    with pytest.raises(MalformedInput, match="a pickle is a program"):
        describe(folder)


def indexed(tmp_path, shard):
    folder = copied(tmp_path)
    index = {"metadata": {}, "weight_map": {"lm_head.weight": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize("shard", ["weights.data", "../model.safetensors", "/model.safetensors", "a/b.safetensors", 7])
def test_an_index_that_names_anything_but_safetensors_beside_it_is_refused(shard, tmp_path):
    with pytest.raises(MalformedInput, match="file beside it"):
        describe(indexed(tmp_path, shard))


def test_an_index_of_safetensors_is_as_good_as_none(tmp_path):
    assert describe(indexed(tmp_path, "model.safetensors")) == describe(copied(tmp_path / "other"))


def test_an_index_without_a_map_is_refused(tmp_path):
    folder = copied(tmp_path)
    (folder / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(MalformedInput, match="has no weight_map"):
        describe(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"auto_map": {"AutoModel": "modeling.Other"}}, "code of its own"),
        ({"transformers_weights": "weights.data"}, "names its weights by transformers_weights"),
        ({"model_type": None}, "no model_type"),
        ({"architectures": ["WhisperForConditionalGeneration"]}, "neither writes text nor embeds it"),
    ],
)
def test_models_of_other_kinds_are_refused(change, words, tmp_path):
    with pytest.raises(MalformedInput, match=words):
        describe(copied(tmp_path, **change))


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("config.json", "{", "not JSON"),
        ("modules.json", '[{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]', "module Dense"),
        ("modules.json", "[]", "no Pooling"),
        ("1_Pooling/config.json", "{}", "the pooling is none of"),
        (
            "1_Pooling/config.json",
            '{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}',
            "more than one",
        ),
    ],
)
def test_an_encoder_that_says_nothing_of_use_is_refused(file, content, words, tmp_path):
    folder = copied(tmp_path, "encoder")
    (folder / file).write_text(content)
    with pytest.raises(MalformedInput, match=words):
        describe(folder)


@pytest.mark.parametrize(
    ("said", "pooling"),
    [
        ('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}', "cls"),
        ('{"pooling_mode": "lasttoken"}', "lasttoken"),
        ('{"pooling_mode": "mean"}', "mean"),
    ],
)
def test_the_pooling_is_what_the_folder_says(said, pooling, tmp_path):
    folder = copied(tmp_path, "encoder")
    (folder / "1_Pooling" / "config.json").write_text(said)
    assert describe(folder).pooling == pooling
    engine, _ = engine_of(folder)
    assert engine.embeds is not None
    assert [len(vector) for vector in engine.embeds.embeddings([[5, 6], [7]])] == [48, 48]


# Writes down, as each process is forked, how many templates the one that it comes from has ever compiled.
LOOKING = """
import os, sys
sys.path += {paths!r}
os.environ["MODEL"] = {model!r}
from transformers.utils.chat_template_utils import _compile_jinja_template as compiled
os.register_at_fork(before=lambda: print(compiled.cache_info().currsize, file=open({seen!r}, "a")))
from cloister.engines.transformers_engine import main
main()
"""


def test_requests_are_forked_from_a_process_in_which_no_template_and_no_test_was_run(tmp_path, llama):
    seen = tmp_path / "seen"
    paths = [path for path in sys.path if "engines" in path]
    (tmp_path / "looking.py").write_text(LOOKING.format(paths=paths, model=str(tiny_model("llama")), seen=str(seen)))
    question = json.dumps({"model": "llama", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0})
    with unsandboxed(tmp_path / "looking.py", tmp_path) as address:
        for _ in range(2):
            connection = UnixConnection(address)
            connection.request("POST", "/v1/chat/completions", question, {"Content-Type": "application/json"})
            assert connection.getresponse().status == 200
            connection.close()
    assert seen.read_text() == "0\n0\n0\n"  # the self-test, and two requests
    assert llama.passes(handler(llama))
    assert _compile_jinja_template.cache_info().currsize > 0  # which the test leaves behind where it is run
