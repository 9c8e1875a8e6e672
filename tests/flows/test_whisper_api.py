"""The Whisper API of the real engine in its real sandbox: every format, as it comes, and nothing of it left."""

import asyncio
import io
import json
import os
import time
from array import array
from pathlib import Path

import av
import pytest
from tests.doubles.sandboxes import staged
from tests.speech import SENTENCES, encoded, form, spoken, tone, wav

from cloister.formats.binary_http import Request
from cloister.sandbox.closure import SPEECH
from cloister.sandbox.escapes.launcher import descendants
from cloister.sandbox.service import EngineService
from cloister.sandbox.sizes import Sizes

CONTAINERS = [
    ("wav", "pcm_s16le"),
    ("mp3", "libmp3lame"),
    ("ogg", "libopus"),
    ("flac", "flac"),
    ("ipod", "aac"),
    ("mp4", "aac"),
    ("webm", "libopus"),
]
FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
PAUSE = bytes(2 * 16_000 * 2)


@pytest.fixture(scope="module")
def speech():
    with staged(SPEECH) as ready:
        yield ready


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The samples of a sentence."""
    return spoken(SENTENCES[0], "slt", tmp_path_factory.mktemp("sound"))[44:]


@pytest.fixture(scope="module")
def word(tmp_path_factory):
    """The samples of two short words."""
    return spoken("Good morning.", "slt", tmp_path_factory.mktemp("word"))[44:]


def request(file, **fields):
    body, content_type = form(file, **{"model": "whisper-1"} | fields)
    return Request("POST", "http", "engine", "/v1/audio/transcriptions", (("content-type", content_type),), body)


async def asked(service, file, **fields):
    return await service.ask(request(file, **fields), seconds=600)


class Streamed:
    """A request on a connection of its own, its body sent in chunks, its answer read as it comes."""

    def __init__(self, service: EngineService, wanted: Request) -> None:
        (seat,) = service._seats
        self.engine = seat.engine
        self.wanted = wanted

    async def __aenter__(self):
        self.reader, self.writer = await self.engine.connect()
        head = f"POST {self.wanted.path} HTTP/1.1\r\ncontent-type: {self.wanted.headers[0][1]}\r\n"
        self.writer.write(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
        for start in range(0, len(self.wanted.body), 65_536):
            piece = self.wanted.body[start : start + 65_536]
            self.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await self.writer.drain()
        self.writer.write(b"0\r\n\r\n")
        return self

    async def __aexit__(self, *_):
        self.writer.close()

    async def events(self):
        while line := await self.reader.readline():
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))

    async def working(self, *, processes):
        """Wait until so many processes of the engine are there beside the one that waits and bubblewrap's two."""
        for _ in range(1000):
            if len(descendants(self.engine.pid) | {self.engine.pid}) == 3 + processes:
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"{len(descendants(self.engine.pid))} processes")


async def test_each_container_is_heard_and_each_format_written(speech, word):
    files = [encoded(wav(word), *kind) for kind in CONTAINERS]
    async with speech.service(Sizes()) as service:
        texts = [json.loads((await asked(service, file)).body)["text"] for file in files]
        written = {name: (await asked(service, files[0], response_format=name)).body.decode() for name in FORMATS}
    assert texts == ["good morning"] * len(files)
    assert written["text"] == "good morning\n"
    assert written["srt"].startswith("1\n00:00:00,")
    assert written["vtt"].startswith("WEBVTT\n\n00:00:00.")
    assert json.loads(written["verbose_json"])["segments"][0]["text"] == "good morning"
    assert all("good morning" in written[name] for name in FORMATS)


async def test_words_and_segments_lie_where_they_were_spoken(speech, word):
    apart = (len(PAUSE) + len(word)) / 32_000
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    both = wav((PAUSE + word) * 2)
    async with speech.service(Sizes()) as service:
        words = json.loads((await asked(service, both, **fields)).body)["words"]
        answer = json.loads((await asked(service, both, response_format="verbose_json")).body)
    assert answer["duration"] == pytest.approx(2 * apart, abs=0.01)
    one, two = answer["segments"]
    assert len(PAUSE) / 32_000 - 0.1 <= one["start"] < one["end"] <= apart + 0.1
    assert two["start"] - one["start"] == pytest.approx(apart, abs=0.1)
    assert one["avg_logprob"] < 0 < one["compression_ratio"]
    assert [word["word"] for word in words] == ["good", "morning"] * 2
    assert one["start"] == words[0]["start"] < words[0]["end"] <= words[1]["start"] < words[1]["end"] == one["end"]


async def test_a_stream_says_what_was_heard_before_the_rest_was(speech, word):
    wanted = request(wav((word + PAUSE) * 6), stream="true")
    async with speech.service(Sizes()) as service, Streamed(service, wanted) as streamed:
        begun = time.monotonic()
        events = [(time.monotonic() - begun, event) async for event in streamed.events()]
    *deltas, (ended, done) = events
    assert len(deltas) == 6
    assert done["type"] == "transcript.text.done"
    assert done["text"] == "".join(event["delta"] for _, event in deltas)
    assert done["usage"] == {"type": "duration", "seconds": pytest.approx(6 * (len(word + PAUSE)) / 32_000, abs=1)}
    assert deltas[0][0] < ended / 2


async def test_when_the_connection_closes_in_mid_utterance_the_work_ends(speech, sound, word):
    wanted = request(wav(word + PAUSE + sound * 20), stream="true")
    async with speech.service(Sizes()) as service:
        async with Streamed(service, wanted) as streamed:
            await streamed.working(processes=1)
            await anext(streamed.events())
        await streamed.working(processes=0)
        assert json.loads((await asked(service, wav(word))).body)["text"] == "good morning"


async def test_two_are_heard_at_the_same_time_in_one_engine(speech, word):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor")
    wanted = request(wav((word + PAUSE) * 2), stream="true")
    async with speech.service(Sizes()) as service, Streamed(service, wanted) as one, Streamed(service, wanted) as two:
        await one.working(processes=2)
        texts = [[event async for event in streamed.events()][-1]["text"] for streamed in (one, two)]
    assert texts[0] == texts[1]


async def test_a_long_upload_takes_as_much_memory_as_it_is_long_and_little_more(speech):
    long = wav(bytes(25 * 2**20 - 2000), rate=8_000)  # 27 minutes
    async with speech.service(Sizes()) as service:
        (seat,) = service._seats
        peak = seat.engine.group.folders[:1] and seat.engine.group.folders[0] / "memory.max_usage_in_bytes"
        if not isinstance(peak, Path) or not peak.exists():
            pytest.skip("no control group of version 1 counts the memory")
        await asked(service, wav(tone(0.2)))
        before = int(peak.read_text())
        async with Streamed(service, request(long, response_format="text")) as streamed:
            assert (await streamed.reader.readline()).startswith(b"HTTP/1.1 200")
        assert int(peak.read_text()) - before < 60 * 2**20


def many_streams(number):
    """A second of silence, so many times beside itself."""
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as sink:
        for stream in [sink.add_stream("pcm_s16le", rate=16_000, layout="mono") for _ in range(number)]:
            silence = av.AudioFrame(format="s16", layout="mono", samples=16_000)
            silence.sample_rate = 16_000
            silence.planes[0].update(bytes(32_000))
            sink.mux(stream.encode(silence))
    return out.getvalue()


HOPELESS = {
    "empty": (b"", "unsupported_format"),
    "no audio": (b"\x00" * 5000, "unsupported_format"),
    "a playlist": (b"#EXTM3U\n#EXTINF:5\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "unsupported_format"),
    "cut before its index": (encoded(wav(tone(1)), "mp4", "aac")[:500], "unsupported_format"),
    "a blink": (wav(tone(0.05)), "audio_too_short"),
    "one sample a second": (wav(bytes(8000), rate=1), "audio_too_long"),
}


async def test_what_cannot_be_heard_is_an_error_that_names_the_file_and_says_why(speech):
    async with speech.service(Sizes()) as service:
        answers = {name: await asked(service, file, stream="true") for name, (file, _) in HOPELESS.items()}
    errors = {name: json.loads(answer.body)["error"] for name, answer in answers.items()}
    assert {name: answer.status for name, answer in answers.items()} == dict.fromkeys(HOPELESS, 400)
    assert {name: error["code"] for name, error in errors.items()} == {
        name: code for name, (_, code) in HOPELESS.items()
    }
    assert {(error["param"], error["type"]) for error in errors.values()} == {("file", "invalid_request_error")}


async def test_what_is_silent_cut_off_or_oddly_made_is_heard_as_far_as_it_goes(speech, word):
    cut = encoded(wav(word + PAUSE + word), "ogg", "libopus")
    slow = wav(array("h", array("h", word)[::2]).tobytes(), rate=8_000)
    async with speech.service(Sizes()) as service:
        texts = [
            json.loads((await asked(service, file)).body)["text"]
            for file in (wav(PAUSE), cut[: len(cut) // 2], slow, many_streams(64))
        ]
    assert texts == ["", "good morning", "good morning", ""]
