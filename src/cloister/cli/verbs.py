"""A command whose verbs are modules of their own, imported when they are called: its help needs none of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from cloister.cli.main import Entry, load


class Verbs(click.Group):
    """The group over a table of verbs."""

    def __init__(self, *, verbs: Mapping[str, Entry], **given: Any) -> None:
        super().__init__(**given)
        self._verbs = verbs

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(self._verbs)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb of that name."""
        entry = self._verbs.get(cmd_name)
        return None if entry is None else load(f"{self.name} {cmd_name}", entry)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table as help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.says) for name, entry in self._verbs.items()])
