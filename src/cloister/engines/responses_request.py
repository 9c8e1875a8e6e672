"""The JSON body of `POST /v1/responses` as a record: its text form. Conversations that others keep are refused.

Source: https://platform.openai.com/docs/api-reference/responses/create.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from cloister.engines.text_request import (
    MAXIMUM_MESSAGES,
    Ignored,
    Part,
    StreamOptions,
    Temperature,
    TextFormat,
    Tokens,
    TopP,
)


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[Part], msgspec.Meta(max_length=MAXIMUM_MESSAGES)]
    type: Literal["message"] = "message"
    id: Ignored = None
    status: Ignored = None
    phase: Ignored = None


class TextOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the answer is written."""

    format: TextFormat | None = None
    verbosity: None = None


class ResponsesRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/responses`."""

    model: str
    input: str | Annotated[list[Item], msgspec.Meta(min_length=1, max_length=MAXIMUM_MESSAGES)]
    instructions: str | None = None
    max_output_tokens: Tokens | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    text: TextOptions | None = None
    store: bool | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: dict[str, str] | None = None
    user: Ignored = None
    safety_identifier: Ignored = None
    prompt_cache_key: Ignored = None
    service_tier: Literal["auto", "default"] | None = None
    parallel_tool_calls: bool | None = None


NOT_IN_RESPONSES: Final = {
    "background": "an answer goes to who asked, while they wait",
    "conversation": "no conversation is kept here: send all of it",
    "include": "there is nothing to add to an answer",
    "max_tool_calls": "nothing here calls tools by itself",
    "previous_response_id": "no answer is kept here: send the conversation",
    "prompt": "no prompts are kept here: send it",
    "reasoning": "this engine does not change how a model thinks",
    "tool_choice": "use tools with /v1/chat/completions",
    "tools": "use tools with /v1/chat/completions",
    "top_logprobs": "this engine answers no log probabilities",
}
