"""The JSON bodies of OpenAI's text API as records, with the bounds of each field. What they mean is the APIs' own.

Source: https://platform.openai.com/docs/api-reference/chat, /completions, /embeddings.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

MAXIMUM_MESSAGES: Final = 2048
MAXIMUM_INPUTS: Final = 2048  # of one embeddings request, as OpenAI's

Temperature = Annotated[float, msgspec.Meta(ge=0, le=2)]
TopP = Annotated[float, msgspec.Meta(gt=0, le=1)]
Penalty = Annotated[float, msgspec.Meta(ge=0, le=0)]
Tokens = Annotated[int, msgspec.Meta(ge=1)]
Seed = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
StopText = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Stop = StopText | Annotated[list[StopText], msgspec.Meta(max_length=4)] | None
One = Annotated[int, msgspec.Meta(ge=1, le=1)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
Ignored = Annotated[str, msgspec.Meta(max_length=512)] | None  # it changes no answer


class Part(msgspec.Struct, frozen=True):
    """A piece of a message; `type` says which. Only text is read."""

    type: str
    text: str | None = None


class Called(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A function by name, and its arguments in JSON, as a model wrote them."""

    name: Name
    arguments: str


class ToolCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call in an earlier answer."""

    id: Annotated[str, msgspec.Meta(max_length=256)]
    function: Called
    type: Literal["function"] = "function"
    index: int | None = None


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[Part], msgspec.Meta(max_length=MAXIMUM_MESSAGES)] | None = None
    name: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    tool_calls: Annotated[list[ToolCall], msgspec.Meta(max_length=128)] | None = None
    tool_call_id: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    refusal: None = None


class Function(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a model may call. `parameters` is a JSON schema."""

    name: Name
    description: str = ""
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool of the one kind there is."""

    function: Function
    type: Literal["function"]


class NamedFunction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A function by name."""

    name: Name


class NamedTool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tool that has to be called."""

    function: NamedFunction
    type: Literal["function"]


class TextFormat(msgspec.Struct, frozen=True):
    """What an answer is written in."""

    type: str


class StreamOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a stream has beside the answer. `include_obfuscation` would hide lengths, which padding does here."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class Sampled(msgspec.Struct, frozen=True, kw_only=True):
    """What all requests for new text have."""

    model: str
    temperature: Temperature | None = None
    top_p: TopP | None = None
    seed: Seed | None = None
    stop: Stop = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None
    n: One | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    user: Ignored = None


class ChatRequest(Sampled, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[Message], msgspec.Meta(min_length=1, max_length=MAXIMUM_MESSAGES)]
    max_completion_tokens: Tokens | None = None
    tools: Annotated[list[Tool], msgspec.Meta(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: TextFormat | None = None
    logprobs: bool | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    safety_identifier: Ignored = None
    prompt_cache_key: Ignored = None
    service_tier: Literal["auto", "default"] | None = None


class CompletionRequest(Sampled, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/completions`."""

    prompt: str | Annotated[list[Any], msgspec.Meta(min_length=1)]
    echo: bool | None = None
    best_of: One | None = None


class EmbeddingsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/embeddings`."""

    model: str
    input: str | Annotated[list[Any], msgspec.Meta(min_length=1)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Tokens | None = None
    user: Ignored = None


# What the API has for other models or services, with why it is not had here.
NOT_IN_CHAT: Final = {
    "audio": "this model neither hears nor speaks",
    "modalities": "this model reads and writes text only",
    "function_call": "it is deprecated: use tool_choice",
    "functions": "it is deprecated: use tools",
    "logit_bias": "this engine takes the model's probabilities as they are",
    "prediction": "this engine does not decode from a prediction",
    "reasoning_effort": "this engine does not change how long a model thinks",
    "top_logprobs": "this engine answers no log probabilities",
    "verbosity": "this engine does not change how long a model's answers are",
    "web_search_options": "nothing here reaches a network",
}
NOT_IN_COMPLETIONS: Final = {
    "logit_bias": NOT_IN_CHAT["logit_bias"],
    "logprobs": NOT_IN_CHAT["top_logprobs"],
    "suffix": "this engine does not fill gaps",
}
