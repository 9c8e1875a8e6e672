"""What the text API needs of a model, whatever runs it: prompts to tokens, tokens to more tokens, tokens to text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. `seed` None: another one each time. `limit` is the most tokens to make."""

    limit: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None


class TextModel(Protocol):
    """A model that writes."""

    @property
    def context(self) -> int:
        """The most tokens of prompt and answer together."""

    @property
    def ends(self) -> frozenset[int]:
        """The tokens that end an answer."""

    @property
    def chat_template(self) -> str | None:
        """The template of its conversations; None where it has none."""

    def tokens(self, text: str) -> list[int]:
        """`text` as a prompt."""

    def checked(self, tokens: Sequence[int], param: str) -> list[int]:
        """Tokens that a client gave; `ApiError` naming `param` where the model has no such token."""

    def chat(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] | None, begun: str) -> list[int]:
        """A conversation as a prompt, with the answer begun; raises `ApiError` where the template refuses it."""

    def next_tokens(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[int]:
        """New tokens as they are made, an end token included; `ApiError` where the model's numbers are none."""

    def text(self, tokens: Sequence[int], *, special: bool) -> str:
        """The text of `tokens`; what is cut off within a character ends in U+FFFD. `special`: with special tokens."""


class Embedder(Protocol):
    """A model that embeds."""

    @property
    def context(self) -> int:
        """The most tokens of one input."""

    def tokens(self, text: str) -> list[int]:
        """`text`, with what the model wants around it."""

    def checked(self, tokens: Sequence[int], param: str) -> list[int]:
        """Tokens that a client gave; `ApiError` naming `param` where the model has no such token."""

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""

    def embeddings(self, inputs: Sequence[Sequence[int]]) -> list[list[float]]:
        """The vector of each input; `ApiError` where the model's numbers are none."""
