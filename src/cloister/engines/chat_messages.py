"""A chat request to what a template takes, and to how it is sampled. What cannot be honoured is refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec

from cloister.engines.api_error import ApiError
from cloister.engines.json_request import bad, unsupported
from cloister.engines.text_model import Sampling, TextModel
from cloister.engines.text_request import ChatRequest, Message, NamedTool, Sampled
from cloister.engines.tool_calls import ToolForm, form_of


@dataclass(frozen=True, slots=True)
class Asked:
    """A conversation ready to be answered. `begun` is the text that the answer has to begin with."""

    prompt: list[int]
    sampling: Sampling
    stops: tuple[str, ...]
    form: ToolForm | None
    begun: str


def asked(request: ChatRequest, model: TextModel) -> Asked:
    """What `request` asks of `model`.

    Raises:
        ApiError: a field that this engine cannot honour, a conversation that the template refuses, or too long a one.
    """
    _check(request)
    if model.chat_template is None:
        message = "This model has no chat template and does not chat; ask /v1/completions."
        raise ApiError(HTTPStatus.BAD_REQUEST, message, param="model", code="unsupported_model")
    form, begun = _tools(request, model.chat_template)
    messages = [_message(message, f"messages[{at}]") for at, message in enumerate(request.messages)]
    tools = [_tool(tool.function) for tool in request.tools or ()] if form else None
    prompt = model.chat(messages, tools, begun)
    limit = request.max_completion_tokens or request.max_tokens
    return Asked(prompt, sampling(request, model, len(prompt), limit, "messages"), stops(request), form, begun)


def sampling(request: Sampled, model: TextModel, used: int, limit: int | None, param: str) -> Sampling:
    """How to sample; no more tokens than the context still has room for.

    Raises:
        ApiError: 400, the prompt's `used` tokens leave no room.
    """
    room = model.context - used
    if room < 1:
        raise too_long(model.context, used, param)
    temperature = 1.0 if request.temperature is None else request.temperature
    top_p = 1.0 if request.top_p is None else request.top_p
    return Sampling(min(limit or room, room), temperature, top_p, request.seed)


def too_long(context: int, used: int, param: str) -> ApiError:
    """The API's words for it."""
    message = (
        f"This model's maximum context length is {context} tokens. However, your input resulted in {used} tokens. "
        "Please reduce the length."
    )
    return bad(param, message, code="context_length_exceeded")


def stops(request: Sampled) -> tuple[str, ...]:
    """The stop strings."""
    return (request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ())


def _check(request: ChatRequest) -> None:
    if request.logprobs:
        raise unsupported("logprobs", "this engine answers no log probabilities")
    if request.store:
        raise unsupported("store", "nothing is kept here")
    if request.response_format is not None and request.response_format.type != "text":
        raise unsupported("response_format", "this engine answers text only: ask for JSON in the prompt")
    if request.max_tokens and request.max_completion_tokens:
        raise bad("max_tokens", "max_tokens and max_completion_tokens are one field by two names: give one of them.")
    if request.stream_options is not None and not request.stream:
        raise bad("stream_options", "stream_options is only for requests with stream set to true.")


def _tools(request: ChatRequest, template: str) -> tuple[ToolForm | None, str]:
    choice = request.tool_choice
    if not request.tools:
        if choice not in (None, "none"):
            raise bad("tool_choice", "tool_choice is only for requests with tools.")
        return None, ""
    if choice == "none":
        return None, ""
    form = form_of(template)
    if form is None:
        raise unsupported("tools", "this model's chat template has no tools, or has them in a form not known here")
    if isinstance(choice, NamedTool):
        if choice.function.name not in {tool.function.name for tool in request.tools}:
            raise bad("tool_choice", "tool_choice names a function that is not among the tools.")
        return form, form.begun(choice.function.name)
    return form, form.begun(None) if choice == "required" else ""


def _tool(function: Any) -> dict[str, Any]:
    described = {"name": function.name, "description": function.description, "parameters": function.parameters or {}}
    return {"type": "function", "function": described}


def _message(message: Message, place: str) -> dict[str, Any]:
    """As chat templates take it: plain text, and the arguments of calls as objects."""
    content = message.content
    if isinstance(content, list):
        texts = []
        for at, part in enumerate(content):
            if part.type not in ("text", "refusal") or part.text is None:
                raise bad(f"{place}.content[{at}].type", "This model reads text only: each part is a text.")
            texts.append(part.text)
        content = "".join(texts)
    role = "system" if message.role == "developer" else message.role
    found: dict[str, Any] = {"role": role, "content": content or ""}
    if message.name is not None:
        found["name"] = message.name
    if message.role == "tool":
        if message.tool_call_id is None:
            raise bad(f"{place}.tool_call_id", "A message of a tool says which call it answers.")
        found["tool_call_id"] = message.tool_call_id
    elif content is None and not message.tool_calls:
        raise bad(f"{place}.content", "A message without tool calls has content.")
    if message.tool_calls:
        found["tool_calls"] = _earlier_calls(message, place)
    return found


def _earlier_calls(message: Message, place: str) -> Sequence[dict[str, Any]]:
    if message.role != "assistant":
        raise bad(f"{place}.tool_calls", "Only the assistant calls tools.")
    calls = []
    for at, call in enumerate(message.tool_calls or ()):
        try:
            # Unlike `json`, this takes no lone surrogate, which would end a tokenizer in an error of its own.
            arguments = msgspec.json.decode(call.function.arguments or "{}")
        except (ValueError, RecursionError) as error:
            where = f"{place}.tool_calls[{at}].function.arguments"
            raise bad(where, "The arguments of a call are an object in JSON.") from error
        calls.append(
            {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": arguments}}
        )
    return calls
