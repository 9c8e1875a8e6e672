"""What OpenAI's SDK for Python gets for more requests at a time than a service takes: one JSON list.

Arguments: the module whose transport is used; a file to send.
"""

import asyncio
import importlib
import json
import sys
from pathlib import Path

import openai

import cloister

REQUESTS = 150


async def told(client, file):
    try:
        await client.audio.transcriptions.create(model="whisper-1", file=file)
    except openai.APIStatusError as error:
        return [type(error).__name__, error.code, error.response.headers.get("retry-after")]
    return ["answered", None, None]


async def main(http, file):
    transport = cloister.async_transport(http)
    async with openai.AsyncOpenAI(
        api_key="not needed", max_retries=0, http_client=http.AsyncClient(transport=transport)
    ) as client:
        await told(client, file)
        print(json.dumps(await asyncio.gather(*(told(client, file) for _ in range(REQUESTS)))))


asyncio.run(main(importlib.import_module(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
