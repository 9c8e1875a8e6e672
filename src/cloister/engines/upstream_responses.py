"""What events of a response lack where a server leaves it out: llama.cpp's does, and OpenAI's SDKs need it.

Source: OpenAI's responses, streaming events: `sequence_number`, `output_index`, `content_index`.
"""

from __future__ import annotations

from typing import Any, Final

_OF_PARTS: Final = tuple(f"response.{kind}." for kind in ("content_part", "output_text", "refusal", "reasoning_text"))


class Numbering:
    """Counts events, items and the parts of each, as they come."""

    def __init__(self) -> None:
        self._events = 0
        self._items: dict[str, int] = {}  # by their ids
        self._parts: dict[str, int] = {}  # the last one of each item

    def numbered(self, event: dict[str, Any]) -> dict[str, Any]:
        """`event` with the numbers that it lacks, its response with an output; its own stay."""
        numbers = {"sequence_number": self._events}
        self._events += 1
        item, kind = event.get("item"), event.get("type", "")
        name = event.get("item_id") or (item.get("id") if isinstance(item, dict) else None)
        if isinstance(name, str):
            numbers["output_index"] = self._items.setdefault(name, len(self._items))
            if kind.startswith(_OF_PARTS):
                begins = kind == "response.content_part.added"
                self._parts[name] = self._parts.get(name, -1) + begins
                numbers["content_index"] = max(0, self._parts[name])
        whole = event.get("response")
        return numbers | event | ({"response": {"output": []} | whole} if isinstance(whole, dict) else {})
