"""`POST /v1/chat/completions` over any text model: whole, or as events while it is being written.

Source: https://platform.openai.com/docs/api-reference/chat.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cloister.engines.answer_text import AnswerText
from cloister.engines.chat_messages import Asked, asked
from cloister.engines.http_exchange import Response
from cloister.engines.text_events import DONE, event, head, new_id, streamed, usage
from cloister.engines.text_model import TextModel
from cloister.engines.text_request import ChatRequest
from cloister.engines.tool_calls import Call, ToolForm


def chat(request: ChatRequest, model: TextModel) -> Response:
    """The answer to `request`.

    Raises:
        ApiError: what is asked cannot be answered; see `chat_messages.asked`.
    """
    conversation = asked(request, model)
    tokens = model.next_tokens(conversation.prompt, conversation.sampling)
    special = conversation.form is not None and conversation.form.begins == "[TOOL_CALLS]"
    answer = AnswerText(model, tokens, conversation.stops, special=special)
    if request.stream:
        return streamed(_events(request, conversation, answer))
    reading = _Reading(conversation)
    text = "".join(piece for written in answer for piece in reading.plain(written))
    calls, rest = reading.end(parallel=request.parallel_tool_calls is not False)
    message: dict[str, Any] = {"role": "assistant", "content": text + rest, "refusal": None}
    if calls:
        message |= {"content": (text + rest) or None, "tool_calls": [_call(call) for call in calls]}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer, calls)}
    told = usage(len(conversation.prompt), answer.count)
    return Response.json(head("chat.completion", "chatcmpl", request.model) | {"choices": [choice], "usage": told})


def _events(request: ChatRequest, conversation: Asked, answer: AnswerText) -> Iterator[bytes]:
    begin = head("chat.completion.chunk", "chatcmpl", request.model)
    counted = request.stream_options is not None and request.stream_options.include_usage

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        return event(begin | {"choices": choices} | ({"usage": None} if counted else {}))

    reading = _Reading(conversation)
    pieces = (piece for written in answer for piece in reading.plain(written))
    first = next(pieces, "")  # an error before the first piece is an answer of its own
    yield chunk({"role": "assistant", "content": first, "refusal": None})
    for piece in pieces:
        yield chunk({"content": piece})
    calls, rest = reading.end(parallel=request.parallel_tool_calls is not False)
    if rest:
        yield chunk({"content": rest})
    for at, call in enumerate(calls):
        yield chunk({"tool_calls": [{"index": at} | _call(call)]})
    yield chunk({}, _finish(answer, calls))
    if counted:
        yield event(begin | {"choices": [], "usage": usage(len(conversation.prompt), answer.count)})
    yield DONE


class _Reading:
    """Tells text from calls as both come: what may be a call is kept until the end, when it can be read whole."""

    def __init__(self, conversation: Asked) -> None:
        self._form: ToolForm | None = conversation.form
        self._kept = conversation.begun
        self._calling = bool(conversation.begun)
        self._said = False

    def plain(self, piece: str) -> Iterator[str]:
        """What of it is certainly no call."""
        if self._form is None:
            yield piece
            return
        self._kept += piece
        if self._calling:
            return
        if (at := self._call_begins()) is not None:
            told, self._kept, self._calling = self._kept[:at], self._kept[at:], True
        else:
            certain = len(self._kept) - self._perhaps()
            told, self._kept = self._kept[:certain], self._kept[certain:]
        if told:
            self._said = True
            yield told

    def _call_begins(self) -> int | None:
        """Where in what is kept a call begins."""
        if self._form is None or (self._form.only_first and self._said):
            return None
        blanks = len(self._kept) - len(self._kept.lstrip())
        at = self._kept.find(self._form.begins)
        return at if at == blanks or (at >= 0 and not self._form.only_first) else None

    def _perhaps(self) -> int:
        """How many of the last characters kept could be the beginning of a call."""
        if self._form is None or (self._form.only_first and self._said):
            return 0
        if not self._said and not self._kept.strip():
            return len(self._kept)
        return 0 if self._form.only_first else _beginning(self._kept, self._form.begins)

    def end(self, *, parallel: bool) -> tuple[tuple[Call, ...], str]:
        """The calls, and text that turned out to be none."""
        calls = self._form.read(self._kept) if self._form is not None and self._calling else ()
        return (calls if parallel else calls[:1]), "" if calls else self._kept


def _beginning(text: str, begins: str) -> int:
    """How many of the last characters could be the beginning of `begins`."""
    sizes = range(min(len(text), len(begins) - 1), 0, -1)
    return next((size for size in sizes if begins.startswith(text[-size:])), 0)


def _call(call: Call) -> dict[str, Any]:
    return {"id": new_id("call"), "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _finish(answer: AnswerText, calls: tuple[Call, ...]) -> str:
    return "tool_calls" if calls else answer.finish
