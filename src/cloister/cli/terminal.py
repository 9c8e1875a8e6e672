"""What is written for a person to read: nothing that a terminal would obey, and never in the way of the work."""

from __future__ import annotations

import contextlib
import sys

import click
import msgspec


def printable(text: str) -> str:
    """The text without control characters other than newlines and tabs: what a peer sent must not move the cursor."""
    return "".join(character if character.isprintable() or character in "\n\t" else "\ufffd" for character in text)


def say(sentence: str) -> None:
    """Tell a person what happens; whoever has stopped reading does not stop it."""
    with contextlib.suppress(BrokenPipeError):
        click.echo(printable(sentence))


def say_json(value: object) -> None:
    """Print `value` as JSON; whoever has stopped reading does not change the verdict that a command ends with."""
    with contextlib.suppress(BrokenPipeError):
        click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


def say_result(text: str) -> None:
    """Print a result: made printable for a person, as it is for a program.

    Raises:
        BrokenPipeError: nobody reads it.
    """
    click.echo(printable(text) if sys.stdout.isatty() else text)
