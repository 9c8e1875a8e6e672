"""Tool calls in what a model writes, in the form that its own template teaches it. What they do is the client's.

Sources: the chat templates of Hermes 2 Pro and Qwen 2.5 (`<tool_call>`), Mistral (`[TOOL_CALLS]`), Llama 3.1 (a bare
object with `parameters`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """A function by name, and its arguments in JSON."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolForm:
    """How a template has calls written: what begins them, what can be begun for the model, and how they are read."""

    begins: str
    read: Callable[[str], tuple[Call, ...]]
    only_first: bool  # what begins a call does so at an answer's beginning only

    def begun(self, name: str | None) -> str:
        """The beginning of an answer that has to be a call, of the function `name` where it is given."""
        opening = {"<tool_call>": "<tool_call>\n{", "[TOOL_CALLS]": "[TOOL_CALLS] [{", "{": "{"}[self.begins]
        return opening + (f'"name": {json.dumps(name)},' if name else '"name": "')


def form_of(template: str) -> ToolForm | None:
    """The form that a chat template teaches; None where it has no tools, or a form that is not known here."""
    if "tools" not in template:
        return None
    if "<tool_call>" in template:
        return ToolForm("<tool_call>", _tagged, only_first=False)
    if "[TOOL_CALLS]" in template:
        return ToolForm("[TOOL_CALLS]", _listed, only_first=False)
    if '"parameters"' in template or "'parameters'" in template:
        return ToolForm("{", _bare, only_first=True)
    return None


def _tagged(text: str) -> tuple[Call, ...]:
    pieces = [piece.partition("</tool_call>")[0] for piece in text.split("<tool_call>")[1:]]
    return tuple(call for piece in pieces for call in _calls(piece))


def _listed(text: str) -> tuple[Call, ...]:
    return tuple(_calls(text.partition("[TOOL_CALLS]")[2]))


def _bare(text: str) -> tuple[Call, ...]:
    return tuple(_calls(text))


def _calls(written: str) -> Iterator[Call]:
    """The calls in JSON text: an object, or a list of them. Anything else is no call."""
    try:
        found, _ = json.JSONDecoder().raw_decode(written.strip())
    except (ValueError, RecursionError):
        return
    for one in found if isinstance(found, list) else [found]:
        if (call := _call(one)) is not None:
            yield call


def _call(one: Any) -> Call | None:
    if not isinstance(one, dict) or not isinstance(one.get("name"), str):
        return None
    given = one.get("arguments", one.get("parameters", {}))
    return Call(one["name"], given if isinstance(given, str) else json.dumps(given, ensure_ascii=False))
