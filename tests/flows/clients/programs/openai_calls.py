"""What a program does with OpenAI's SDK for Python, and what it gets: one JSON object, a member for each call.

Arguments: `proxy`, or the name of the module whose transport is used; a folder with speech.wav and other files; a trust
policy that does not take this machine's software TEE.
"""

import asyncio
import importlib
import json
import sys
from pathlib import Path

import openai

way, files, strict = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
MODEL = "whisper-1"


def arguments(client_kind, **options):
    """What the SDK's clients are made with: nothing, or an HTTP client with our transport."""
    if way == "proxy":
        return {"max_retries": 0}
    import cloister

    http = importlib.import_module(way)
    made = {"Client": cloister.transport, "AsyncClient": cloister.async_transport}[client_kind](http, **options)
    return {"max_retries": 0, "api_key": "not needed", "http_client": getattr(http, client_kind)(transport=made)}


def told(call):
    """What came of a call."""
    try:
        return {"answered": call()}
    except openai.APIError as error:
        causes, says, beneath = [], [], error.__cause__
        while beneath is not None:
            causes.append(type(beneath).__name__)
            says.append(str(beneath))
            beneath = beneath.__cause__
        names = ("code", "param", "status_code", "message")
        named = {name: getattr(error, name, None) for name in names}
        return {"raised": type(error).__name__, "causes": causes, "says": says} | named


def transcribe(client, file="speech.wav", **fields):
    return client.audio.transcriptions.create(**{"model": MODEL, "file": files / file} | fields)


async def both(client):
    async with client:
        answers = await asyncio.gather(transcribe(client), transcribe(client, response_format="text"))
        events = [told_event(event) async for event in await transcribe(client, stream=True)]
    return {"text": [answers[0].text, answers[1]], "events": events}


def told_event(event):
    return [event.type, event.delta if event.type.endswith("delta") else event.text]


def verbose(client):
    answer = transcribe(client, response_format="verbose_json", timestamp_granularities=["word", "segment"])
    return answer.model_dump()


def raw(client):
    answer = client.audio.transcriptions.with_raw_response.create(model=MODEL, file=files / "speech.wav")
    return {"headers": dict(answer.headers), "text": answer.parse().text, "status": answer.status_code}


def streamed_response(client):
    with client.audio.transcriptions.with_streaming_response.create(
        model=MODEL, file=files / "speech.wav", response_format="text"
    ) as answer:
        return "".join(answer.iter_text())


def elsewhere():
    """A client whose way is closed."""
    if way == "proxy":
        return openai.OpenAI(base_url="http://127.0.0.1:9/v1", max_retries=0)
    return openai.OpenAI(**arguments("Client", relay="http://127.0.0.1:9"))


with openai.OpenAI(**arguments("Client")) as client:
    said = {
        "json": told(lambda: transcribe(client).text),
        "text": told(lambda: transcribe(client, response_format="text")),
        "srt": told(lambda: transcribe(client, response_format="srt")),
        "vtt": told(lambda: transcribe(client, response_format="vtt")),
        "verbose_json": told(lambda: verbose(client)),
        "stream": told(lambda: [told_event(event) for event in transcribe(client, stream=True)]),
        "models": told(lambda: [model.id for model in client.models.list()]),
        "model": told(lambda: client.models.retrieve(MODEL).id),
        "no such model": told(lambda: client.models.retrieve("whisper-2").id),
        "translation": told(lambda: client.audio.translations.create(model=MODEL, file=files / "speech.wav").text),
        "raw": told(lambda: raw(client)),
        "streamed response": told(lambda: streamed_response(client)),
        "async": told(lambda: asyncio.run(both(openai.AsyncOpenAI(**arguments("AsyncClient"))))),
        "another model": told(lambda: transcribe(client, model="whisper-2")),
        "no audio": told(lambda: transcribe(client, "no-audio.wav")),
        "another language": told(lambda: transcribe(client, language="fr")),
        "temperature": told(lambda: transcribe(client, temperature=2)),
        "too large": told(lambda: transcribe(client, "large.wav")),
        "another endpoint": told(lambda: client.embeddings.create(model=MODEL, input="text").data),
        "impatient": told(lambda: transcribe(client.with_options(timeout=0.05)).text),
        "no connection": told(lambda: transcribe(elsewhere()).text),
    }
    if way == "proxy":
        said["wrong key"] = told(lambda: transcribe(client.with_options(api_key="sk-another")).text)
    else:
        refusing = openai.OpenAI(**arguments("Client", trust_policy=strict))
        said["refused"] = told(lambda: transcribe(refusing).text)
print(json.dumps(said))
