"""What messages, inputs and tools for an upstream may consist of: kinds of parts, and the members of each.

A server's template or media loader reads members by name, also from a part of another kind, and takes paths and
addresses; so what is not in these records is refused, and what is to be seen or heard lies in the request itself.

Source: OpenAI's chat, responses and embeddings, Anthropic's messages; vLLM's audio_url and video_url.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from cloister.engines.upstream_dialects import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, RESPONSES
from cloister.engines.upstream_errors import refused

DataUrl = Annotated[str, msgspec.Meta(pattern=r"\Adata:")]
Base64 = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9+/=_\s-]*\Z")]
Kind = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9.+/-]{1,80}\Z")]
Nothing = Annotated[list[Any], msgspec.Meta(max_length=0)] | None  # what an answer has empty, and clients send back
Tokens = str | list[str | int | list[int]]


class _Record(msgspec.Struct, forbid_unknown_fields=True):
    """Members that are not named are refused."""


class _Url(_Record):
    url: DataUrl
    detail: str | None = None


class _Sound(_Record):
    data: Base64
    format: Kind


class _File(_Record):
    file_data: DataUrl
    filename: str | None = None


class _Text(_Record, tag="text"):
    text: str


class _Refusal(_Record, tag="refusal"):
    refusal: str


class _Image(_Record, tag="image_url"):
    image_url: _Url | DataUrl


class _Video(_Record, tag="video_url"):
    video_url: _Url | DataUrl


class _Audio(_Record, tag="audio_url"):
    audio_url: _Url | DataUrl


class _InputAudio(_Record, tag="input_audio"):
    input_audio: _Sound


class _FilePart(_Record, tag="file"):
    file: _File


class _Called(_Record):
    name: str
    arguments: str | dict[str, Any] | None = None


class _Call(_Record):
    function: _Called
    id: str | None = None
    type: Literal["function"] = "function"
    index: int | None = None


class _Message(_Record):
    role: str
    content: str | list[_Text | _Refusal | _Image | _Video | _Audio | _InputAudio | _FilePart] | None = None
    name: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    function_call: _Called | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    annotations: Nothing = None
    audio: None = None


class _Ephemeral(_Record):
    type: Literal["ephemeral"]
    ttl: str | None = None


class _Function(_Record):
    """A tool that the client runs; those of other types, which a server runs, reach elsewhere."""

    name: str | None = None
    type: Literal["function", "custom"] = "function"
    function: _Function | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    cache_control: _Ephemeral | None = None


class _OfBytes(_Record, tag="base64"):
    media_type: Kind
    data: Base64


class _OfText(_Record, tag="text"):
    media_type: Kind
    data: str


class _Block(_Record):
    """One of Anthropic's."""


class _TextBlock(_Block, tag="text", kw_only=True):
    text: str
    citations: Nothing = None
    cache_control: _Ephemeral | None = None


class _ImageBlock(_Block, tag="image", kw_only=True):
    source: _OfBytes
    cache_control: _Ephemeral | None = None


class _Document(_Block, tag="document", kw_only=True):
    source: _OfBytes | _OfText
    title: str | None = None
    context: str | None = None
    cache_control: _Ephemeral | None = None


class _Use(_Block, tag="tool_use", kw_only=True):
    id: str
    name: str
    input: dict[str, Any]
    cache_control: _Ephemeral | None = None


class _Result(_Block, tag="tool_result", kw_only=True):
    tool_use_id: str
    content: str | list[_TextBlock | _ImageBlock | _Document] | None = None
    is_error: bool | None = None
    cache_control: _Ephemeral | None = None


class _Thought(_Block, tag="thinking"):
    thinking: str
    signature: str | None = None


class _HiddenThought(_Block, tag="redacted_thinking"):
    data: str


class _Turn(_Record):
    role: str
    content: str | list[_TextBlock | _ImageBlock | _Document | _Use | _Result | _Thought | _HiddenThought]


class _Said(_Record, tag="input_text"):
    text: str


class _Answered(_Record, tag="output_text"):
    text: str
    annotations: Nothing = None
    logprobs: Nothing = None


class _Seen(_Record, tag="input_image"):
    image_url: DataUrl
    detail: str | None = None


class _Read(_File, tag="input_file"):
    pass


class _Reason(_Record, tag="reasoning_text"):
    text: str


class _Summary(_Record, tag="summary_text"):
    text: str


class _Item(_Record, tag="message", kw_only=True):
    role: str
    content: str | list[_Said | _Answered | _Refusal | _Seen | _Read | _InputAudio]
    id: str | None = None
    status: str | None = None


class _ItemCall(_Record, tag="function_call", kw_only=True):
    call_id: str
    name: str
    arguments: str
    id: str | None = None
    status: str | None = None


class _ItemResult(_Record, tag="function_call_output", kw_only=True):
    call_id: str
    output: str | list[_Said | _Seen | _Read]
    id: str | None = None
    status: str | None = None


class _Reasoned(_Record, tag="reasoning", kw_only=True):
    summary: list[_Summary]
    content: list[_Reason] | None = None
    id: str | None = None
    status: str | None = None


_TOOLS: Final = list[_Function]
_ANTHROPIC: Final = {"messages": list[_Turn], "system": str | list[_TextBlock], "tools": _TOOLS}
_SHAPES: Final[Mapping[str, Mapping[str, Any]]] = {
    CHAT: {"messages": list[_Message], "tools": _TOOLS, "functions": _TOOLS},
    COMPLETIONS: {"prompt": Tokens},
    EMBEDDINGS: {"input": Tokens},
    RESPONSES: {"input": str | list[_Item | _ItemCall | _ItemResult | _Reasoned], "tools": _TOOLS},
    MESSAGES: _ANTHROPIC,
    f"{MESSAGES}/count_tokens": _ANTHROPIC,
}
# Fields with JSON schemas, from which servers make grammars.
_SCHEMAS: Final = frozenset({"tools", "functions", "response_format", "structured_outputs", "json_schema", "text"})


def check_content(path: str, fields: Mapping[str, Any]) -> None:
    """Refuse what is of another kind, has another member, or is to be fetched.

    Raises:
        UpstreamError: which field, and where in it; not what stands there.
    """
    for name in _SCHEMAS & fields.keys():
        if any(key == "$ref" and isinstance(one, str) and one[:1] != "#" for key, one in _members(fields[name])):
            raise refused(f"A $ref of {name} leads out of it: nothing is fetched.", param=name)
    for name, shape in _SHAPES.get(path, {}).items():
        value = fields.get(name)
        if value is None:
            continue
        try:
            msgspec.convert(_typed(value) if path == RESPONSES and name == "input" else value, shape)
        except msgspec.ValidationError as error:
            place = str(error).rpartition(" - at `$")[2].rstrip("`") if " - at `$" in str(error) else ""
            message = (
                f"{name}{place} is of a kind, or has a member, that is not taken here. Images, audio and files "
                "are part of the request (data: URLs): nothing is fetched, and nothing of other requests is named."
            )
            raise refused(message, param=name) from error


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """Every member of every object in `value`, which is not nested deep."""
    if isinstance(value, dict):
        yield from value.items()
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from _members(one)


def _typed(items: Any) -> Any:
    """With the type that OpenAI's API lets messages leave out."""
    if not isinstance(items, list):
        return items
    return [{"type": "message"} | one if isinstance(one, dict) else one for one in items]
