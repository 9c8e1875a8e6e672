"""What an upstream has to show before anybody is served: that it answers sanely, and nothing of a shared prompt cache.

The cache is asked for at every start, whatever else the model's own self-test asks. What a server does not tell cannot
be seen here: at a path where it is silent, a salt that it is known to heed, or the definition's word, stands instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from cloister.engines.http_exchange import Handler, Request
from cloister.engines.upstream_answers import cached
from cloister.engines.upstream_dialects import CHAT, COMPLETIONS, MESSAGES, RESPONSES
from cloister.engines.upstream_errors import UpstreamError
from cloister.formats.upstream import FILE

# Longer than the blocks in which servers keep prompts: of 16 tokens, at vLLM.
_LONG: Final = "The same words are said twice, and whoever says them first is nobody's business. " * 4
_CHATTED: Final = {"messages": [{"role": "user", "content": _LONG}], "max_tokens": 1}
_QUESTIONS: Final[Mapping[str, dict[str, Any]]] = {
    CHAT: _CHATTED,
    COMPLETIONS: {"prompt": _LONG, "max_tokens": 1},
    RESPONSES: {"input": _LONG, "max_output_tokens": 16},
    MESSAGES: _CHATTED,
}


def insane(handler: Handler, model: str) -> str | None:
    """What is wrong with the answers to one plain question: it has one at temperature 0, and it is no noise."""
    messages = [{"role": "user", "content": "Count from one to ten."}]
    body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": 16, "seed": 1}
    request = Request("POST", CHAT, {"content-type": "application/json"}, json.dumps(body).encode())
    said = []
    for _ in range(2):
        answer = handler(request)
        if answer.status != HTTPStatus.OK or not isinstance(answer.body, bytes):
            return "a plain question is not answered"
        said.append(_said(answer.body))
    if said[0] != said[1]:
        return "the same question has two answers at temperature 0"
    return "its answer is empty, or one character over and over" if len(set(said[0].strip())) < 2 else None


def remembers(
    paths: frozenset[str], ask: Callable[[str, dict[str, Any]], dict[str, Any]], *, apart: frozenset[str] = frozenset()
) -> str | None:
    """Why its prompt cache may be shared by requests; `ask` gives the server's own answer.

    At each of `paths` that writes text the same is asked twice. Of the others, and where the answers do not say what
    was known, only those in `apart` are taken to be kept so; a path that the server does not have serves nobody.
    """
    for path in sorted(paths, key=lambda one: (one not in _QUESTIONS, one)):
        known = None
        if path in _QUESTIONS:
            try:
                ask(path, _QUESTIONS[path])
                known = cached(ask(path, _QUESTIONS[path]))
            except UpstreamError as error:
                if error.http_status == HTTPStatus.NOT_FOUND:
                    continue
                return f"a plain question to {path} is not answered, so that nothing shows what it remembers"
        if known:
            return f"its prompt cache is shared: at {path} it knew what another had asked"
        if known is None and path not in apart:
            return f"at {path} nothing shows whether requests share a prompt cache: see prompt_cache in {FILE}"
    return None


def _said(body: bytes) -> str:
    try:
        return str(json.loads(body)["choices"][0]["message"]["content"] or "")
    except (ValueError, LookupError, TypeError):
        return ""
