"""What may be asked of an upstream that speaks the Open Inference Protocol (KServe v2): tensors, and known parameters.

Parameters are a server's own: Triton's reach shared memory, sequences, priorities and, in `generate`, any input of the
model; those of MLServer name codecs and headers. So what is not in these tables is refused.

Source: the Open Inference Protocol, its generate extension; Triton's binary data and classification extensions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec

from cloister.engines.upstream_errors import refused

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_CODEC: Final = re.compile(r"[a-z0-9_/.+-]{1,64}")
_CLASSES: Final = 1000
_GENERATING: Final = """
max_tokens max_new_tokens min_tokens temperature top_k top_p min_p repetition_penalty presence_penalty
frequency_penalty length_penalty seed random_seed stop stop_words bad_words ignore_eos
include_stop_str_in_output exclude_input_in_output stream
"""


class _Tensor(msgspec.Struct, forbid_unknown_fields=True):
    name: Name
    shape: list[int]
    datatype: Name
    data: list[Any]
    parameters: dict[str, Any] = {}


class _Wanted(msgspec.Struct, forbid_unknown_fields=True):
    name: Name
    parameters: dict[str, Any] = {}


class _Inference(msgspec.Struct, forbid_unknown_fields=True):
    inputs: list[_Tensor]
    outputs: list[_Wanted] = []
    id: str | None = None
    parameters: dict[str, Any] = {}


class _Generation(msgspec.Struct, forbid_unknown_fields=True):
    text_input: str
    parameters: dict[str, Any] = {}
    stream: bool = False
    id: str | None = None


def _is_false(value: Any) -> bool:
    return value is False


def _is_codec(value: Any) -> bool:
    return isinstance(value, str) and _CODEC.fullmatch(value) is not None


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _CLASSES


def _is_plain(value: Any) -> bool:
    """A scalar, or a list of words as of what stops."""
    return isinstance(value, str | int | float) or (
        isinstance(value, list) and all(isinstance(one, str) for one in value)
    )


_Checks = Mapping[str, Callable[[Any], bool]]
# Clients that want JSON say so: `false`. `content_type` is how MLServer reads a tensor.
_OF_INFERENCE: Final[_Checks] = {"content_type": _is_codec, "binary_data_output": _is_false}
_OF_INPUT: Final[_Checks] = {"content_type": _is_codec}
_OF_OUTPUT: Final[_Checks] = {"content_type": _is_codec, "binary_data": _is_false, "classification": _is_count}
_OF_GENERATION: Final[_Checks] = dict.fromkeys(_GENERATING.split(), _is_plain)


def check_inference(path: str, fields: Mapping[str, Any]) -> None:
    """Refuse a member or a parameter that is not in the tables.

    Raises:
        UpstreamError: which of them, where it is one of the protocol's; not what stands there.
    """
    try:
        if path.endswith("/infer"):
            asked = msgspec.convert(fields, _Inference)
            _check(asked.parameters, _OF_INFERENCE)
            for one in asked.inputs:
                _check(one.parameters, _OF_INPUT)
            for output in asked.outputs:
                _check(output.parameters, _OF_OUTPUT)
        else:
            _check(msgspec.convert(fields, _Generation).parameters, _OF_GENERATION)
    except msgspec.ValidationError as error:
        message = "The body is not a request of the Open Inference Protocol in JSON, or has a member more."
        raise refused(message) from error


def _check(parameters: Mapping[str, Any], known: _Checks) -> None:
    for name, value in parameters.items():
        if name not in known or not known[name](value):
            taken = ", ".join(sorted(known))
            raise refused(f"Of parameters there are taken here: {taken}; each with a plain value.", param="parameters")
