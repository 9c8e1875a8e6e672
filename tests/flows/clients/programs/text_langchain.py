"""What a program does with langchain-openai and a model that writes: one JSON object, a member for each call."""

import json
import time

from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def get_weather(city: str) -> str:
    """The weather in a city, now."""
    return {"Oslo": "sunny"}[city]


model = ChatOpenAI(model="llama", temperature=0, max_retries=0)
whole = model.invoke("What is the capital of France?")


def pieces():
    """Each with the seconds since it was asked for."""
    started = time.monotonic()
    stream = model.stream("Count to sixteen.")
    return [[time.monotonic() - started, chunk.content] for chunk in stream if chunk.content]


armed, question = model.bind_tools([get_weather]), "What is the weather in Oslo?"
called = armed.invoke(question)
results = [get_weather.invoke(call) for call in called.tool_calls]
assert all(isinstance(result, ToolMessage) for result in results)
then = armed.invoke([("user", question), called, *results])
calls = [[call["name"], call["args"]] for call in called.tool_calls]
said = {
    "whole": {"text": whole.content, "usage": whole.usage_metadata["output_tokens"]},
    "streams": [pieces() for _ in range(3)],
    "tool": {"calls": calls, "then": then.content},
}
print(json.dumps(said))
