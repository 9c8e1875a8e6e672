"""A client's request to what the upstream gets: only what the dialect's table has, checked, and written anew.

What the upstream reads is what was checked here: it never gets the client's own bytes of a JSON body.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from cloister.engines.upstream_content import check_content
from cloister.engines.upstream_dialects import IGNORED, RESPONSES, TEMPLATE_ARGUMENTS, Dialect, Route
from cloister.engines.upstream_errors import UpstreamError, refused
from cloister.engines.upstream_inference import check_inference
from cloister.engines.upstream_json import (
    MAXIMUM_ELEMENTS,
    MAXIMUM_STRUCTURE,
    has_lone_surrogate,
    is_too_much,
    parse_json,
)

SECRET_CHARACTERS: Final = 32  # of a client's `prompt_cache_key`, from which on it is taken for a secret
_NO_OBJECT: Final = (
    "The body is not one JSON object in UTF-8, nested 64 deep at most, of finite numbers to 40 digits, and of texts"
    " without lone surrogates."
)
_TOO_MUCH: Final = (
    f"The body has more than {MAXIMUM_ELEMENTS:,} elements, or than {MAXIMUM_STRUCTURE:,} lists, objects and members."
)
_TOKENS: Final = 131_072  # the most of one answer
_ANSWERS: Final = 8
_LIKELY: Final = 20  # tokens told beside each that was chosen, as OpenAI's
_MOST: Final = {
    **dict.fromkeys(("max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict", "min_tokens"), _TOKENS),
    **dict.fromkeys(("n", "best_of"), _ANSWERS),
    **dict.fromkeys(("logprobs", "top_logprobs", "n_probs"), _LIKELY),
}


class Salts:
    """Values that keep one client's prompts out of what another's can hit in the upstream's prompt cache."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)  # of this start: a salt says nothing of the secret that it derives from

    def salt(self, fields: Mapping[str, Any]) -> str:
        """A fresh one; or a conversation's, where the client shows a secret that is long enough to be one."""
        chosen = fields.get("prompt_cache_key") or fields.get("cache_salt")
        if not isinstance(chosen, str) or len(chosen) < SECRET_CHARACTERS:
            return secrets.token_hex(32)
        return hmac.digest(self._key, chosen.encode(), hashlib.sha256).hex()


def read_object(body: bytes) -> dict[str, Any]:
    """The one JSON object in `body`.

    Raises:
        UpstreamError: it is none in UTF-8, a member comes twice, a number is not finite or has over 40 digits, a name
            or a text has a lone surrogate, or it is nested deeper than 64 levels; before it is read: it has too many
            elements, lists, objects or members.
    """
    if is_too_much(body):
        raise UpstreamError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_MUCH, code="request_too_large")
    try:
        found = parse_json(body, members=_once)
    except ValueError as error:  # UnicodeDecodeError is one
        raise refused(_NO_OBJECT, code="invalid_json") from error
    if not isinstance(found, dict) or has_lone_surrogate(found):
        raise refused(_NO_OBJECT, code="invalid_json")
    return found


def rewritten(route: Route, dialect: Dialect, fields: dict[str, Any], salts: Salts) -> bytes:
    """The body that the upstream gets; the model's name is for others to say.

    Raises:
        UpstreamError: a field that is not in the table, or one whose value reaches past this request.
    """
    for name in fields:
        if name not in route.fields and name not in IGNORED:
            raise _unknown(name)
    if dialect.errors == "kserve":
        check_inference(route.path, fields)
    else:
        check_content(route.path, fields)
        _check_amounts(fields)
        if not isinstance(fields.get("stream"), bool | None):
            raise refused("stream takes true or false.", param="stream")
    _check_template(fields.get("chat_template_kwargs"))
    passed = {name: value for name, value in fields.items() if name in route.fields} | dict(dialect.fixed)
    if "store" in fields and fields["store"] is True:
        raise refused("Nothing is stored here: leave out store, or make it false.", param="store")
    if route.path == RESPONSES:
        passed["store"] = False
    if "stream" in route.fields and dialect.errors != "kserve":  # said each time: servers differ in what silence means
        passed["stream"] = fields.get("stream") is True
    if dialect.salt is not None:
        passed[dialect.salt] = salts.salt(fields)
    return json.dumps(passed, ensure_ascii=True, allow_nan=False).encode()


def _unknown(name: str) -> UpstreamError:
    shown = name if name.isidentifier() and name.isascii() and len(name) <= 64 else None
    named = "An argument" if shown is None else f"The argument '{shown}'"
    message = f"{named} is not taken here: it is unknown, or reaches past this request (other requests, the host)."
    return refused(message, param=shown, code="unknown_parameter")


def _check_amounts(fields: Mapping[str, Any]) -> None:
    """Whole numbers within their caps: a server may read a number out of "9" and 9.0 too."""
    for name, most in _MOST.items():
        value = fields.get(name)
        if value is None or (name == "logprobs" and isinstance(value, bool)):
            continue
        if not (type(value) is int and 0 <= value <= most):
            raise refused(f"{name} takes a whole number from 0 to {most}.", param=name)


def _check_template(given: Any) -> None:
    if given is not None and not (isinstance(given, dict) and given.keys() <= TEMPLATE_ARGUMENTS):
        allowed = ", ".join(sorted(TEMPLATE_ARGUMENTS))
        raise refused(
            f"chat_template_kwargs takes {allowed}: others replace the template.", param="chat_template_kwargs"
        )


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise ValueError
    return found
