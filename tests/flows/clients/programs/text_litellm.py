"""What a program does with litellm and a model that writes: one JSON object."""

import json
import os
import time

import litellm


def asked(question, **fields):
    messages = [{"role": "user", "content": question}]
    base = os.environ["OPENAI_BASE_URL"]
    return litellm.completion(model="openai/llama", api_base=base, messages=messages, temperature=0, **fields)


def pieces():
    """Each with the seconds since it was asked for."""
    started = time.monotonic()
    return [
        [time.monotonic() - started, choice.delta.content]
        for chunk in asked("Count to sixteen.", stream=True)
        for choice in chunk.choices
        if choice.delta.content
    ]


whole = asked("What is the capital of France?")
said = {"text": whole.choices[0].message.content, "usage": whole.usage.completion_tokens}
print(json.dumps({"whole": said, "streams": [pieces() for _ in range(3)]}))
