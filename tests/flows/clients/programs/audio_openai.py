"""What a program does with OpenAI's SDK for Python and a model that hears: one JSON object, a member for each call.

Argument: a folder with english.wav and german.wav.
"""

import json
import sys
from pathlib import Path

import openai

FILES = Path(sys.argv[1])


def told(call):
    """What came of a call."""
    try:
        return {"answered": call()}
    except openai.APIError as error:
        names = ("code", "param", "status_code")
        return {"raised": type(error).__name__} | {name: getattr(error, name, None) for name in names}


with openai.OpenAI(max_retries=0) as client:

    def asked(kind, name, **fields):
        api = getattr(client.audio, kind)
        return api.create(**{"model": "whisper-1", "file": FILES / name} | fields)

    def verbose():
        answer = asked(
            "transcriptions",
            "english.wav",
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
        )
        words, segments = ([one.model_dump() for one in found] for found in (answer.words, answer.segments))
        return {"language": answer.language, "words": words, "segments": segments}

    said = {
        "english": told(lambda: asked("transcriptions", "english.wav", language="en").text),
        "german": told(lambda: asked("transcriptions", "german.wav").text),
        "translated": told(lambda: asked("translations", "german.wav").text),
        "subtitles": told(lambda: asked("transcriptions", "english.wav", response_format="srt")),
        "verbose": told(verbose),
        "streamed": told(lambda: [event.type for event in asked("transcriptions", "english.wav", stream=True)]),
        "models": told(lambda: [model.id for model in client.models.list()]),
        "another model": told(lambda: asked("transcriptions", "english.wav", model="whisper-9").text),
        "another language": told(lambda: asked("transcriptions", "english.wav", language="xx").text),
        "no audio": told(lambda: asked("transcriptions", "no-audio.wav").text),
    }
print(json.dumps(said))
