"""A model that embeds texts: the vectors of a text's tokens to its own, as the model's folder says."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cloister.engines.transformers_folder import Described
from cloister.engines.transformers_model import Loaded, no_numbers

_TOKENS_AT_ONCE = 8192  # of one batch, its padding included


class TransformersEmbedder:
    """An `Embedder`."""

    def __init__(self, loaded: Loaded, described: Described) -> None:
        self._loaded = loaded
        self._described = described
        self.context = loaded.context
        self.dimensions = int(loaded.model.config.get_text_config().hidden_size)

    def tokens(self, text: str) -> list[int]:
        """`text`, with what the model wants around it."""
        return self._loaded.tokens(text, "input", special=True)

    def checked(self, tokens: Sequence[int], param: str) -> list[int]:
        """Tokens that a client gave."""
        return self._loaded.checked(tokens, param)

    def embeddings(self, inputs: Sequence[Sequence[int]]) -> list[list[float]]:
        """The vector of each, texts of about one length together.

        Raises:
            ApiError: the model's numbers are none.
        """
        found: dict[int, list[float]] = {}
        batch: list[int] = []
        for at in sorted(range(len(inputs)), key=lambda at: len(inputs[at])):
            if batch and (len(batch) + 1) * len(inputs[at]) > _TOKENS_AT_ONCE:
                found.update(zip(batch, self._batch([inputs[one] for one in batch]), strict=True))
                batch = []
            batch.append(at)
        found.update(zip(batch, self._batch([inputs[one] for one in batch]), strict=True))
        return [found[at] for at in range(len(inputs))]

    def _batch(self, inputs: Sequence[Sequence[int]]) -> list[list[float]]:
        longest = max(map(len, inputs))
        padding = self._loaded.tokenizer.pad_token_id or 0
        tokens = torch.tensor([[*one, *[padding] * (longest - len(one))] for one in inputs])
        mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in inputs])
        with torch.inference_mode():
            hidden = self._loaded.model(input_ids=tokens, attention_mask=mask).last_hidden_state.float()
            vectors = self._pooled(hidden, mask)
            if self._described.normalized:
                vectors = torch.nn.functional.normalize(vectors, dim=-1)
            if not torch.isfinite(vectors.sum()):
                raise no_numbers()
            listed: list[list[float]] = vectors.tolist()
            return listed

    def _pooled(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """One vector a text; `hidden` has shape (texts, tokens, numbers)."""
        if self._described.pooling == "cls":
            return hidden[:, 0]
        if self._described.pooling == "lasttoken":
            return hidden[torch.arange(len(hidden)), mask.sum(1) - 1]
        weights = mask.unsqueeze(-1)
        return (hidden * weights).sum(1) / weights.sum(1)
