"""What a program does with Anthropic's SDK for Python and a model that writes: one JSON object."""

import json
import os
import time

import anthropic

MODEL = "llama"
CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
COUNT = [{"role": "user", "content": "Count to sixteen."}]
WEATHER = [{"role": "user", "content": [{"type": "text", "text": "What is the weather in Oslo?"}]}]
PICTURE = {"type": "image", "source": {"type": "url", "url": "http://192.0.2.1/a.png"}}
ELSEWHERE = [{"role": "user", "content": [PICTURE]}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"name": "get_weather", "description": "The weather in a city, now.", "input_schema": SCHEMA}]


def told(call):
    """What came of a call."""
    try:
        return {"answered": call()}
    except anthropic.APIStatusError as error:
        return {"raised": type(error).__name__, "status": error.status_code, "type": error.body["error"]["type"]}


def asked(client, messages, *, model=MODEL, extra=None, **fields):
    """This SDK has no temperature of its own any more."""
    body = {"temperature": 0} | (extra or {})
    return client.messages.create(model=model, max_tokens=100, messages=messages, extra_body=body, **fields)


def whole(client):
    answer = asked(client, CAPITAL)
    return {
        "text": answer.content[0].text,
        "stop": answer.stop_reason,
        "usage": answer.usage.model_dump(exclude_none=True),
    }


def streamed(client):
    """Each piece with the seconds since it was asked for, and the message that the SDK put together."""
    started = time.monotonic()
    asking = {"model": MODEL, "max_tokens": 100, "messages": COUNT, "extra_body": {"temperature": 0}}
    with client.messages.stream(**asking) as stream:
        pieces = [[time.monotonic() - started, text] for text in stream.text_stream]
        final = stream.get_final_message()
    return {"pieces": pieces, "text": final.content[0].text, "stop": final.stop_reason, "model": final.model}


def with_tool(client):
    """A question, the call that the model makes, and what it says to the tool's answer."""
    first = asked(client, WEATHER, tools=TOOLS)
    call = next(block for block in first.content if block.type == "tool_use")
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]}
    earlier = {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}],
    }
    then = asked(client, [*WEATHER, earlier, result], tools=TOOLS)
    return {"call": [call.name, call.input], "stop": first.stop_reason, "then": then.content[0].text}


base = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")
with anthropic.Anthropic(base_url=base, auth_token=os.environ["OPENAI_API_KEY"], max_retries=0) as client:
    said = {
        "whole": told(lambda: whole(client)),
        "streams": [streamed(client) for _ in range(3)],
        "tool": told(lambda: with_tool(client)),
        "counted": told(lambda: client.messages.count_tokens(model=MODEL, messages=CAPITAL).input_tokens),
        "another model": told(lambda: asked(client, CAPITAL, model="claude-sonnet-5").id),
        "bad field": told(lambda: asked(client, CAPITAL, extra={"container": "c"}).id),
        "fetched": told(lambda: asked(client, ELSEWHERE).id),
    }
print(json.dumps(said))
