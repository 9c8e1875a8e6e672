"""Clients of OpenAI's API as their makers publish them, unmodified, before a whole local system."""

import json
import re

import pytest
from tests.flows.clients.conftest import SENTENCE
from tests.speech import word_error_rate

PYTHON = ("openai 2, proxy", "openai 2, transport", "openai 3, proxy", "openai 3, transport")
THROUGH_THE_PROXY = ("openai 2, proxy", "openai 3, proxy", "node")
EVERY_SDK = (*PYTHON, "node")

every_sdk = pytest.mark.parametrize("client", EVERY_SDK)
python_sdks = pytest.mark.parametrize("client", PYTHON)


def is_the_sentence(text):
    return word_error_rate([SENTENCE], [text]) <= 0.25


@every_sdk
@pytest.mark.parametrize("call", ["json", "text"])
def test_speech_comes_back_as_text(client, call, outcomes):
    assert is_the_sentence(outcomes[client][call]["answered"])


@every_sdk
def test_subtitles_have_times_and_the_sentence(client, outcomes):
    srt, vtt = (outcomes[client][call]["answered"].splitlines() for call in ("srt", "vtt"))
    assert (srt[0], vtt[0]) == ("1", "WEBVTT")
    assert re.fullmatch(r"00:00:\d\d,\d{3} --> 00:00:\d\d,\d{3}", srt[1])
    assert re.fullmatch(r"00:00:\d\d\.\d{3} --> 00:00:\d\d\.\d{3}", vtt[2])
    assert is_the_sentence(" ".join(srt[2::4]))


@every_sdk
def test_the_verbose_answer_has_segments_and_words_in_their_order(client, outcomes):
    said = outcomes[client]["verbose_json"]["answered"]
    assert is_the_sentence(said["text"])
    assert is_the_sentence(" ".join(word["word"] for word in said["words"]))
    times = [time for word in said["words"] for time in (word["start"], word["end"])]
    assert times == sorted(times)
    assert said["segments"][-1]["end"] <= float(said["duration"])


@every_sdk
def test_a_stream_gives_deltas_and_then_the_whole(client, outcomes):
    *deltas, (last, text) = outcomes[client]["stream"]["answered"]
    assert {kind for kind, _ in deltas} == {"transcript.text.delta"}
    assert (last, "".join(delta for _, delta in deltas)) == ("transcript.text.done", text)
    assert is_the_sentence(text)


@every_sdk
def test_the_models_are_listed_and_told(client, outcomes):
    listed = outcomes[client]["models"]
    assert "answered" in listed, json.dumps(listed)
    assert "whisper-1" in listed["answered"]
    assert outcomes[client]["model"]["answered"] == "whisper-1"


@every_sdk
def test_the_raw_response_has_its_headers(client, outcomes):
    raw = outcomes[client]["raw"]["answered"]
    assert (raw["status"], raw["headers"]["content-type"]) == (200, "application/json")
    assert is_the_sentence(raw["text"])


@pytest.mark.parametrize("client", THROUGH_THE_PROXY)
def test_the_raw_response_says_where_its_receipt_is(client, outcomes):
    assert outcomes[client]["raw"]["answered"]["headers"]["cloister-receipt-file"].endswith(".receipt")


@python_sdks
def test_a_response_may_be_read_as_it_comes(client, outcomes):
    assert is_the_sentence(outcomes[client]["streamed response"]["answered"])


@python_sdks
def test_an_asynchronous_client_has_several_requests_at_a_time(client, outcomes):
    said = outcomes[client]["async"]["answered"]
    assert all(map(is_the_sentence, said["text"]))
    assert is_the_sentence(said["events"][-1][1])


@every_sdk
@pytest.mark.parametrize(
    ("call", "raised", "status", "code", "param"),
    [
        ("another model", "NotFoundError", 404, "model_not_found", "model"),
        ("another language", "BadRequestError", 400, "unsupported_value", "language"),
        ("no such model", "NotFoundError", 404, "model_not_found", "model"),
        ("translation", "BadRequestError", 400, "unsupported_model", "model"),
        ("another endpoint", "NotFoundError", 404, None, None),
        ("no audio", "BadRequestError", 400, "unsupported_format", "file"),
    ],
)
def test_an_error_of_the_service_is_the_sdks_own(client, call, raised, status, code, param, outcomes):  # noqa: PLR0917
    error = outcomes[client][call]
    assert (error["raised"], error["status_code"], error["code"], error["param"]) == (raised, status, code, param)
    assert str(status) in error["message"]


@pytest.mark.parametrize("client", THROUGH_THE_PROXY)
def test_a_wrong_key_is_an_authentication_error(client, outcomes):
    error = outcomes[client]["wrong key"]
    assert (error["raised"], error["status_code"], error["code"]) == ("AuthenticationError", 401, "invalid_api_key")


@python_sdks
def test_a_file_over_25_mib_is_refused_as_too_large(client, outcomes):
    error = outcomes[client]["too large"]
    assert (error["raised"], error["status_code"], error["param"]) == ("APIStatusError", 413, "file")


@every_sdk
def test_a_limit_that_passes_is_a_timeout(client, outcomes):
    expected = "APIConnectionTimeoutError" if client == "node" else "APITimeoutError"
    assert outcomes[client]["impatient"]["raised"] == expected


@every_sdk
def test_a_way_that_is_closed_is_a_connection_error(client, outcomes):
    assert outcomes[client]["no connection"]["raised"] == "APIConnectionError"


@pytest.mark.parametrize("client", [client for client in PYTHON if "transport" in client])
def test_a_service_that_is_refused_is_a_connection_error_with_the_refusal_beneath(client, outcomes):
    error = outcomes[client]["refused"]
    assert error["raised"] == "APIConnectionError"
    assert error["causes"] == ["RemoteProtocolError", "BundleRefused"]


def test_more_requests_than_the_service_takes_are_rate_limit_errors_that_say_when_to_ask_again(at_once):
    refused = [said for said in at_once if said[0] != "BadRequestError"]
    assert {(name, code) for name, code, _ in refused} == {("RateLimitError", "rate_limit_exceeded")}
    assert all(int(retry_after) > 0 for _, _, retry_after in refused)
    assert len(refused) < len(at_once)


def test_langchains_parser_makes_a_document_of_a_file(outcomes, audio):
    (document,) = outcomes["langchain"]
    assert is_the_sentence(document["text"])
    assert document["metadata"] == {"source": str(audio / "speech.wav"), "chunk": 0}
