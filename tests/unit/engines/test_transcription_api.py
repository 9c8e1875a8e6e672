import json

import pytest
from tests.speech import form

from cloister.engines.echo import MODELS, echo
from cloister.engines.server import Request
from cloister.engines.transcription_api import PATH, handler

HANDLE = handler(echo, models=MODELS)


def ask(body, content_type, *, method="POST", path=PATH):
    response = HANDLE(Request(method, path, {"content-type": content_type}, body))
    return response.status, response.body


def test_a_whole_request_is_answered_as_json_or_as_text():
    assert ask(*form(b"RIFF", model="whisper-1")) == (
        200,
        b'{"text": "4 bytes", "usage": {"type": "duration", "seconds": 0}}',
    )
    everything = {"language": "en", "prompt": "a name", "temperature": "0.2", "response_format": "text"}
    assert ask(*form(b"RIFF", model="whisper-1", **everything)) == (200, b"4 bytes\n")
    assert ask(*form(b"RIFF", model="whisper-1", language="", temperature=""))[0] == 200


@pytest.mark.parametrize(
    ("status", "param", "code", "fields"),
    [
        (404, "model", "model_not_found", {"model": "whisper-9"}),
        (400, "model", "missing_required_parameter", {}),
        (400, "response_format", "unsupported_value", {"model": "whisper-1", "response_format": "srt"}),
        (400, "language", "unsupported_value", {"model": "whisper-1", "language": "de"}),
        (400, "temperature", None, {"model": "whisper-1", "temperature": "hot"}),
        (400, "temperature", None, {"model": "whisper-1", "temperature": "nan"}),
        (400, "temperature", None, {"model": "whisper-1", "temperature": "2"}),
        (400, None, "unknown_parameter", {"model": "whisper-1", "speed": "2"}),
    ],
)
def test_each_wrong_field_is_refused_by_its_name(status, param, code, fields):
    answered, body = ask(*form(b"RIFF", **fields))
    error = json.loads(body)["error"]
    assert (answered, error["param"], error["code"]) == (status, param, code)
    assert error["type"] == "invalid_request_error"
    assert set(error) == {"message", "type", "param", "code"}


def test_a_missing_file_a_field_twice_and_a_body_that_is_no_form_are_refused():
    status, body = ask(*form(None, model="whisper-1"))
    assert (status, json.loads(body)["error"]["param"]) == (400, "file")
    once, content_type = form(b"RIFF", model="whisper-1")
    assert ask(once.removesuffix(b"--frontier--\r\n") + once, content_type)[0] == 400
    assert ask(b"{}", "application/json")[0] == 400
    assert ask(*form(b"RIFF", model="\udcff".encode("utf-8", "surrogateescape").decode("latin-1")))[0] == 404


def test_a_file_over_25_mebibytes_is_refused_with_413():
    assert ask(*form(bytes(25 * 1024 * 1024), model="whisper-1"))[0] == 200
    assert ask(*form(bytes(25 * 1024 * 1024 + 1), model="whisper-1"))[0] == 413
    assert ask(*form(bytes(27 * 1024 * 1024), model="whisper-1"))[0] == 413


def test_other_paths_and_methods_are_refused_and_health_is_answered():
    assert ask(b"", "", method="GET")[0] == 405
    assert ask(b"", "", path="/v1/models")[0] == 404
    assert ask(b"", "", method="GET", path="/health") == (200, b'{"status": "ok"}')
