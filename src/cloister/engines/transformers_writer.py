"""A causal language model that writes, a token at a time: prompts by its chat template, sampling, its own cache.

The loop is our own rather than the library's `generate`, so that each token leaves when it is made, in one thread.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jinja2 import TemplateError
from transformers import DynamicCache

from cloister.engines.chat_messages import too_long
from cloister.engines.json_request import bad
from cloister.engines.text_model import Sampling
from cloister.engines.transformers_model import Loaded, no_numbers

_PREFILL = 512  # tokens of a prompt at once: what attention needs for all of it grows with its square


class Writer:
    """A `TextModel`."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self.context = loaded.context
        config = loaded.model.generation_config
        said = config.eos_token_id if config is not None else None
        ends = said if isinstance(said, list) else [said]
        self.ends = frozenset(one for one in (*ends, loaded.tokenizer.eos_token_id) if one is not None)
        template = loaded.tokenizer.chat_template
        self.chat_template: str | None = template if isinstance(template, str) else (template or {}).get("default")

    def tokens(self, text: str) -> list[int]:
        """`text` as a prompt."""
        return self._loaded.tokens(text, "prompt", special=True) or self._beginning()

    def checked(self, tokens: Sequence[int], param: str) -> list[int]:
        """Tokens that a client gave."""
        return self._loaded.checked(tokens, param)

    def chat(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] | None, begun: str) -> list[int]:
        """A conversation as a prompt.

        Raises:
            ApiError: the template refuses it, or it is too long.
        """
        try:
            written = self._loaded.tokenizer.apply_chat_template(
                list(messages), tools=list(tools) if tools else None, add_generation_prompt=True, tokenize=False
            )
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            message = "The model's chat template refuses this conversation: the order or kind of its messages."
            raise bad("messages", message) from error
        return self._loaded.tokens(written + begun, "messages", special=False)

    def text(self, tokens: Sequence[int], *, special: bool) -> str:
        """The text of `tokens`."""
        decoded = self._loaded.tokenizer.decode(
            list(tokens), skip_special_tokens=not special, clean_up_tokenization_spaces=False
        )
        return str(decoded)

    def next_tokens(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[int]:
        """New tokens, until one that ends, or the limit.

        Raises:
            ApiError: the model's numbers are none.
        """
        if len(prompt) > self.context:
            raise too_long(self.context, len(prompt), "messages")
        choose = _Chooser(sampling)
        with torch.inference_mode():
            cache = DynamicCache(config=self._loaded.model.config)
            for start in range(0, len(prompt), _PREFILL):
                scores = self._scores(prompt[start : start + _PREFILL], cache)
            for made in range(1, sampling.limit + 1):
                token = choose(scores)
                yield token
                if token in self.ends or made == sampling.limit:
                    return
                scores = self._scores([token], cache)

    def _scores(self, tokens: Sequence[int], cache: DynamicCache) -> torch.Tensor:
        """What the model gives each token that could come next; shape (vocabulary,), float32."""
        given = torch.tensor([list(tokens)])
        answer = self._loaded.model(input_ids=given, past_key_values=cache, use_cache=True, logits_to_keep=1)
        scores: torch.Tensor = answer.logits[0, -1].float()
        if not torch.isfinite(scores.sum()):
            raise no_numbers()
        return scores

    def _beginning(self) -> list[int]:
        """What an empty prompt begins with."""
        tokenizer = self._loaded.tokenizer
        first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else min(self.ends, default=0)
        return [int(first)]


class _Chooser:
    """Picks a token: the likeliest at temperature 0, otherwise by chance among the likeliest that make up `top_p`."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._chance = torch.Generator()
        # Requests are served by copies of one process, whose own chance would be the same for all.
        self._chance.manual_seed(secrets.randbits(63) if sampling.seed is None else sampling.seed)

    def __call__(self, scores: torch.Tensor) -> int:
        if self._sampling.temperature < 1e-5:
            return int(scores.argmax())
        likely = torch.softmax(scores / self._sampling.temperature, dim=-1)
        if self._sampling.top_p < 1:
            ordered, places = likely.sort(descending=True)
            before = ordered.cumsum(0) - ordered
            likely = torch.zeros_like(likely).scatter(0, places, ordered.where(before < self._sampling.top_p, 0))
        return int(torch.multinomial(likely, 1, generator=self._chance))
