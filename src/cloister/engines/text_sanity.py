"""What can be asked of a model whose owner gave no test: one answer, twice; of numbers; not a token over and over."""

from __future__ import annotations

import math

from cloister.engines.api_error import ApiError
from cloister.engines.text_model import Embedder, Sampling, TextModel

_PROMPT = "Hello"
_TOKENS = 24


def writes_sanely(model: TextModel) -> bool:
    """At temperature 0 a model answers the same twice, and more than one token over and over."""
    sampling = Sampling(limit=min(_TOKENS, model.context // 2), temperature=0)
    try:
        prompt = model.tokens(_PROMPT)
        if model.chat_template is not None:
            prompt = model.chat([{"role": "user", "content": _PROMPT}], None, "")
        first, second = (list(model.next_tokens(prompt, sampling)) for _ in range(2))
    except ApiError:
        return False
    return first == second and (len(first) < sampling.limit or len(set(first)) > 1)


def embeds_sanely(model: Embedder) -> bool:
    """The same text has the same vector, of a length, and another text another vector."""
    try:
        one, same, other = model.embeddings([model.tokens(text) for text in (_PROMPT, _PROMPT, "7 ships sank.")])
    except ApiError:
        return False
    near = all(math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-4) for a, b in zip(one, same, strict=True))
    return near and any(one) and not all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(one, other, strict=True))
