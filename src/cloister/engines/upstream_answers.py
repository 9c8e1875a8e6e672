"""What of an upstream's answer goes on to the client: an allow-list, as for requests.

A prompt cache tells in its counts whether somebody asked the same before: `cached_tokens` of OpenAI's, Anthropic's
`cache_read_input_tokens`, llama.cpp's `timings`. Nobody gets them, and each new version brings others.

Source: OpenAI's chat, completions, embeddings and responses, Anthropic's messages, the Open Inference Protocol.
"""

from __future__ import annotations

from typing import Any, Final

from cloister.engines.upstream_dialects import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, RESPONSES
from cloister.engines.upstream_errors import failed
from cloister.engines.upstream_json import parse_json


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CHOICES: Final = _names("id object created model choices usage system_fingerprint service_tier")
_RESPONSE: Final = _names(
    "id object type created_at completed_at status background incomplete_details instructions max_output_tokens "
    "max_tool_calls model output parallel_tool_calls previous_response_id reasoning store temperature text "
    "tool_choice tools top_logprobs top_p truncation usage"
)
_RESPONSE_EVENT: Final = _names(
    "response sequence_number item item_id output_index content_index summary_index part delta text logprobs "
    "annotation annotation_index arguments name input refusal"
)
_MESSAGE: Final = _names("id type role content model stop_reason stop_sequence usage")
_MESSAGE_EVENT: Final = _names("message index content_block delta")
_GENERATED: Final = _names("id model_name model_version text_output finish_reason")
_INFERRED: Final = _names("id model_name model_version parameters outputs")
# By the end of the path. Streams and whole answers of one path share a table: their members are not confused.
_MEMBERS: Final = {
    CHAT: _CHOICES,
    COMPLETIONS: _CHOICES,
    EMBEDDINGS: _names("id object created model data usage"),
    RESPONSES: _RESPONSE | _RESPONSE_EVENT,
    MESSAGES: _MESSAGE | _MESSAGE_EVENT,
    "/count_tokens": _names("input_tokens"),
    "/infer": _INFERRED,
    "/generate": _GENERATED,
    "/generate_stream": _GENERATED,
}
_WITHIN: Final = {RESPONSES: "response", MESSAGES: "message"}
_OF_SERVERS: Final = _names("name version versions extensions platform inputs outputs ready live status")
_CHOICE: Final = _names("index message delta text finish_reason stop_reason logprobs")
_TENSOR: Final = _names("name shape datatype data parameters")
_COUNTED: Final = _names("prompt_tokens completion_tokens input_tokens output_tokens total_tokens")
_DETAILS: Final = _names(
    "prompt_tokens_details completion_tokens_details input_tokens_details output_tokens_details input_token_details"
)
_DETAILED: Final = _names(
    "text_tokens audio_tokens image_tokens reasoning_tokens accepted_prediction_tokens rejected_prediction_tokens"
)
# Anthropic's `input_tokens` are those that no cache had: the whole prompt is their sum.
_FROM_CACHE: Final = ("cache_read_input_tokens", "cache_creation_input_tokens")
_HITS: Final = frozenset({"cached_tokens", "cache_read_input_tokens", "cache_n", "prompt_cache_hit_tokens"})


def read_answer(body: bytes) -> dict[str, Any]:
    """The one object that the server answered.

    Raises:
        UpstreamError: it is none as `parse_json` takes them, or says an error.
    """
    try:
        found = parse_json(body)
    except ValueError as error:
        raise failed() from error
    if not isinstance(found, dict):
        raise failed()
    if found.get("error") is not None:
        raise failed("The model's server failed on this request.")
    return found


def kept(path: str, found: dict[str, Any], *, model: str | None = None) -> dict[str, Any]:
    """The members of a whole answer or of an event that clients get; `model` is their name of it, where it has one."""
    answer = _only(found, next((names for end, names in _MEMBERS.items() if path.endswith(end)), _OF_SERVERS))
    if "usage" in answer and (usage := counts(answer.pop("usage"), of_response=path == RESPONSES)):
        answer["usage"] = usage
    if model is not None and "model" in answer:
        answer["model"] = model
    if "choices" in answer:
        answer["choices"] = _each(answer["choices"], _CHOICE)
    if "outputs" in answer:
        answer["outputs"] = [_described(one) for one in _each(answer["outputs"], _TENSOR)]
    within = _WITHIN.get(path)  # an event, what it begins or ends
    if within is not None and isinstance(answer.get(within), dict):
        answer[within] = kept(path, answer[within], model=model)
    return _described(answer)


def counts(usage: Any, *, of_response: bool = False) -> dict[str, Any]:
    """Tokens as they would be counted without a cache; OpenAI's responses always have a number of cached ones: 0."""
    if not isinstance(usage, dict):
        return {}
    found: dict[str, Any] = {name: value for name, value in usage.items() if name in _COUNTED and _whole(value)}
    if "input_tokens" in found:
        found["input_tokens"] += sum(usage[name] for name in _FROM_CACHE if _whole(usage.get(name)))
    for name in usage:
        told = _only(usage[name], _DETAILED) if name in _DETAILS else {}
        if details := {key: value for key, value in told.items() if _whole(value)}:
            found[name] = details
    if of_response:
        found["input_tokens_details"] = {"cached_tokens": 0}
    return found


def cached(found: dict[str, Any]) -> int | None:
    """How many tokens of the prompt the server says that it knew already; None where it says nothing of that."""
    usage, timings = (one if isinstance(one, dict) else {} for one in (found.get("usage"), found.get("timings")))
    places = (usage, timings, *(usage[name] for name in _DETAILS & usage.keys() if isinstance(usage[name], dict)))
    told = [place[name] for place in places for name in _HITS & place.keys()]
    return max((count for count in told if _whole(count)), default=None)


def _described(holder: dict[str, Any]) -> dict[str, Any]:
    """With those of its KServe parameters that say what its values are."""
    if "parameters" not in holder:
        return holder
    return holder | {"parameters": _only(holder["parameters"], frozenset({"content_type"}))}


def _each(found: Any, names: frozenset[str]) -> list[dict[str, Any]]:
    return [_only(one, names) for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _only(found: Any, names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name in names} if isinstance(found, dict) else {}


def _whole(value: Any) -> bool:
    return type(value) is int and value >= 0
