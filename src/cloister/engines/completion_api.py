"""`POST /v1/completions` over any text model. Source: https://platform.openai.com/docs/api-reference/completions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cloister.engines.answer_text import AnswerText
from cloister.engines.chat_messages import sampling, stops
from cloister.engines.http_exchange import Response
from cloister.engines.json_request import bad, unsupported
from cloister.engines.text_events import DONE, event, head, streamed, usage
from cloister.engines.text_model import TextModel
from cloister.engines.text_request import CompletionRequest

_DEFAULT_TOKENS = 16  # the API's


def complete(request: CompletionRequest, model: TextModel) -> Response:
    """The answer to `request`.

    Raises:
        ApiError: what is asked cannot be answered.
    """
    if request.echo:
        raise unsupported("echo", "this engine answers new text only")
    if request.stream_options is not None and not request.stream:
        raise bad("stream_options", "stream_options is only for requests with stream set to true.")
    prompt = _prompt(request.prompt, model)
    chosen = sampling(request, model, len(prompt), request.max_tokens or _DEFAULT_TOKENS, "prompt")
    answer = AnswerText(model, model.next_tokens(prompt, chosen), stops(request))
    begin = head("text_completion", "cmpl", request.model)
    if request.stream:
        return streamed(_events(request, begin, answer, len(prompt)))
    text = "".join(answer)
    told = {"choices": [_choice(text, answer.finish)], "usage": usage(len(prompt), answer.count)}
    return Response.json(begin | told)


def _prompt(given: str | list[Any], model: TextModel) -> list[int]:
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], str | list):
        given = given[0]
    if isinstance(given, str):
        return model.tokens(given)
    if all(type(token) is int for token in given):
        return model.checked(given, "prompt")
    if all(isinstance(one, str | list) for one in given):
        raise unsupported("prompt", "this engine completes one prompt in a request")
    raise bad("prompt", "A prompt is a text, or a list of tokens.", code="invalid_type")


def _events(request: CompletionRequest, begin: dict[str, object], answer: AnswerText, prompt: int) -> Iterator[bytes]:
    counted = request.stream_options is not None and request.stream_options.include_usage
    empty = {"usage": None} if counted else {}
    pieces = iter(answer)
    first = next(pieces, "")
    yield event(begin | {"choices": [_choice(first, None)]} | empty)
    for piece in pieces:
        yield event(begin | {"choices": [_choice(piece, None)]} | empty)
    yield event(begin | {"choices": [_choice("", answer.finish)]} | empty)
    if counted:
        yield event(begin | {"choices": [], "usage": usage(prompt, answer.count)})
    yield DONE


def _choice(text: str, finish: str | None) -> dict[str, object]:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
