"""`cloister evidence`: what hardware says of itself. Each verb is a module of its own, imported when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import click

from cloister.cli.main import Entry, load

VERBS: Final[Mapping[str, Entry]] = {
    "show": Entry("cloister.cli.evidence_show:show", "Say what a file of evidence says; nothing of it is checked."),
    "verify": Entry("cloister.cli.evidence_verify:verify", "Verify evidence against an appraisal policy, offline."),
    "collect": Entry("cloister.cli.evidence_collect:collect", "Collect the evidence of this machine's TEE."),
}


class Verbs(click.Group):
    """A group whose verbs are imported when they are needed."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(VERBS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb of that name."""
        entry = VERBS.get(cmd_name)
        return None if entry is None else load(f"evidence {cmd_name}", entry)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table as help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.says) for name, entry in VERBS.items()])


@click.group(cls=Verbs)
def evidence() -> None:
    """Evidence of hardware: what a TEE says of itself."""
