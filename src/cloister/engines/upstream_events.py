"""A stream of events of an upstream: each is checked and goes on as it comes; a stream that is cut ends in an error.

Source: WHATWG HTML, server-sent events (9.2.6); OpenAI's and Anthropic's streams for what ends one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from cloister.engines.upstream_answers import kept, read_answer
from cloister.engines.upstream_dialects import RESPONSES, Errors, Route
from cloister.engines.upstream_errors import UpstreamError, body_of, failed
from cloister.engines.upstream_responses import Numbering

MAXIMUM_EVENT: Final = 1024 * 1024  # bytes
_NAME: Final = re.compile(rb"[A-Za-z0-9_.-]{1,64}")
_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_KEEP_ALIVE: Final = b": \n\n"
_DONE: Final = b"[DONE]"


def events(pieces: Iterable[bytes], route: Route, *, shape: Errors, model: str | None = None) -> Iterator[bytes]:
    """The events in `pieces`, each as soon as it is whole, with its name and the members that clients get.

    What is not an event, is cut, or is the upstream's own error, ends the stream with one error of ours. Where the
    upstream said why it finished, and forgot `[DONE]`, as `transformers serve` does, that is added. `model` is the
    client's name of it, in place of the server's.
    """
    last = route.last
    ended = finished = False
    numbering = Numbering() if route.path == RESPONSES else None
    try:
        for block in _blocks(pieces):
            name, data = _event(block)
            if ended and data is not None:
                raise failed("The model's server went on after the end of its answer.")
            found = _object(data)
            ended = ended or (found.get("type") in last if found else data == _DONE and "[DONE]" in last)
            finished = finished or _finishes(found)
            told = kept(route.path, found, model=model)
            yield _written(name, data, numbering.numbered(told) if numbering and found else told)
        if finished and not ended and "[DONE]" in last:
            yield _written(b"", _DONE, {})
        elif last and not ended:
            raise failed("The model's server ended its answer before it was whole.")
    except UpstreamError as error:
        yield b"event: error\ndata: " + json.dumps(body_of(error, shape)).encode() + b"\n\n"


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held = bytearray()
    for piece in pieces:
        looked_at = max(0, len(held) - 3)
        held += piece
        while (found := _END.search(held, looked_at)) is not None:
            block = bytes(held[: found.start()])
            del held[: found.end()]
            looked_at = 0
            yield block
        if len(held) > MAXIMUM_EVENT:
            raise failed("An event of the model's server is over its cap.")
    if held.strip():
        raise failed("The model's server ended its answer before it was whole.")


def _event(block: bytes) -> tuple[bytes, bytes | None]:
    """The name and the data of an event; no data of a comment."""
    name, data = b"", []
    for line in block.splitlines():
        key, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if key == b"event":
            name = value
        elif key == b"data":
            data.append(value)
    if data and ((name and _NAME.fullmatch(name) is None) or name == b"error"):
        raise failed("The model's server failed on this request.")
    return name, b"\n".join(data) if data else None


def _written(name: bytes, data: bytes | None, found: dict[str, Any]) -> bytes:
    """The event as it goes on: its name and what was read of it, nothing else."""
    if data is None:
        return _KEEP_ALIVE
    said = data if data == _DONE else json.dumps(found).encode()
    return (b"event: " + name + b"\n" if name else b"") + b"data: " + said + b"\n\n"


def _object(data: bytes | None) -> dict[str, Any]:
    """What an event says; nothing of a comment and of `[DONE]`."""
    if data is None or data == _DONE:
        return {}
    found = read_answer(data)
    within = found.get("response")
    if found.get("type") == "error" or (isinstance(within, dict) and within.get("error") is not None):
        raise failed("The model's server failed on this request.")
    if not isinstance(found.get("type", ""), str):
        raise failed()
    return found


def _finishes(found: dict[str, Any]) -> bool:
    choices = found.get("choices")
    return isinstance(choices, list) and any(isinstance(one, dict) and one.get("finish_reason") for one in choices)
