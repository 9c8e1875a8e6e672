"""What a program does with OpenAI's SDK for Python and a model that writes: one JSON object, a member for each call.

Argument: `all`, or `stream` for one streamed chat alone.
"""

import json
import sys
import time

import openai

MODEL = "llama"
COUNT = [{"role": "user", "content": "Count to sixteen."}]
LONG = [{"role": "user", "content": "again " * 2000}]  # the model reads 1024 tokens
CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER = [{"role": "user", "content": "What is the weather in Oslo?"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "get_weather", "description": "The weather in a city, now.", "parameters": PARAMETERS}
TOOLS = [{"type": "function", "function": FUNCTION}]


def told(call):
    """What came of a call."""
    try:
        return {"answered": call()}
    except openai.APIError as error:
        names = ("code", "param", "status_code")
        return {"raised": type(error).__name__} | {name: getattr(error, name, None) for name in names}


def chat(client, messages=CAPITAL, **fields):
    asked = {"model": MODEL, "messages": messages, "temperature": 0} | fields
    return client.chat.completions.create(**asked)


def streamed(client, messages=COUNT, **fields):
    """Each piece with the seconds since it was asked for, and what the last events said."""
    started = time.monotonic()
    pieces, finish = [], None
    usage: dict[str, int] = {}
    for chunk in chat(client, messages, stream=True, stream_options={"include_usage": True}, **fields):
        usage = chunk.usage.model_dump(exclude_none=True) if chunk.usage else usage
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            if choice.delta.content:
                pieces.append([time.monotonic() - started, choice.delta.content])
    return {"pieces": pieces, "finish": finish, "usage": usage}


def called(message):
    return [[call.function.name, json.loads(call.function.arguments)] for call in message.tool_calls]


def with_tool(client):
    """A question, the call that the model makes, and what it says to the tool's answer."""
    first = chat(client, WEATHER, tools=TOOLS).choices[0]
    result = {"role": "tool", "content": "sunny", "tool_call_id": first.message.tool_calls[0].id}
    earlier = first.message.model_dump(exclude_none=True)
    then = chat(client, [*WEATHER, earlier, result], tools=TOOLS).choices[0]
    return {"calls": called(first.message), "finish": first.finish_reason, "then": then.message.content}


def streamed_tool(client):
    """The calls, put together: a server may give a call's arguments whole, or in pieces."""
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for chunk in chat(client, WEATHER, tools=TOOLS, stream=True):
        for call in (call for choice in chunk.choices for call in choice.delta.tool_calls or ()):
            names[call.index] = call.function.name or names[call.index]
            arguments[call.index] = arguments.get(call.index, "") + (call.function.arguments or "")
    return [[name, json.loads(arguments[index])] for index, name in names.items()]


def responded(client):
    answer = client.responses.create(model=MODEL, input=CAPITAL[0]["content"], temperature=0)
    return {"text": answer.output_text, "status": answer.status, "usage": answer.usage.output_tokens}


def responded_in_events(client):
    with client.responses.stream(model=MODEL, input=COUNT[0]["content"], temperature=0) as events:
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        return {"deltas": deltas, "text": events.get_final_response().output_text}


def completed(client, **fields):
    return client.completions.create(model=MODEL, prompt="Once upon a time", temperature=0, max_tokens=64, **fields)


def whole(client):
    answer = chat(client)
    return {
        "text": answer.choices[0].message.content,
        "finish": answer.choices[0].finish_reason,
        "usage": answer.usage.model_dump(exclude_none=True),
    }


with openai.OpenAI(max_retries=0) as client:
    said = {"streamed": told(lambda: streamed(client))}
    if sys.argv[1] == "all":
        said |= {
            "streams": [streamed(client)["pieces"] for _ in range(3)],
            "whole": told(lambda: whole(client)),
            "tool": told(lambda: with_tool(client)),
            "streamed tool": told(lambda: streamed_tool(client)),
            "completion": told(lambda: completed(client).choices[0].text),
            "streamed completion": told(lambda: [one.choices[0].text for one in completed(client, stream=True)]),
            "response": told(lambda: responded(client)),
            "streamed response": told(lambda: responded_in_events(client)),
            "models": told(lambda: [model.id for model in client.models.list()]),
            "model": told(lambda: client.models.retrieve(MODEL).id),
            "another model": told(lambda: chat(client, model="gpt-4o").id),
            "bad field": told(lambda: chat(client, temperature=3).id),
            "unknown field": told(lambda: chat(client, extra_body={"frequency": 1}).id),
            "too long": told(lambda: chat(client, LONG).id),
            "too long, streamed": told(lambda: list(chat(client, LONG, stream=True))),
            "embedding": told(lambda: client.embeddings.create(model=MODEL, input="text").data),
        }
print(json.dumps(said))
