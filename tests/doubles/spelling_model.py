"""A text model of a few lines, whose tokens are the bytes of UTF-8: it says what it is told to, byte by byte."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloister.engines.api_error import ApiError
from cloister.engines.json_request import bad
from cloister.engines.text_model import Sampling

END = 256


@dataclass
class SpellingModel:
    """Answers `says`; `asked` is the last prompt, `sampled` how it was to be sampled, `made` how many bytes it made."""

    says: str = "Yes."
    context: int = 4096
    ends: frozenset[int] = frozenset({END})
    chat_template: str | None = "{{ messages }} {{ tools }} <tool_call>"
    fails_after: int | None = None
    made: int = 0
    asked: str = ""
    sampled: Sampling = field(default_factory=lambda: Sampling(limit=0))
    conversation: list[dict[str, Any]] = field(default_factory=list)
    tools: Any = None

    def tokens(self, text: str) -> list[int]:
        return list(text.encode())

    def checked(self, tokens: Sequence[int], param: str) -> list[int]:
        if any(not 0 <= token < END for token in tokens):
            raise bad(param, "A token is not in this model's vocabulary.")
        return list(tokens)

    def chat(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] | None, begun: str) -> list[int]:
        self.conversation, self.tools = list(messages), None if tools is None else list(tools)
        return list((json.dumps(self.conversation) + begun).encode())

    def next_tokens(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[int]:
        self.asked, self.sampled, self.made = bytes(prompt).decode(), sampling, 0
        for token in [*self.says.encode(), END][: sampling.limit]:
            if self.made == self.fails_after:
                raise ApiError(500, "no numbers", code="engine_fault")
            self.made += 1
            yield token

    def text(self, tokens: Sequence[int], *, special: bool) -> str:
        return bytes(tokens).decode(errors="replace")


@dataclass
class CountingEmbedder:
    """The vector of a text: how many tokens, and the last of them."""

    context: int = 64
    dimensions: int = 2

    def tokens(self, text: str) -> list[int]:
        return list(text.encode())

    def checked(self, tokens: Sequence[int], param: str) -> list[int]:
        return SpellingModel().checked(tokens, param)

    def embeddings(self, inputs: Sequence[Sequence[int]]) -> list[list[float]]:
        return [[float(len(one)), float(one[-1])] for one in inputs]
