import json

import pytest
from tests.speech import form

from cloister.engines.api_error import ApiError
from cloister.engines.echo import MODELS, SAMPLE, echo
from cloister.engines.http_exchange import Request
from cloister.engines.known_sample import KnownSample
from cloister.engines.transcript import Segment, Word, Written
from cloister.engines.transcription_api import TRANSCRIPTIONS, TRANSLATIONS, Engine, by_sample, handler
from cloister.engines.transcription_form import MAXIMUM_PROMPT, Abilities

HANDLE = handler(by_sample(echo, MODELS, SAMPLE))
WORDS = (Word("good", 0.5, 1.25, 0.5), Word("morning", 1.25, 61.5, 1.0))


class Spoken:
    """Two segments of a file that lasts an hour and a bit; then, if it is damaged, an error."""

    seconds = 3723.456
    language = "english"

    def __init__(self, *, damaged=False):
        self.damaged = damaged

    def __iter__(self):
        yield Segment(WORDS, 0.25)
        yield Segment((Word("everyone", 3720, 3723.4, 0.25),), 0)
        if self.damaged:
            raise ApiError(400, "It ends here.", param="file", code="unsupported_format")


def ask(body, content_type, *, method="POST", path=TRANSCRIPTIONS, handle=HANDLE):
    response = handle(Request(method, path, {"content-type": content_type}, body))
    whole = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    return response.status, whole


def spoken(*, damaged=False, **fields):
    handle = handler(by_sample(lambda _: Spoken(damaged=damaged), MODELS, SAMPLE))
    status, body = ask(*form(b"RIFF", model="whisper-1", **fields), handle=handle)
    assert status == 200
    return body


def events(body):
    return [json.loads(event.split("data: ")[1]) for event in body.decode().removesuffix("\n\n").split("\n\n")]


def test_a_whole_request_is_answered_as_json_or_as_text():
    answer = b'{"text": "4 bytes", "usage": {"type": "duration", "seconds": 0}}'
    assert ask(*form(b"RIFF", model="whisper-1")) == (200, answer)
    everything = {"language": "en", "prompt": "a name", "temperature": "0.2", "chunking_strategy": "auto"}
    assert ask(*form(b"RIFF", model="whisper-1", response_format="text", **everything)) == (200, b"4 bytes\n")
    assert ask(*form(b"RIFF", model="whisper-1", language="", temperature="", stream="false")) == (200, answer)


def test_verbose_json_has_the_segments_of_the_api_and_words_where_they_are_asked_for():
    answer = json.loads(spoken(response_format="verbose_json", temperature="0.4"))
    first, second = answer.pop("segments")
    assert answer == {
        "task": "transcribe",
        "language": "english",
        "duration": 3723.46,
        "text": "good morning everyone",
        "usage": {"type": "duration", "seconds": 3724},
    }
    assert first.pop("compression_ratio") < 1
    assert first.pop("avg_logprob") == pytest.approx(-0.3466, abs=1e-4)  # ln(0.5) / 2
    assert first == {
        "id": 0,
        "seek": 50,
        "start": 0.5,
        "end": 61.5,
        "text": "good morning",
        "tokens": [],
        "temperature": 0.4,
        "no_speech_prob": 0.25,
    }
    assert (second["id"], second["text"]) == (1, "everyone")
    words = json.loads(spoken(response_format="verbose_json", **{"timestamp_granularities[]": "word"}))
    assert words["words"][1] == {"word": "morning", "start": 1.25, "end": 61.5}
    assert "segments" not in words


def test_both_granularities_at_once_give_both():
    body, content_type = form(b"RIFF", model="whisper-1", response_format="verbose_json")
    field = '--frontier\r\nContent-Disposition: form-data; name="timestamp_granularities[]"\r\n\r\n{}\r\n'
    status, answer = ask("".join(map(field.format, ("word", "segment"))).encode() + body, content_type)
    assert status == 200
    assert {"words", "segments"} <= json.loads(answer).keys()


def test_subtitles_are_written_as_whisper_writes_them():
    assert spoken(response_format="srt").decode() == (
        "1\n00:00:00,500 --> 00:01:01,500\ngood morning\n\n2\n01:02:00,000 --> 01:02:03,400\neveryone\n\n"
    )
    assert spoken(response_format="vtt").decode() == (
        "WEBVTT\n\n00:00:00.500 --> 00:01:01.500\ngood morning\n\n01:02:00.000 --> 01:02:03.400\neveryone\n\n"
    )


def test_a_stream_is_a_delta_for_each_segment_and_the_whole_in_the_end():
    assert events(spoken(stream="true")) == [
        {"type": "transcript.text.delta", "delta": "good morning"},
        {"type": "transcript.text.delta", "delta": " everyone"},
        {
            "type": "transcript.text.done",
            "text": "good morning everyone",
            "usage": {"type": "duration", "seconds": 3724},
        },
    ]


def test_before_each_delta_a_comment_says_how_much_of_the_audio_was_heard():
    comments = [line for line in spoken(stream="true").decode().splitlines() if line.startswith(":")]
    assert comments == [": heard 61.50 of 3723.46 s", ": heard 3723.40 of 3723.46 s"]


def test_a_stream_that_breaks_off_ends_with_an_error_and_without_the_end():
    body = spoken(stream="true", damaged=True)
    assert body.count(b"event: error\n") == 1
    last = events(body)[-1]["error"]
    assert (last["param"], last["code"], last["type"]) == ("file", "unsupported_format", "invalid_request_error")
    assert b"transcript.text.done" not in body


@pytest.mark.parametrize(
    ("status", "param", "code", "fields"),
    [
        (404, "model", "model_not_found", {"model": "whisper-9"}),
        (400, "model", "missing_required_parameter", {}),
        (400, "response_format", "invalid_value", {"model": "whisper-1", "response_format": "xml"}),
        (400, "response_format", "invalid_value", {"model": "whisper-1", "response_format": "diarized_json"}),
        (
            400,
            "response_format",
            "unsupported_value",
            {"model": "whisper-1", "response_format": "srt", "stream": "true"},
        ),
        (400, "stream", "invalid_value", {"model": "whisper-1", "stream": "maybe"}),
        (400, "language", "unsupported_value", {"model": "whisper-1", "language": "de"}),
        (400, "temperature", "invalid_type", {"model": "whisper-1", "temperature": "hot"}),
        (400, "temperature", "invalid_value", {"model": "whisper-1", "temperature": "nan"}),
        (400, "temperature", "invalid_value", {"model": "whisper-1", "temperature": "2"}),
        (400, "include", "unsupported_value", {"model": "whisper-1", "include[]": "logprobs"}),
        (400, "chunking_strategy", "unsupported_value", {"model": "whisper-1", "chunking_strategy": "{}"}),
        (
            400,
            "chunking_strategy",
            "unsupported_value",
            {"model": "whisper-1", "chunking_strategy[type]": "server_vad"},
        ),
        (400, "known_speaker_names", "unsupported_value", {"model": "whisper-1", "known_speaker_names[]": "me"}),
        (400, "timestamp_granularities", "invalid_value", {"model": "whisper-1", "timestamp_granularities[]": "word"}),
        (
            400,
            "timestamp_granularities",
            "invalid_value",
            {"model": "whisper-1", "response_format": "verbose_json", "timestamp_granularities[]": "day"},
        ),
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


def test_models_are_listed_and_told_one_by_one():
    status, body = ask(b"", "", method="GET", path="/v1/models")
    (model,) = json.loads(body)["data"]
    assert (status, model["id"], model["object"]) == (200, "whisper-1", "model")
    assert json.loads(ask(b"", "", method="GET", path="/v1/models/whisper-1")[1]) == model
    status, body = ask(b"", "", method="GET", path="/v1/models/whisper-9")
    assert (status, json.loads(body)["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("status", "code", "method", "path"),
    [
        (405, "method_not_supported", "GET", TRANSCRIPTIONS),
        (405, "method_not_supported", "POST", "/v1/models"),
        (404, "unknown_url", "GET", "/v1/chat/completions"),
        (400, "unsupported_model", "POST", "/v1/audio/translations"),
    ],
)
def test_other_paths_and_methods_are_refused(status, code, method, path):
    answered, body = ask(b"", "", method=method, path=path)
    assert (answered, json.loads(body)["error"]["code"]) == (status, code)


def test_health_says_that_it_answers_and_the_self_test_that_it_hears():
    assert ask(b"", "", method="GET", path="/health") == (200, b'{"status": "ok"}')
    assert ask(b"", "", method="GET", path="/selftest") == (200, b'{"status": "ok"}')
    deaf = handler(by_sample(echo, MODELS, KnownSample(b"RIFF", "5 bytes")))
    assert ask(b"", "", method="GET", path="/selftest", handle=deaf)[0] == 503


class InGerman:
    """One sentence, as a model wrote it down."""

    seconds = 3.0
    language = "german"

    def __iter__(self):
        yield Segment((), 0.75, Written("Good day, friends.", 0.5, 2.25, -0.125, (1, 2, 3), 0.2))


class Polyglot:
    """An engine that knows two languages and translates; it keeps what forms say."""

    def __init__(self):
        self.forms = []
        able = Abilities({"en": "en", "english": "en", "de": "de", "german": "de"}, translates=True)
        self.handle = handler(Engine(self.listen, MODELS, lambda _: True, able=able))

    def listen(self, form):
        self.forms.append(form)
        return InGerman()

    def ask(self, path=TRANSCRIPTIONS, **fields):
        status, body = ask(*form(b"RIFF", model="whisper-1", **fields), path=path, handle=self.handle)
        return status, json.loads(body)


def test_an_engine_of_many_languages_is_told_which_what_was_said_before_and_whether_to_look_for_speech():
    engine = Polyglot()
    engine.ask(language="German", prompt="Names: Anna", chunking_strategy="auto", temperature="0.5")
    engine.ask(language="")
    told, untold = engine.forms
    assert (told.task, told.language, told.prompt, told.chunked) == ("transcribe", "de", "Names: Anna", True)
    assert (untold.language, untold.prompt, untold.chunked) == (None, "", False)


def test_a_translation_is_one_and_says_so():
    engine = Polyglot()
    status, answer = engine.ask(TRANSLATIONS, response_format="verbose_json")
    assert (status, engine.forms[0].task) == (200, "translate")
    assert (answer["task"], answer["language"], answer["text"]) == ("translate", "german", "Good day, friends.")


def test_a_segment_of_a_model_that_writes_has_its_tokens_and_what_the_model_thought_of_it():
    _, answer = Polyglot().ask(response_format="verbose_json")
    [segment] = answer["segments"]
    assert (segment["start"], segment["end"], segment["seek"]) == (0.5, 2.25, 50)
    assert (segment["tokens"], segment["temperature"]) == ([1, 2, 3], 0.2)
    assert (segment["avg_logprob"], segment["no_speech_prob"]) == (-0.125, 0.75)


@pytest.mark.parametrize(
    ("param", "value"), [("language", "klingon"), ("prompt", "x" * (MAXIMUM_PROMPT + 1)), ("chunking_strategy", "mine")]
)
def test_what_it_cannot_honour_is_refused_by_name(param, value):
    status, answer = Polyglot().ask(**{param: value})
    assert (status, answer["error"]["param"]) == (400, param)
