"""The inside of IBM Hyper Protect's sections, as far as it has a meaning here: type, variables, signing key.

The part of YAML that is read: top-level keys in a column; under `env` names with text in one line; under `signingKey`
text in one line or in a literal block. What stands under other keys is IBM's own, is kept as it is, and not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.section import MAXIMUM_SECTION
from cloister.secret import SecretBytes

_TOP: Final = re.compile(r"([A-Za-z][A-Za-z0-9_-]*):(?: +(.*))?")
_INNER: Final = re.compile(r" +([A-Za-z_][A-Za-z0-9_]*):(?: +(.*))?")
_PLAIN: Final = re.compile(r"[A-Za-z0-9+/=_.~@,;()<>^$-](?:(?! #|: )[^\x00-\x1f\x7f])*(?<!:)")
_BLOCKS: Final = ("|", "|-", "|+")


@dataclass(frozen=True, slots=True)
class HyperProtectSection:
    """What is read of a section; the whole text stands beside it."""

    type: Literal["workload", "env"]
    variables: Mapping[str, str]
    signing_key: str  # PEM, or base64 of it; empty where there is none

    def __repr__(self) -> str:
        return f"<HyperProtectSection: {self.type}, {len(self.variables)} variables>"


def parse_hyper_protect_section(data: SecretBytes) -> HyperProtectSection:
    """Read a decrypted section, at most 64 KiB.

    Raises:
        TooLarge: over the cap; nothing was read.
        MalformedInput: not a section in the part of YAML that is read; the line is named, and nothing in it.
    """
    if len(data) > MAXIMUM_SECTION:
        raise TooLarge(f"a section of {len(data)} bytes, the cap is {MAXIMUM_SECTION}")
    try:
        lines = data.reveal().decode().split("\n")
    except UnicodeDecodeError:
        raise MalformedInput("a section is UTF-8") from None
    keys = _top_level(lines)
    type_ = _scalar(keys["type"][0], keys["type"][1]) if "type" in keys else ""
    if type_ not in ("workload", "env"):
        raise MalformedInput("a section's `type` is `workload` or `env`")
    section = HyperProtectSection(
        "workload" if type_ == "workload" else "env", _variables(keys, lines), _signing_key(keys, lines)
    )
    if section.type == "workload" and section.signing_key:
        raise MalformedInput("the signing key stands in the env section, not in the workload's")
    return section


def format_hyper_protect_section(section: HyperProtectSection) -> SecretBytes:
    """The YAML of a section that has nothing but what is read here."""
    lines = [f"type: {section.type}"]
    if section.signing_key:
        lines.append(f"signingKey: {_quoted(section.signing_key)}")
    lines += ["env:", *(f"  {name}: {_quoted(value)}" for name, value in section.variables.items())]
    return SecretBytes(("\n".join(lines if section.variables else lines[:-1]) + "\n").encode())


def _top_level(lines: list[str]) -> dict[str, tuple[str, int]]:
    """The keys in the first column: what stands behind each, and the number of its line."""
    keys: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(lines, 1):
        text = line.rstrip(" \r")
        if not text or text[0] in " #" or (text == "---" and not keys):
            continue
        found = _TOP.fullmatch(text)
        if found is None or found[1] in keys:
            raise MalformedInput(f"line {number}: a key, a colon and text stand here, each key once")
        keys[found[1]] = (found[2] or "", number)
    return keys


def _below(lines: list[str], number: int) -> list[tuple[int, str]]:
    """The indented lines under the key in line `number`, with their own numbers."""
    inside: list[tuple[int, str]] = []
    for at, line in enumerate(lines[number:], number + 1):
        text = line.rstrip(" \r")
        if text and text[0] != " ":
            break
        inside.append((at, text))
    return inside


def _variables(keys: Mapping[str, tuple[str, int]], lines: list[str]) -> dict[str, str]:
    behind, number = keys.get("env", ("", len(lines)))
    if behind and behind != "{}":
        raise MalformedInput(f"line {number}: under `env` stand names, one to a line")
    variables: dict[str, str] = {}
    indents = set()
    for at, text in _below(lines, number):
        if not text or text.lstrip().startswith("#"):
            continue
        found = _INNER.fullmatch(text)
        indents.add(len(text) - len(text.lstrip()))
        if found is None or found[1] in variables or len(indents) > 1:
            raise MalformedInput(f"line {at}: under `env` stand names, each once, with text in the same line")
        variables[found[1]] = _scalar(found[2] or "", at)
    return variables


def _signing_key(keys: Mapping[str, tuple[str, int]], lines: list[str]) -> str:
    if "signingKey" not in keys:
        return ""
    behind, number = keys["signingKey"]
    if behind not in _BLOCKS:
        return _scalar(behind, number)
    block = [text.strip() for _, text in _below(lines, number)]
    return "\n".join(line for line in block if line) + "\n"


def _scalar(text: str, number: int) -> str:
    """Text in one line: in double quotes as JSON has it, in single quotes, or plain and without anything special."""
    if text[:1] == '"':
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if isinstance(value, str) and not re.search(r"[\ud800-\udfff\x00]", value):
            return value
    elif re.fullmatch(r"'(?:[^']|'')*'", text):
        return text[1:-1].replace("''", "'")
    elif not text or _PLAIN.fullmatch(text):
        return text
    raise MalformedInput(f"line {number}: text stands here in one line, in quotes where it has anything special in it")


def _quoted(text: str) -> str:
    """In double quotes; what YAML takes for a line's end or not for text at all is escaped."""
    quoted = json.dumps(text, ensure_ascii=False)
    return re.sub(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", lambda one: f"\\u{ord(one[0]):04x}", quoted)
