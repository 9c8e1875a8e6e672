"""`cloister endorsements list` and `expire`: what the store has, and what of it will end, or has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
from rich.text import Text

from cloister.attest.endorsements import EndorsementRefused
from cloister.cli.chain import console
from cloister.cli.endorsement_options import moment, now, open_made_store, store_options
from cloister.cli.state_folder import StateFolder
from cloister.cli.terminal import printable, say_json
from cloister.endorsements.store import DamagedEndorsement, EndorsementStore, Stored
from cloister.formats.endorsement_bundle import KINDS

_LENGTH: Final = re.compile(r"([0-9]{1,5})([dh])")
_SECONDS: Final = {"d": 24 * 3600, "h": 3600}
LIST_EPILOG: Final = """\b
Examples:
  cloister endorsements list
  cloister endorsements list --json | jq -r '.[] | select(.in_date | not) | .file'

What has ended stays listed, and in the store: it is the memory of how new it was, so that nothing older is taken later.
What is no longer needed is forgotten by removing its file. A damaged file ends the list with exit code 1, by its name.
"""
EXPIRE_EPILOG: Final = """\b
Examples:
  cloister endorsements expire
  cloister endorsements expire --within 48h || mail -s "endorsements have ended" operators

To be run every day where there is no network: fetch anew, and import, before it warns no more.

\b
Exit codes:
  0   nothing has ended; what will end within the time is listed
  3   something has ended: evidence that needs it is refused
"""


class Length(click.ParamType[int]):
    """A length of time: `14d`, `36h`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """In seconds."""
        if isinstance(value, int):
            return value
        found = _LENGTH.fullmatch(value)
        if found is None:
            self.fail(f"{value} is no length of time: days as in 14d, or hours as in 36h", param, ctx)
        return int(found[1]) * _SECONDS[found[2]]


@click.command("list", epilog=LIST_EPILOG, short_help="List what the store has, and until when it counts.")
@store_options
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def list_(store: Path | None, policy: Path | None, state: StateFolder, *, as_json: bool) -> None:
    """List every endorsement of the store: its kind, from when until when it counts, and what it is of."""
    found = list(_all(open_made_store(store, policy, state)))
    at = now()
    stored = [one for one in found if isinstance(one, Stored)]
    if as_json:
        say_json([_told(one, at) for one in stored])
    else:
        for one in stored:
            _show(one, at)
        click.echo(f"{len(stored)} endorsements, {sum(not one.counts(at) for one in stored)} of them not in date")
    _require_whole(found)


@click.command(epilog=EXPIRE_EPILOG, short_help="Warn ahead of what will end, and of what has.")
@click.option("--within", type=Length(), default="14d", show_default=True, help="How far ahead: days (d) or hours (h).")
@store_options
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def expire(within: int, store: Path | None, policy: Path | None, state: StateFolder, *, as_json: bool) -> None:
    """Warn of every endorsement of the store that will end within a time, and refuse if one has ended."""
    found = list(_all(open_made_store(store, policy, state)))
    at = now()
    ending = sorted(
        (one for one in found if isinstance(one, Stored) and one.described.until <= at + within),
        key=lambda one: one.described.until,
    )
    if as_json:
        say_json([_told(one, at) for one in ending])
    else:
        for one in ending:
            _show(one, at)
        if not ending:
            click.echo("nothing ends within that time" if found else "the store is empty: nothing in it can end")
    _require_whole(found)
    ended = [one for one in ending if one.described.until < at]
    if ended:
        raise EndorsementRefused(
            "endorsement.date", f"{len(ended)} have ended, the first on {moment(ended[0].described.until)} UTC"
        )


def _all(store: EndorsementStore) -> Iterator[Stored | DamagedEndorsement]:
    for kind in KINDS:
        yield from store.of_kind(kind)


def _require_whole(found: list[Stored | DamagedEndorsement]) -> None:
    for one in found:
        if isinstance(one, DamagedEndorsement):
            raise one


def _show(one: Stored, at: int) -> None:
    own = one.described
    mark, style = ("✓", "green") if one.counts(at) else ("✗", "bold red")
    life = f"{moment(own.first)} to {moment(own.until)}"
    console().print(Text(mark, style=style) + Text(f" {own.kind:<22} {life}  {printable(own.subject)}"))


def _told(one: Stored, at: int) -> dict[str, object]:
    own = one.described
    return {
        "kind": own.kind,
        "subject": own.subject,
        "from": own.first,
        "until": own.until,
        "in_date": one.counts(at),
        "file": str(one.path),
    }
