"""curl, as the API's own pages use it, before a whole local system."""

import asyncio
import json
import shutil

import pytest
from tests.flows.clients.conftest import SENTENCE
from tests.speech import encoded, word_error_rate

CONTAINERS = {  # and wav: what PyAV calls the container, and a codec for it
    "mp3": ("mp3", "libmp3lame"),
    "ogg": ("ogg", "libopus"),
    "flac": ("flac", "flac"),
    "m4a": ("ipod", "aac"),
    "mp4": ("mp4", "aac"),
    "webm": ("webm", "libopus"),
}
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not there: apt-get install curl"),
]


async def curl(system, path, *arguments, key=None):
    """The answer's body, status and content type."""
    process = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--show-error", "--write-out", "\n%{http_code} %{content_type}"),
        *("-H", f"Authorization: {'Bearer ' + key if key else system.headers['Authorization']}"),
        *map(str, arguments),
        f"{system.record.base_url}{path}",
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    body, _, said = out.decode().rpartition("\n")
    status, _, content_type = said.partition(" ")
    return body, int(status), content_type


async def transcribe(system, file, *arguments, key=None):
    form = ("-F", f"file=@{file}", "-F", "model=whisper-1")
    return await curl(system, "/audio/transcriptions", *form, *arguments, key=key)


def is_the_sentence(text):
    return word_error_rate([SENTENCE], [text]) <= 0.25


async def test_json_is_what_comes_unless_something_else_is_asked_for(system, audio):
    body, status, content_type = await transcribe(system, audio / "speech.wav")
    assert (status, content_type) == (200, "application/json")
    said = json.loads(body)
    assert is_the_sentence(said["text"])
    assert said["usage"]["type"] == "duration"


@pytest.mark.parametrize(
    ("response_format", "content_type", "begins"),
    [
        ("text", "text/plain; charset=utf-8", ""),
        ("srt", "text/plain; charset=utf-8", "1\n00:00:0"),
        ("vtt", "text/plain; charset=utf-8", "WEBVTT\n\n00:00:0"),
        ("verbose_json", "application/json", '{"task":'),
    ],
)
async def test_every_response_format_comes_in_its_type(response_format, content_type, begins, system, audio):
    asked = ("-F", f"response_format={response_format}")
    body, status, answered = await transcribe(system, audio / "speech.wav", *asked)
    assert (status, answered) == (200, content_type)
    assert body.startswith(begins)
    assert SENTENCE.split()[1] in body.split()


@pytest.mark.parametrize("container", list(CONTAINERS))
async def test_every_container_of_the_api_is_heard(container, system, audio, tmp_path):
    file = tmp_path / f"speech.{container}"
    file.write_bytes(encoded((audio / "speech.wav").read_bytes(), *CONTAINERS[container]))
    body, status, _ = await transcribe(system, file, "-F", "response_format=text")
    assert status == 200, body
    assert word_error_rate([SENTENCE], [body]) <= 0.25


async def test_the_models_are_listed(system):
    body, status, _ = await curl(system, "/models")
    assert (status, json.loads(body)["object"]) == (200, "list")


async def test_a_file_that_curl_waits_to_send_is_taken_and_refused_for_its_size(system, audio):
    """Over 1 MiB curl asks first whether it may send: Expect: 100-continue."""
    body, status, _ = await transcribe(system, audio / "large.wav")
    assert (status, json.loads(body)["error"]["param"]) == (413, "file")


async def test_a_form_in_pieces_of_unknown_length_is_taken(system, audio):
    body, status, _ = await transcribe(system, audio / "speech.wav", "-H", "Transfer-Encoding: chunked")
    assert status == 200
    assert is_the_sentence(json.loads(body)["text"])


@pytest.mark.parametrize(
    ("arguments", "key", "status", "code"),
    [
        (("-F", "model=whisper-2"), None, 404, "model_not_found"),
        (("-F", "model=whisper-1", "-F", "language=fr"), None, 400, "unsupported_value"),
        (("-F", "model=whisper-1", "-F", "unheard=of"), None, 400, "unknown_parameter"),
        ((), None, 400, "missing_required_parameter"),
        (("-F", "model=whisper-1"), "sk-another", 401, "invalid_api_key"),
    ],
    ids=["another model", "another language", "an unknown field", "no model", "another key"],
)
async def test_errors_have_the_apis_shape(arguments, key, status, code, system, audio):
    form = ("-F", f"file=@{audio / 'speech.wav'}")
    body, answered, content_type = await curl(system, "/audio/transcriptions", *form, *arguments, key=key)
    error = json.loads(body)["error"]
    assert (answered, content_type, error["code"]) == (status, "application/json", code)
    assert set(error) == {"message", "type", "param", "code"}
