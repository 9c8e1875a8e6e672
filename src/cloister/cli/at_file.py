"""Values that do not belong on a command line, where all users of a machine can read them: `@FILE` stands for one."""

from __future__ import annotations

import sys
from typing import Any

import click

MAXIMUM_VALUE = 64 * 1024  # bytes


class TextOrFile(click.ParamType[str]):
    """Text as it stands; `@FILE` for the text of a file, `@-` for standard input. `@@text` is `@text` itself."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text."""
        if not isinstance(value, str) or not value.startswith("@"):
            return str(value)
        if value.startswith("@@"):
            return value[1:]
        try:
            data = sys.stdin.buffer.read(MAXIMUM_VALUE + 1) if value == "@-" else _content(value[1:])
            text = data.decode()
        except OSError as error:
            self.fail(f"{value[1:]} cannot be read: {error.strerror}", param, ctx)
        except UnicodeDecodeError:
            self.fail(f"{value[1:]} is not UTF-8", param, ctx)
        if len(data) > MAXIMUM_VALUE:
            self.fail(f"{value[1:]} has more than {MAXIMUM_VALUE} bytes", param, ctx)
        return text.removesuffix("\n")


def _content(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - the name is as the user typed it
        return file.read(MAXIMUM_VALUE + 1)
