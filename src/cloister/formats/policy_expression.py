"""Expressions of appraisal policies: a strict part of CEL, Google's Common Expression Language (cel.dev, "Syntax").

    reported_tcb.snp >= 24 && (product == "Milan" || committed_firmware_build in [39, 40])

What is left out of CEL is what could run long (macros, arithmetic, regular expressions) or hide a mistake: values of
different types are not compared, and both sides of `&&` and `||` are always looked at, so that a claim that is not
there refuses wherever it is named. An expression of this part that has a value here has the same value in CEL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any, Final, NoReturn

import msgspec

from cloister.errors import CloisterError, MalformedInput

MAXIMUM_EXPRESSION: Final = 1024  # characters
_TOLD: Final = 4  # claims of an expression that is false
_DEPTH: Final = 16  # parentheses and negations within each other
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>-?(?:0x[0-9a-fA-F]{1,15}|[0-9]{1,18})(?![0-9A-Za-z_.]))"
    r"|\"(?P<double>[^\"\\\n]*)\"|'(?P<single>[^'\\\n]*)'"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|[<>!()\[\],.]))"
)
_KEYWORDS: Final = ("true", "false", "in", "null")
_METHODS: Final[Mapping[str, Callable[[str, str], bool]]] = MappingProxyType(
    {"startsWith": str.startswith, "endsWith": str.endswith, "contains": str.__contains__}
)

Expressions = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=MAXIMUM_EXPRESSION)], ...], msgspec.Meta(max_length=64)
]
Value = bool | int | str | list[Any]
Claims = Mapping[str, Any]  # names to values, or to claims within them


class NotHeld(CloisterError):
    """An expression is false, or has no value: a claim is missing, or is of another type than it is compared with."""

    exit_code = 3
    status = 403


Compiled = Callable[[Claims], Value]


def require_expressions(expressions: Sequence[str]) -> None:
    """Refuse what is no expression, for the `__post_init__` of a policy.

    Raises:
        ValueError: which is none, and why.
    """
    for one in expressions:
        try:
            compile_expression(one)
        except MalformedInput as error:
            raise ValueError(f"the expression {one[:60]!r}: {error}") from error


def unheld(expressions: Sequence[str], claims: Claims) -> list[str]:
    """What is to be said of each expression that does not hold for `claims`; nothing where all of them do."""
    wrong = []
    for one in expressions:
        try:
            if (found := compile_expression(one)(claims)) is not True:
                wrong.append(f"{one} is {_shown(found)}{_met(one, claims) if found is False else ''}")
        except NotHeld as error:
            wrong.append(f"{one}: {error}")
    return wrong


@lru_cache(maxsize=256)
def compile_expression(text: str) -> Compiled:
    """An expression, ready to be asked of claims; asking takes time in proportion to its length.

    Raises:
        MalformedInput: it is none.
    """
    if len(text) > MAXIMUM_EXPRESSION:
        raise MalformedInput(f"{len(text)} characters, the cap is {MAXIMUM_EXPRESSION}")
    reader = _Reader(_tokens(text))
    compiled = reader.either(0)
    if reader.left:
        raise MalformedInput(f"{reader.left[0][1]!r} follows what is whole")
    return compiled


def _met(text: str, claims: Claims) -> str:
    """What an expression that is false found: the first of the claims that it names, with their values."""
    reader = _Reader(_tokens(text))
    reader.either(0)
    found = {name: _shown(_claim(claims, name.split("."))) for name in dict.fromkeys(reader.named)}
    told = [f"{name} is {value}" for name, value in found.items()][:_TOLD]
    return f" ({', '.join(told)})" if told else ""


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise MalformedInput(f"{text[at:].strip()[:20]!r} is nothing that is known here")
        kind = match.lastgroup or ""
        found.append(("text" if kind in ("double", "single") else kind, match[kind]))
        at = match.end()
    return found


@dataclass(slots=True)
class _Reader:
    """Reads tokens by CEL's grammar, the loosest operator first."""

    left: list[tuple[str, str]]
    named: list[str] = field(default_factory=list)  # claims, as they came

    def either(self, depth: int) -> Compiled:
        """`a || b`."""
        parts = [self._both(depth)]
        while self._takes("||"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else lambda claims: any(_truths(parts, claims, "||"))

    def _both(self, depth: int) -> Compiled:
        parts = [self._relation(depth)]
        while self._takes("&&"):
            parts.append(self._relation(depth))
        return parts[0] if len(parts) == 1 else lambda claims: all(_truths(parts, claims, "&&"))

    def _relation(self, depth: int) -> Compiled:
        first = self._single(depth)
        sign = next((one for one in _RELATIONS if self._takes(one)), None)
        if sign is None:
            return first
        second, compare = self._single(depth), _RELATIONS[sign]
        return lambda claims: compare(first(claims), second(claims))

    def _single(self, depth: int) -> Compiled:
        if depth > _DEPTH:
            _refuse(f"nested deeper than {_DEPTH}")
        if self._takes("!"):
            negated = self._single(depth + 1)
            return lambda claims: not _truth(negated(claims), "!")
        if self._takes("("):
            inner = self.either(depth + 1)
            self._needs(")")
            return inner
        if self._takes("["):
            return self._list()
        kind, word = self._next("a value")
        if kind == "sign" or word in ("in", "null"):
            _refuse(f"{word!r} where a value is due")
        if kind != "name" or word in ("true", "false"):
            value = _literal(kind, word)
            return lambda _: value
        return self._named(word, depth)

    def _list(self) -> Compiled:
        values: list[Value] = []
        while not self._takes("]"):
            if values:
                self._needs(",")
            values.append(_literal(*self._next("a value in a list")))
        return lambda _: values

    def _named(self, word: str, depth: int) -> Compiled:
        """A claim, `size(…)` of one, or a method of one."""
        if self._takes("("):
            if word != "size":
                _refuse(f"the function {word} is not known here; size is")
            inner = self.either(depth + 1)
            self._needs(")")
            return lambda claims: _size(inner(claims))
        path = [word]
        while self._takes("."):
            kind, word = self._next("a name")
            if kind != "name" or word in _KEYWORDS:
                _refuse(f"{word!r} where a name is due")
            if self._takes("("):
                return self._method(path, word)
            path.append(word)
        self.named.append(".".join(path))
        return lambda claims: _claim(claims, path)

    def _method(self, path: list[str], name: str) -> Compiled:
        if name not in _METHODS:
            _refuse(f"the method {name} is not known here; {', '.join(_METHODS)} are")
        kind, given = self._next("text")
        self._needs(")")
        if kind != "text":
            _refuse(f"{name} takes text that stands there")
        method = _METHODS[name]
        self.named.append(".".join(path))
        return lambda claims: method(_text(_claim(claims, path), name), given)

    def _takes(self, word: str) -> bool:
        kind = "name" if word == "in" else "sign"
        if not self.left or self.left[0] != (kind, word):
            return False
        self.left.pop(0)
        return True

    def _needs(self, word: str) -> None:
        if not self._takes(word):
            _refuse(f"{word!r} is missing before {self.left[0][1] if self.left else 'the end'!r}")

    def _next(self, what: str) -> tuple[str, str]:
        if not self.left:
            _refuse(f"it ends where {what} is due")
        return self.left.pop(0)


def _literal(kind: str, word: str) -> Value:
    if kind == "number":
        return int(word, 16 if "x" in word else 10)
    if kind == "text":
        return word
    if word not in ("true", "false"):
        _refuse(f"{word!r} where a number, text, true or false is due")
    return word == "true"


def _claim(claims: Claims, path: Sequence[str]) -> Value:
    found: Any = claims
    for at, name in enumerate(path, 1):
        if not isinstance(found, Mapping) or name not in found:
            raise NotHeld(f"the evidence says nothing of {'.'.join(path[:at])}")
        found = found[name]
    if isinstance(found, Mapping):
        raise NotHeld(f"{'.'.join(path)} has parts: name one of {', '.join(found)}")
    return found  # type: ignore[no-any-return]  # claims hold values


def _same(first: Value, second: Value) -> bool:
    if isinstance(first, list) or isinstance(second, list):
        raise NotHeld("lists are not compared: ask with `in` and size")
    if type(first) is not type(second):
        raise NotHeld(f"compares {_shown(first)} with {_shown(second)}, which is of another type")
    return first == second


def _ordered(first: Value, second: Value, compare: Callable[[Any, Any], bool]) -> bool:
    if type(first) is not type(second) or isinstance(first, bool | list):
        raise NotHeld(f"{_shown(first)} and {_shown(second)} have no order")
    return compare(first, second)


def _within(value: Value, values: Value) -> bool:
    if not isinstance(values, list):
        raise NotHeld(f"`in` takes a list, not {_shown(values)}")
    same = [_same(value, one) for one in values]
    return any(same)


_RELATIONS: Final[Mapping[str, Callable[[Value, Value], bool]]] = MappingProxyType(
    {
        "==": _same,
        "!=": lambda first, second: not _same(first, second),
        "<=": lambda first, second: _ordered(first, second, lambda one, other: one <= other),
        ">=": lambda first, second: _ordered(first, second, lambda one, other: one >= other),
        "<": lambda first, second: _ordered(first, second, lambda one, other: one < other),
        ">": lambda first, second: _ordered(first, second, lambda one, other: one > other),
        "in": _within,
    }
)


def _size(value: Value) -> int:
    if not isinstance(value, str | list):
        raise NotHeld(f"{_shown(value)} has no size")
    return len(value)


def _truths(parts: Sequence[Compiled], claims: Claims, sign: str) -> list[bool]:
    """Of all parts, so that what has no value is found wherever it stands."""
    return [_truth(one(claims), sign) for one in parts]


def _truth(value: Value, sign: str) -> bool:
    if not isinstance(value, bool):
        raise NotHeld(f"`{sign}` takes what is true or false, not {_shown(value)}")
    return value


def _text(value: Value, method: str) -> str:
    if not isinstance(value, str):
        raise NotHeld(f"{method} is of text, not of {_shown(value)}")
    return value


def _shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)[:40]


def _refuse(sentence: str) -> NoReturn:
    raise MalformedInput(sentence)
