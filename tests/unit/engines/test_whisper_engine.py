"""The whisper engine over a tiny real model: what it hears, in every format, and models that it does not load."""

import io
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from array import array
from pathlib import Path

import av
import numpy as np
import pytest
from tests.doubles.tiny_models import tiny_model
from tests.speech import encoded, form, spoken, tone, wav

pytest.importorskip("faster_whisper")

from faster_whisper.feature_extractor import FeatureExtractor

from cloister.engines import ended
from cloister.engines.http_exchange import Request
from cloister.engines.models_api import MODELS
from cloister.engines.transcription_api import SELFTEST, TRANSCRIPTIONS, TRANSLATIONS, handler
from cloister.engines.whisper import engine_of
from cloister.engines.whisper_features import Features
from cloister.engines.whisper_languages import NAMES
from cloister.engines.whisper_model import Whisper
from cloister.errors import MalformedInput

SENTENCES = ("We went to the market to buy bread.", "The train leaves at seven.", "Please call my sister.")
GERMAN, IN_ENGLISH = "Guten Tag, liebe Freunde.", "Good day, dear friends."
SECOND = bytes(32_000)


@pytest.fixture(scope="module")
def whisper():
    return engine_of(tiny_model("whisper"))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spoken")
    return {text: spoken(text, "rms", folder) for text in (*SENTENCES, GERMAN)}


@pytest.fixture(scope="module")
def samples(recordings):
    return {text: file[44:] for text, file in recordings.items()}


def ask(whisper, file, path=TRANSCRIPTIONS, **fields):
    body, kind = form(file, model="whisper-1", **fields)
    answer = handler(whisper[0])(Request("POST", path, {"content-type": kind}, body))
    return answer.status, answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)


def heard(whisper, file, path=TRANSCRIPTIONS, **fields):
    status, body = ask(whisper, file, path, **fields)
    assert status == 200, body
    return body.decode()


def text(whisper, file, path=TRANSCRIPTIONS, **fields):
    return json.loads(heard(whisper, file, path, **fields))["text"]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_it_hears_each_sentence(whisper, recordings, sentence):
    assert text(whisper, recordings[sentence]) == sentence
    assert text(whisper, recordings[sentence], language="english") == sentence
    assert text(whisper, recordings[sentence], chunking_strategy="auto") == sentence
    assert text(whisper, recordings[sentence], prompt="Please call my sister.") == sentence


def test_it_finds_out_the_language_and_translates(whisper, recordings):
    found = json.loads(heard(whisper, recordings[GERMAN], response_format="verbose_json"))
    assert (found["language"], found["task"], found["text"]) == ("german", "transcribe", GERMAN)
    found = json.loads(heard(whisper, recordings[GERMAN], TRANSLATIONS, response_format="verbose_json"))
    assert (found["task"], found["text"]) == ("translate", IN_ENGLISH)
    assert text(whisper, recordings[SENTENCES[0]], TRANSLATIONS) == SENTENCES[0]


def test_it_answers_in_every_format(whisper, recordings):
    file, said = recordings[SENTENCES[0]], SENTENCES[0]
    assert heard(whisper, file, response_format="text") == f"{said}\n"
    assert heard(whisper, file, response_format="srt") == f"1\n00:00:00,000 --> 00:00:02,280\n{said}\n\n"
    assert heard(whisper, file, response_format="vtt") == f"WEBVTT\n\n00:00:00.000 --> 00:00:02.280\n{said}\n\n"


def test_segments_have_their_times_and_what_the_model_thought_of_them(whisper, samples):
    both = wav(samples[SENTENCES[0]] + SECOND + samples[SENTENCES[1]])
    found = json.loads(heard(whisper, both, response_format="verbose_json"))
    assert [segment["text"] for segment in found["segments"]] == list(SENTENCES[:2])
    times = [(segment["start"], segment["end"]) for segment in found["segments"]]
    assert times == [(0.0, 2.28), (3.28, 5.28)]
    for segment in found["segments"]:
        assert segment["tokens"]
        assert -1 < segment["avg_logprob"] < 0
        assert 0 <= segment["no_speech_prob"] < 0.5


def test_words_have_their_times_in_their_order(whisper, recordings):
    asked = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    found = json.loads(heard(whisper, recordings[SENTENCES[1]], **asked))
    assert [word["word"] for word in found["words"]] == SENTENCES[1].split()
    times = [time for word in found["words"] for time in (word["start"], word["end"])]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= found["duration"] + 0.1
    assert "segments" not in found


def test_a_long_file_comes_as_events_window_by_window(whisper, samples):
    first, second = samples[SENTENCES[0]], samples[SENTENCES[1]]
    long = wav(first + bytes(30 * len(SECOND) - len(first)) + second)
    events = [
        json.loads(event.split("data: ")[1]) for event in heard(whisper, long, stream="true").strip().split("\n\n")
    ]
    assert [event.get("delta") for event in events] == [SENTENCES[0], f" {SENTENCES[1]}", None]
    assert events[-1]["text"] == f"{SENTENCES[0]} {SENTENCES[1]}"
    assert text(whisper, long, chunking_strategy="auto") == f"{SENTENCES[0]} {SENTENCES[1]}"


@pytest.mark.parametrize(
    ("container", "codec"), [("ogg", "libopus"), ("mp3", "libmp3lame"), ("flac", "flac"), ("ipod", "aac")]
)
def test_it_hears_other_containers(whisper, recordings, container, codec):
    assert text(whisper, encoded(recordings[SENTENCES[1]], container, codec)) == SENTENCES[1]


def test_it_hears_stereo_of_another_rate(whisper, recordings):
    out = io.BytesIO()
    with av.open(io.BytesIO(recordings[SENTENCES[0]]), "r") as source, av.open(out, "w", format="wav") as sink:
        stream = sink.add_stream("pcm_s16le", rate=48_000, layout="stereo")
        assert isinstance(stream, av.AudioStream)
        for frame in source.decode(audio=0):
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))
    assert out.getvalue()[22:28] == struct.pack("<HI", 2, 48_000)
    assert text(whisper, out.getvalue()) == SENTENCES[0]


def test_a_file_that_is_cut_off_is_heard_as_far_as_it_goes(whisper, samples):
    whole = wav(samples[SENTENCES[0]] + SECOND + samples[SENTENCES[1]])
    assert text(whisper, whole[: 44 + len(samples[SENTENCES[0]])]) == SENTENCES[0]


def test_a_header_that_claims_ten_gigabytes_is_heard_as_far_as_it_goes(whisper, samples):
    """RF64 (EBU Tech 3306), since RIFF's own lengths end at 4 GiB."""
    claimed = 10 * 2**30
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, claimed + 72, claimed, claimed // 2, 0)
    shape = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    head = b"RF64\xff\xff\xff\xffWAVE" + sizes + shape + b"data\xff\xff\xff\xff"
    assert text(whisper, head + samples[SENTENCES[1]]) == SENTENCES[1]


@pytest.mark.parametrize("chunking", ["", "auto"])
@pytest.mark.parametrize("sound", [SECOND * 2, tone(2), array("h", [1, -1] * 16_000).tobytes()])
def test_where_nobody_speaks_it_makes_nothing_up(whisper, sound, chunking):
    found = json.loads(heard(whisper, wav(sound), chunking_strategy=chunking, response_format="verbose_json"))
    assert (found["text"], found["segments"], found["language"]) == ("", [], "unknown")
    assert heard(whisper, wav(sound), response_format="vtt") == "WEBVTT\n\n"


def test_without_looking_for_speech_the_model_does_make_something_up(whisper):
    """The control of the test above."""
    found, _ = whisper[1].awaken().transcribe(np.zeros(32_000, np.float32))
    assert "".join(segment.text for segment in found)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"language": "xx"}, "language"),
        ({"temperature": "2"}, "temperature"),
        ({"response_format": "docx"}, "response_format"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities"),
        ({"include[]": "logprobs"}, "include"),
    ],
)
def test_each_wrong_field_is_one_error_that_names_it(whisper, fields, param):
    status, body = ask(whisper, b"RIFF", **fields)
    assert (status, json.loads(body)["error"]["param"]) == (400, param)


@pytest.mark.parametrize(("file", "code"), [(b"no audio", "unsupported_format"), (wav(tone(0.05)), "audio_too_short")])
def test_what_is_no_audio_is_refused(whisper, file, code):
    status, body = ask(whisper, file)
    assert (status, json.loads(body)["error"]["code"]) == (400, code)


def test_it_says_its_names_and_passes_the_test_beside_the_model(whisper):
    handle = handler(whisper[0])
    listed = handle(Request("GET", MODELS, {}, b"")).body
    assert isinstance(listed, bytes)
    assert [model["id"] for model in json.loads(listed)["data"]] == ["whisper-1", "tiny/whisper"]
    assert handle(Request("GET", SELFTEST, {}, b"")).status == 200


@pytest.fixture
def folder(tmp_path):
    """A copy of the model, to be changed."""
    shutil.copytree(tiny_model("whisper"), tmp_path / "whisper", copy_function=shutil.copyfile)
    return tmp_path / "whisper"


def test_without_a_test_it_has_to_hear_the_sample_that_comes_with_the_engine(folder):
    (folder / "selftest.json").unlink()
    engine, _ = engine_of(folder)
    assert engine.passes(handler(engine))


def test_a_model_that_hears_otherwise_than_its_test_says_does_not_pass(folder):
    said = (folder / "selftest.json").read_text()
    (folder / "selftest.json").write_text(said.replace("bread", "milk"))
    engine, _ = engine_of(folder)
    assert not engine.passes(handler(engine))


def without_empty_token(folder):
    """A model without the empty token is one of English only, for CTranslate2."""
    vocabulary = json.loads((folder / "vocabulary.json").read_text())
    vocabulary[vocabulary.index("")] = "something"
    (folder / "vocabulary.json").write_text(json.dumps(vocabulary))


def test_a_model_of_english_only_says_so_and_does_not_translate(folder, recordings):
    without_empty_token(folder)
    (folder / "selftest.json").unlink()
    english = engine_of(folder)
    assert json.loads(ask(english, recordings[GERMAN], TRANSLATIONS)[1])["error"]["code"] == "unsupported_model"
    error = json.loads(ask(english, b"RIFF", language="de")[1])["error"]
    assert (error["param"], "English only" in error["message"]) == ("language", True)


@pytest.mark.parametrize("name", ["model.bin", "config.json", "tokenizer.json"])
def test_a_folder_without_a_file_of_the_model_is_refused(name, folder):
    (folder / name).unlink()
    with pytest.raises(MalformedInput, match=f"{name} is missing"):
        Whisper(folder)


def test_a_damaged_model_is_refused(folder):
    (folder / "model.bin").write_bytes((folder / "model.bin").read_bytes()[:5000])
    with pytest.raises(MalformedInput, match=r"model\.bin is cut off"):
        Whisper(folder)


def test_a_model_with_the_filters_of_another_is_refused(folder):
    (folder / "preprocessor_config.json").write_text('{"feature_size": 128}')
    with pytest.raises(MalformedInput, match="takes 80 bands of sound"):
        Whisper(folder)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("tokenizer.json", "{", "tokenizer.json is not JSON"),
        ("tokenizer.json", "[]", "no model of type BPE"),
        ("preprocessor_config.json", "{", "preprocessor_config.json is not JSON"),
        ("preprocessor_config.json", '{"feature_size": "80"}', "takes 80 bands of sound"),
        ("preprocessor_config.json", '{"n_fft": 512}', "n_fft is not 400"),
    ],
)
def test_a_file_that_is_not_what_it_has_to_be_is_refused_by_name(name, text, why, folder):
    (folder / name).write_text(text)
    with pytest.raises(MalformedInput, match=why):
        Whisper(folder)


def test_filters_that_are_not_there_are_those_of_most_models(folder, recordings):
    (folder / "preprocessor_config.json").unlink()
    assert text(engine_of(folder), recordings[SENTENCES[0]]) == SENTENCES[0]


def test_marks_in_a_prompt_are_words(whisper):
    marks = "<|startoftranscript|><|de|><|translate|>"
    assert max(whisper[1].model.hf_tokenizer.encode(marks).ids) < whisper[1].model.hf_tokenizer.token_to_id(
        "<|endoftext|>"
    )


@pytest.mark.parametrize("field", ["suppress_ids", "suppress_ids_begin", "lang_ids"])
def test_a_model_whose_settings_name_tokens_that_it_has_not_is_refused(field, folder):
    config = json.loads((folder / "config.json").read_text())
    config[field] = [*config[field], 51_865]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(MalformedInput, match=f"{field} has 51865, and ids are whole numbers from 0 to 51864"):
        Whisper(folder)


def test_a_tokenizer_that_is_damaged_is_refused(folder):
    said = json.loads((folder / "tokenizer.json").read_text())
    said["model"]["merges"].append(["nothing", "like it"])
    (folder / "tokenizer.json").write_text(json.dumps(said))
    with pytest.raises(MalformedInput, match="cannot be loaded"):
        Whisper(folder)


def started(model):
    """The engine's own program over `model`, and the socket that it serves."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("")
    listener.listen()
    place = {"PYTHONPATH": os.pathsep.join(sys.path), "MODEL": str(model), "LISTEN_FD": str(listener.fileno())}
    program = subprocess.Popen(
        [sys.executable, "-B", "-m", "cloister.engines.whisper"],
        env=place,
        pass_fds=[listener.fileno()],
        stderr=subprocess.PIPE,
        text=True,
    )
    return program, listener


def test_the_process_that_requests_are_forked_from_has_not_loaded_the_model(recordings):
    program, listener = started(tiny_model("whisper"))
    with listener, program, socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(listener.getsockname())
            body, kind = form(recordings[SENTENCES[1]], model="whisper-1")
            head = f"POST {TRANSCRIPTIONS} HTTP/1.1\r\nhost: a\r\ncontent-type: {kind}\r\n"
            client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            assert SENTENCES[1].encode() in b"".join(iter(lambda: client.recv(65_536), b""))
            threads = len(list(Path(f"/proc/{program.pid}/task").iterdir()))
            assert threads <= 2  # its own, and one of onnxruntime's; CTranslate2 starts more with any model
        finally:
            program.kill()


def test_a_model_that_fails_its_test_ends_the_engine_with_the_number_of_the_case(folder):
    said = (folder / "selftest.json").read_text()
    (folder / "selftest.json").write_text(said.replace("bread", "milk"))
    program, listener = started(folder)
    with listener, program:
        _, error = program.communicate(timeout=60)
    assert (program.returncode, error) == (ended.CASES + 1, "")


def test_a_model_with_the_tokenizer_of_another_is_refused(folder):
    said = json.loads((folder / "tokenizer.json").read_text())
    said["added_tokens"] = [one for one in said["added_tokens"] if one["content"] != "<|translate|>"]
    (folder / "tokenizer.json").write_text(json.dumps(said))
    with pytest.raises(MalformedInput, match="is another model's"):
        Whisper(folder)


def test_the_features_are_those_of_the_library():
    sound = np.random.default_rng(7).normal(0, 0.1, 35 * 16_000 + 123).astype(np.float32)
    for waveform in (sound, sound[:1600], np.zeros(16_000, np.float32)):
        assert np.allclose(Features()(waveform), FeatureExtractor()(waveform), atol=1e-5)


def test_whispers_languages_are_there():
    assert len(NAMES) == 100
    assert NAMES["de"] == "german"
