"""Writes TOML, which the standard library only reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Table = Mapping[str, Any]


def toml(table: Table) -> str:
    """A table as TOML: plain values first, tables after them."""
    plain = {name: value for name, value in table.items() if not isinstance(value, Mapping)}
    text = "".join(f"{name} = {toml_value(value)}\n" for name, value in plain.items())
    for name, value in table.items():
        if isinstance(value, Mapping):
            text += f"\n[{name}]\n{toml(value)}"
    return text


def toml_value(value: Any) -> str:
    """One value, as the right side of an assignment; tables inline."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{name} = {toml_value(inner)}' for name, inner in value.items())} }}"
    if isinstance(value, Path):
        value = str(value)
    return json.dumps(value, ensure_ascii=False)  # strings, integers and booleans are spelt alike
