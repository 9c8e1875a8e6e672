"""`cloister endorsements import`: a bundle from the other side of an air gap, believed in nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
import msgspec
from rich.text import Text

from cloister.attest.endorsements import EndorsementRefused
from cloister.cli.chain import console
from cloister.cli.endorsement_options import moment, now, open_store, store_options
from cloister.cli.state_folder import StateFolder
from cloister.cli.terminal import printable
from cloister.endorsements.bundle import Imported, import_bundle
from cloister.errors import MalformedInput, UsageError
from cloister.formats.endorsement_bundle import MAXIMUM_BUNDLE, parse_bundle

EPILOG: Final = """\b
Examples:
  cloister endorsements import endorsements.bundle
  cloister endorsements import endorsements.bundle --store /var/lib/cloister/endorsements
  cloister endorsements import --json endorsements.bundle | jq -r '.[] | select(.refused_by) | .reason'

The bundle is believed in nothing. Each part of it has to lead to a pinned root, to be in date, and to be no older than
what the store has seen; what is refused takes nothing else with it. Exit code 3 if something was refused.
"""


@click.command("import", epilog=EPILOG, short_help="Take a bundle into the store, all of it examined.")
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path, dir_okay=False))
@store_options
@click.option("--json", "as_json", is_flag=True, help="Print what was taken and what was refused as JSON.")
def import_(path: Path, store: Path | None, policy: Path | None, state: StateFolder, *, as_json: bool) -> None:
    """Examine every endorsement in BUNDLE, and take into the store what passes."""
    opened = open_store(store, policy, state)
    try:
        with path.open("rb") as file:
            bundle = parse_bundle(file.read(MAXIMUM_BUNDLE + 1))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except MalformedInput as error:
        raise MalformedInput(f"{path} is no bundle of endorsements: {error}") from error
    imported = list(import_bundle(bundle, opened, at=now()))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode([_told(one) for one in imported])).decode())
    else:
        for one in imported:
            _show(one)
        refused = sum(one.refused_by is not None for one in imported)
        click.echo(f"{len(imported) - refused} taken, {refused} refused")
    first = next((one.refused_by for one in imported if one.refused_by is not None), None)
    if first is not None:
        raise EndorsementRefused(first.id, first.detail)


def _show(one: Imported) -> None:
    subject = printable(one.subject) or "(says nothing of what it is of)"
    if one.refused_by is None:
        until = "" if one.until is None else f"until {moment(one.until)}"
        line = Text("✓", style="green") + Text(f" {one.kind:<22} {until}  {subject}")
    else:
        reason = printable(f"{one.refused_by.id}: {one.refused_by.detail}")
        line = Text("✗", style="bold red") + Text(f" {one.kind:<22} {subject}\n    refused by {reason}")
    console().print(line)


def _told(one: Imported) -> dict[str, object]:
    return {
        "kind": one.kind,
        "subject": one.subject,
        "until": one.until,
        "taken": one.refused_by is None,
        "refused_by": one.refused_by.id if one.refused_by else None,
        "reason": one.refused_by.detail if one.refused_by else None,
    }
