"""A model's own test: what is no such file is refused, and every way in which an answer can be wrong is noticed."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.engines import ended, model_folder, self_test
from cloister.engines.http_exchange import Request, Response
from cloister.errors import MalformedInput
from cloister.formats.multipart import parse_multipart

GOOD = {"path": "/v1/chat/completions", "body": {"messages": []}, "expect": {"text": "Paris."}}


def written(*cases, **changes):
    return json.dumps({"version": 1, "cases": list(cases)} | changes).encode()


def chat(text):
    return Response.json({"choices": [{"message": {"role": "assistant", "content": text}}]})


def failure(answer, tmp_path, **expect):
    cases = self_test.parse(written(GOOD | {"expect": expect}))
    return self_test.first_failure(cases, lambda request: answer, tmp_path, "tiny")


def test_a_good_answer_passes(tmp_path):
    assert failure(chat(" Paris.\n"), tmp_path, text="Paris.") is None


def test_another_text_fails_and_is_not_quoted(tmp_path):
    assert failure(chat("SECRET"), tmp_path, text="HIDDEN") == "case 1 of selftest.json: the answer has another text"


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [{"text": "so it is Paris"}]},
        {"text": "Paris"},
        {"output": [{"content": [{"type": "output_text", "text": "Paris"}]}]},
        {"outputs": [{"name": "said", "data": ["Paris"]}]},
    ],
)
def test_what_is_said_is_found_in_every_api(answer, tmp_path):
    assert failure(Response.json(answer), tmp_path, contains="Paris") is None
    assert failure(Response.json(answer), tmp_path, contains="Rome") is not None


def test_another_status_fails(tmp_path):
    assert "status 500, expected 200" in failure(Response.json({}, status=500), tmp_path, text="x")
    assert failure(Response.json({}, status=404), tmp_path, status=404) is None


@pytest.mark.parametrize(
    ("found", "passes"),
    [
        ([1.0, 0.0], True),
        ([5.0, 0.1], True),
        ([1.0, 0.5], False),
        ([0.0, 0.0], False),
        ([float("nan"), 0.0], False),
        ([1.0], False),
        ("garbage", False),
        (None, False),
    ],
)
def test_an_embedding_must_point_the_same_way(found, passes, tmp_path):
    answer = Response.json({"data": [{"embedding": found}]})
    assert (failure(answer, tmp_path, embedding=[1.0, 0.0]) is None) is passes


def test_an_answer_in_pieces_is_joined(tmp_path):
    pieces = Response(200, "application/json", iter([b'{"text": "Pa', b'ris"}']))
    assert failure(pieces, tmp_path, text="Paris") is None


def test_the_first_failure_is_named(tmp_path):
    cases = self_test.parse(written(GOOD, GOOD | {"expect": {"text": "Rome."}}))
    wrong = self_test.first_failure(cases, lambda request: chat("Paris."), tmp_path, "tiny")
    assert wrong == "case 2 of selftest.json: the answer has another text"


def test_an_engine_whose_model_fails_a_case_ends_with_its_number(tmp_path):
    (tmp_path / self_test.FILE).write_bytes(written(GOOD, GOOD | {"expect": {"text": "Rome."}}))
    status = self_test.failed_status(tmp_path, lambda request: chat("Paris."), "tiny")
    assert ended.words_of(status) == "its model fails case 2 of selftest.json (docs/formats/selftest.md)"


def test_an_engine_without_cases_ends_with_its_own_self_test(tmp_path):
    said = ended.words_of(self_test.failed_status(tmp_path, lambda request: chat("Paris."), "tiny"))
    assert said is not None
    assert said.startswith("its self-test fails")


@pytest.mark.parametrize("status", [0, 1, 32, 97, 117, 118, 125])
def test_other_exit_statuses_say_nothing_of_a_model(status):
    assert ended.words_of(status) is None


def test_the_model_is_named_where_a_case_does_not(tmp_path):
    [case] = self_test.parse(written(GOOD))
    assert json.loads(self_test.request_of(case, tmp_path, "tiny").body) == {"model": "tiny", "messages": []}


@pytest.mark.parametrize("file", [None, "said.wav"])
def test_a_form_carries_fields_and_a_file_of_the_folder(file, tmp_path):
    (tmp_path / "said.wav").write_bytes(b"RIFF\r\n")
    described = {"path": "/v1/audio/transcriptions", "form": {"language": "en"}, "expect": {}}
    [case] = self_test.parse(written(described | ({"file": file} if file else {})))
    request = self_test.request_of(case, tmp_path, "tiny")
    parts = {part.name: bytes(part.content) for part in parse_multipart(request.body, request.headers["content-type"])}
    assert parts == {"model": b"tiny", "language": b"en"} | ({"file": b"RIFF\r\n"} if file else {})


def test_a_case_with_neither_is_a_get(tmp_path):
    [case] = self_test.parse(written({"path": "/v1/models", "expect": {}}))
    assert self_test.request_of(case, tmp_path, "tiny") == Request("GET", "/v1/models", {}, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"version": 1}',
        b'{"version": 1, "cases": []}',
        b"[" * 100_000,
        written(GOOD, version=2),
        written(*[GOOD] * 65),
        written(GOOD, more=1),
        written(GOOD | {"more": 1}),
        written(GOOD | {"path": "v1/models"}),
        written(GOOD | {"path": "/../etc/passwd\n"}),
        written(GOOD | {"form": {}}),
        written(GOOD | {"file": "said.wav"}),
        written({"path": "/x", "form": {}, "file": "../secret", "expect": {}}),
        written({"path": "/x", "form": {}, "file": "/etc/passwd", "expect": {}}),
        written({"path": "/x", "form": {'a"b': ""}, "expect": {}}),
        written(GOOD | {"expect": {"text": ""}}),
        written(GOOD | {"expect": {"embedding": [0, 0]}}),
        written(GOOD | {"expect": {"embedding": [1], "cosine": 0}}),
        written(GOOD | {"expect": {"embedding": [1], "cosine": 1.1}}),
        b" " * (1024 * 1024 + 1),
    ],
)
def test_what_is_no_self_test_is_refused(data):
    with pytest.raises(MalformedInput, match=r"selftest\.json"):
        self_test.parse(data)


@given(st.binary())
def test_any_bytes_are_a_self_test_or_malformed(data):
    with contextlib.suppress(MalformedInput):
        assert self_test.parse(data)


def test_a_folder_without_the_file_has_no_cases(tmp_path):
    assert self_test.read(tmp_path) == ()
    (tmp_path / "selftest.json").write_bytes(written(GOOD))
    assert len(self_test.read(tmp_path)) == 1


def test_a_models_folder_is_where_the_sandbox_says(tmp_path, monkeypatch):
    monkeypatch.delenv("MODEL", raising=False)
    assert model_folder.folder() is None
    monkeypatch.setenv("MODEL", str(tmp_path))
    assert model_folder.folder() is None
    (tmp_path / "config.json").write_text("{}")
    assert model_folder.folder() == tmp_path


def test_a_model_has_the_names_that_its_owner_gave_it(tmp_path):
    assert model_folder.names(tmp_path, otherwise="llama") == ("llama",)
    (tmp_path / "names.txt").write_text("ours/good-1.5\ngpt-4o\n")
    assert model_folder.names(tmp_path, otherwise="llama") == ("ours/good-1.5", "gpt-4o")


@pytest.mark.parametrize(
    "text", ["", "\n", "a\n\nb", "a\na", "a b", "é", "-a", "x" * 129, "\n".join("abcdefghijklmnopq")]
)
def test_other_names_are_refused(text, tmp_path):
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(MalformedInput, match=r"names\.txt"):
        model_folder.names(tmp_path, otherwise="llama")


def test_a_case_whose_file_is_missing_is_refused_before_it_is_asked(tmp_path):
    case = {"path": "/v1/audio/transcriptions", "form": {}, "file": "gone.wav", "expect": {"contains": "bread"}}
    (tmp_path / "selftest.json").write_text(json.dumps({"version": 1, "cases": [case]}))
    with pytest.raises(MalformedInput, match=r"case 1 of selftest.json sends a file that the model's folder has not"):
        self_test.read(tmp_path)


def test_the_models_name_is_not_added_where_the_path_has_it():
    case = {"path": "/v2/models/affine/infer", "body": {"inputs": []}, "expect": {"status": 200}}
    (asked,) = self_test.parse(written(case))
    assert json.loads(self_test.request_of(asked, Path(), "tiny").body) == {"inputs": []}
