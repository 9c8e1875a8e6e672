"""`cloister endorsements import`: a bundle from the other side of an air gap, believed in nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
from rich.text import Text

from cloister.attest.endorsements import EndorsementRefused
from cloister.cli.chain import console
from cloister.cli.endorsement_options import moment, now, open_store, store_options
from cloister.cli.evidence_file import read_evidence
from cloister.cli.explained.formats import explain
from cloister.cli.state_folder import StateFolder
from cloister.cli.terminal import printable, say_json
from cloister.endorsements.bundle import Imported, import_bundle
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.endorsement_bundle import MAXIMUM_BUNDLE, EndorsementBundle, parse_bundle

EXPECTED: Final = "a bundle is expected, the one file that cloister endorsements fetch --out BUNDLE writes"
OF_VENDORS: Final = (
    "files as vendors hand them out are for cloister evidence verify --endorsements DIR|FILE, as they are"
)
OF_HARDWARE: Final = (
    "for evidence, cloister endorsements fetch --for FILE --out BUNDLE gets what it needs, where there is a network"
)
ENDORSEMENTS: Final = frozenset(
    {"certificates", "revocation-list", "intel-collateral", "snp-certificate-table", "nvidia-rim"}
)
EPILOG: Final = """\b
Examples:
  cloister endorsements import endorsements.bundle
  cloister endorsements import endorsements.bundle --store /var/lib/cloister/endorsements
  cloister endorsements import --json endorsements.bundle | jq -r '.[] | select(.refused_by) | .reason'

The bundle is believed in nothing. Each part of it has to lead to a pinned root, to be in date, and to be no older than
what the store has seen; what is refused takes nothing else with it. Exit code 3 if something was refused.
"""


@click.command("import", epilog=EPILOG, short_help="Take a bundle into the store, all of it examined.")
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@store_options
@click.option("--json", "as_json", is_flag=True, help="Print what was taken and what was refused as JSON.")
def import_(path: Path, store: Path | None, policy: Path | None, state: StateFolder, *, as_json: bool) -> None:
    """Examine every endorsement in BUNDLE, and take into the store what passes."""
    bundle = _read(path)
    opened = open_store(store, policy, state)
    imported = list(import_bundle(bundle, opened, at=now()))
    if as_json:
        say_json([_told(one) for one in imported])
    else:
        for one in imported:
            _show(one)
        refused = sum(one.refused_by is not None for one in imported)
        click.echo(f"{len(imported) - refused} taken, {refused} refused")
    first = next((one.refused_by for one in imported if one.refused_by is not None), None)
    if first is not None:
        raise EndorsementRefused(first.id, first.detail)


def _read(path: Path) -> EndorsementBundle:
    if path.is_dir():
        raise UsageError(f"{path} is a folder, and {EXPECTED}; {OF_VENDORS}")
    data = read_evidence(path, limit=MAXIMUM_BUNDLE)
    try:
        return parse_bundle(data)
    except MalformedInput as error:
        raise MalformedInput(f"{path} is no bundle of endorsements: {error}\n{EXPECTED}{_instead(data)}") from error


def _instead(data: bytes) -> str:
    """What the file is, if we know, and what to do with that."""
    try:
        page = explain(data)
    except (MalformedInput, TooLarge):
        return ""
    return f"\nthis is: {page.title}; {OF_VENDORS if page.format in ENDORSEMENTS else OF_HARDWARE}"


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
