"""Reads what `model.bin` of CTranslate2 says that it holds, strictly: its own reader believes lengths and shapes.

Little-endian: u32 version, text specification, u32 revision, u32 how many variables; of each a text name, u8 rank, u32
for each dimension, u8 kind, u32 bytes, and these; u32 how many aliases, of each two texts: its name, the variable's. A
text is a u16 length that counts the zero byte at its end. Values are read of single numbers only.
Source: CTranslate2, python/ctranslate2/specs/model_spec.py, ModelSpec._serialize.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, field
from typing import Final

from cloister.errors import MalformedInput

VERSION: Final = 6
MAXIMUM_VARIABLES: Final = 16_384
_KINDS: Final = ("float32", "int8", "int16", "int32", "float16", "bfloat16")  # in the order of their numbers
_SIZES: Final = {"float32": 4, "int8": 1, "int16": 2, "int32": 4, "float16": 2, "bfloat16": 2}  # bytes
_MAXIMUM_RANK = 3
_TEXT = re.compile(rb"[A-Za-z0-9_/]{1,255}")


@dataclass(frozen=True, slots=True)
class Variable:
    """`value` of a whole number by itself; None of all else."""

    shape: tuple[int, ...]
    kind: str
    value: int | None = None


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What it holds by name. `aliases` lead to names in `variables`."""

    specification: str
    revision: int
    variables: dict[str, Variable] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    def target(self, name: str) -> str:
        """The name under which the variable itself lies."""
        return self.aliases.get(name, name)


def parse(data: bytes | memoryview) -> ModelFile:
    """Read it all but the weights' values.

    Raises:
        MalformedInput: it is another version's, is cut, goes on after its end, or a length is not its shape's.
    """
    reader = _Reader(memoryview(data))
    if (version := reader.number("I")) != VERSION:
        raise MalformedInput(f"model.bin has the format's version {version}, and {VERSION} is read: convert it again")
    model = ModelFile(reader.text(), reader.number("I"))
    for _ in range(reader.count()):
        name = reader.text()
        if name in model.variables:
            raise MalformedInput(f"model.bin has the variable {name} twice")
        model.variables[name] = _variable(reader, name)
    for _ in range(reader.count()):
        _alias(reader, model)
    if not reader.ended():
        raise MalformedInput("model.bin goes on after its end")
    return model


def _variable(reader: _Reader, name: str) -> Variable:
    rank = reader.number("B")
    if rank > _MAXIMUM_RANK:
        raise MalformedInput(f"model.bin: {name} has {rank} dimensions, and at most {_MAXIMUM_RANK} are expected")
    shape = tuple(reader.number("I") for _ in range(rank))
    number = reader.number("B")
    if number >= len(_KINDS):
        raise MalformedInput(f"model.bin: {name} is of kind {number}, which is none of {', '.join(_KINDS)}")
    kind, told = _KINDS[number], reader.number("I")
    if told != math.prod(shape) * _SIZES[kind] or not told:
        raise MalformedInput(f"model.bin: {name} has {told} bytes, which are not those of its shape {shape} of {kind}")
    taken = reader.take(told)
    if shape or not kind.startswith("int"):
        return Variable(shape, kind)
    return Variable(shape, kind, int.from_bytes(taken, "little", signed=True))


def _alias(reader: _Reader, model: ModelFile) -> None:
    name, target = reader.text(), reader.text()
    if name in model.variables or name in model.aliases:
        raise MalformedInput(f"model.bin has the variable {name} twice")
    if target not in model.variables:
        raise MalformedInput(f"model.bin: {name} is to be the same as {target}, which is not there")
    if name.endswith("weight") != target.endswith("weight") or name.endswith("_scale") or target.endswith("_scale"):
        raise MalformedInput(f"model.bin: {name} is to be the same as {target}, which is of another kind")
    model.aliases[name] = target


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def take(self, length: int) -> memoryview:
        if length > len(self._data) - self._at:
            raise MalformedInput(f"model.bin is cut off: {length} bytes are missing after the first {self._at}")
        self._at += length
        return self._data[self._at - length : self._at]

    def number(self, form: str) -> int:
        found: int = struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))[0]
        return found

    def count(self) -> int:
        if (found := self.number("I")) > MAXIMUM_VARIABLES:
            raise MalformedInput(f"model.bin says that it has {found} variables: at most {MAXIMUM_VARIABLES} are read")
        return found

    def text(self) -> str:
        found = bytes(self.take(self.number("H")))
        if found[-1:] != b"\0" or not _TEXT.fullmatch(found[:-1]):
            raise MalformedInput("model.bin: a name is no text of letters, digits, _ and / with a zero at its end")
        return found[:-1].decode("ascii")

    def ended(self) -> bool:
        return self._at == len(self._data)
