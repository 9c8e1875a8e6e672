"""What a program does with Hugging Face's InferenceClient and a model that writes: one JSON object."""

import json
import os
import time

from huggingface_hub import InferenceClient

client = InferenceClient(base_url=os.environ["OPENAI_BASE_URL"], api_key=os.environ["OPENAI_API_KEY"])


def asked(question, **fields):
    messages = [{"role": "user", "content": question}]
    return client.chat_completion(messages, model="llama", temperature=0, **fields)


def pieces():
    """Each with the seconds since it was asked for."""
    started = time.monotonic()
    return [
        [time.monotonic() - started, choice.delta.content]
        for chunk in asked("Count to sixteen.", stream=True)
        for choice in chunk.choices
        if choice.delta.content
    ]


whole = asked("What is the capital of France?", max_tokens=50)
said = {"text": whole.choices[0].message.content, "usage": whole.usage.completion_tokens}
print(json.dumps({"whole": said, "streams": [pieces() for _ in range(3)]}))
