"""What is fuzzed: parsers by their names, each with the valid messages to begin from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Parser = Callable[[bytes], Any]
Targets = dict[str, tuple[Parser, list[bytes]]]
