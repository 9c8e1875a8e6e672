"""`POST /v1/responses` over any text model: its text form, whole or as events. Nothing is stored.

Source: https://platform.openai.com/docs/api-reference/responses and /responses-streaming.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from cloister.engines.answer_text import AnswerText
from cloister.engines.api_error import ApiError
from cloister.engines.chat_messages import sampling
from cloister.engines.http_exchange import Response
from cloister.engines.json_request import bad, unsupported
from cloister.engines.responses_request import Item, ResponsesRequest
from cloister.engines.text_events import event, new_id, now, streamed
from cloister.engines.text_model import TextModel
from cloister.engines.text_request import Sampled


def respond(request: ResponsesRequest, model: TextModel) -> Response:
    """The answer to `request`.

    Raises:
        ApiError: what is asked cannot be answered.
    """
    _check(request, model)
    prompt = model.chat(_messages(request), None, "")
    sampled = Sampled(model=request.model, temperature=request.temperature, top_p=request.top_p)
    chosen = sampling(sampled, model, len(prompt), request.max_output_tokens, "input")
    answer = AnswerText(model, model.next_tokens(prompt, chosen), ())
    response = _Response(request, len(prompt), answer)
    if request.stream:
        return streamed(response.events())
    return Response.json(response.body("".join(answer)))


def _check(request: ResponsesRequest, model: TextModel) -> None:
    if model.chat_template is None:
        message = "This model has no chat template and does not chat; ask /v1/completions."
        raise ApiError(HTTPStatus.BAD_REQUEST, message, param="model", code="unsupported_model")
    if request.store:
        raise unsupported("store", "nothing is kept here")
    if request.truncation == "auto":
        raise unsupported("truncation", "nothing of a conversation is dropped here")
    if request.text is not None and request.text.format is not None and request.text.format.type != "text":
        raise unsupported("text.format", "this engine answers text only: ask for JSON in the prompt")


def _messages(request: ResponsesRequest) -> list[dict[str, Any]]:
    first = [{"role": "system", "content": request.instructions}] if request.instructions else []
    if isinstance(request.input, str):
        return [*first, {"role": "user", "content": request.input}]
    return first + [
        {"role": "system" if item.role == "developer" else item.role, "content": _text(item, at)}
        for at, item in enumerate(request.input)
    ]


def _text(item: Item, number: int) -> str:
    if isinstance(item.content, str):
        return item.content
    for at, part in enumerate(item.content):
        if part.type not in ("input_text", "output_text") or part.text is None:
            raise bad(f"input[{number}].content[{at}].type", "This model reads text only: each part is a text.")
    return "".join(part.text or "" for part in item.content)


class _Response:
    """One answer's objects and events, in their order."""

    def __init__(self, request: ResponsesRequest, prompt: int, answer: AnswerText) -> None:
        self._request = request
        self._prompt = prompt
        self._answer = answer
        self._id, self._item, self._created, self._number = new_id("resp"), new_id("msg"), now(), 0

    def body(self, text: str | None) -> dict[str, Any]:
        """The response object; `text` None: it is still being written."""
        cut = text is not None and self._answer.finish == "length"
        status = "in_progress" if text is None else "incomplete" if cut else "completed"
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "instructions": self._request.instructions,
            "max_output_tokens": self._request.max_output_tokens,
            "metadata": self._request.metadata or {},
            "model": self._request.model,
            "output": [] if text is None else [self._message(text, status)],
            "parallel_tool_calls": True,
            "temperature": 1.0 if self._request.temperature is None else self._request.temperature,
            "top_p": 1.0 if self._request.top_p is None else self._request.top_p,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "truncation": "disabled",
            "store": False,
            "usage": None if text is None else self._usage(),
        }

    def events(self) -> Iterator[bytes]:
        """All events of the answer; the first once it is known that there will be one."""
        pieces = iter(self._answer)
        piece = next(pieces, None)
        place = {"item_id": self._item, "output_index": 0, "content_index": 0}
        yield self._event("created", response=self.body(None)) + self._event("in_progress", response=self.body(None))
        yield self._event("output_item.added", output_index=0, item=self._message(None, "in_progress"))
        yield self._event("content_part.added", **place, part=_part(""))
        text = ""
        while piece is not None:
            text += piece
            yield self._event("output_text.delta", **place, delta=piece, logprobs=[])
            piece = next(pieces, None)
        done = self.body(text)
        yield self._event("output_text.done", **place, text=text, logprobs=[])
        yield self._event("content_part.done", **place, part=_part(text))
        yield self._event("output_item.done", output_index=0, item=done["output"][0])
        yield self._event(done["status"], response=done)

    def _event(self, kind: str, **fields: object) -> bytes:
        name = f"response.{kind}"
        self._number += 1
        return event({"type": name, "sequence_number": self._number - 1} | fields, name)

    def _message(self, text: str | None, status: str) -> dict[str, Any]:
        content = [] if text is None else [_part(text)]
        return {"id": self._item, "type": "message", "role": "assistant", "status": status, "content": content}

    def _usage(self) -> dict[str, Any]:
        return {
            "input_tokens": self._prompt,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": self._answer.count,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self._prompt + self._answer.count,
        }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
