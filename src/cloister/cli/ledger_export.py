"""`cloister ledger export`: a copy of the log as static files, all of it examined."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import click

from cloister.cli.log_options import NamedLog, log_options
from cloister.cli.terminal import say, say_json
from cloister.ledger.mirror import MirroredLog
from cloister.peers.audited_log import copy_evidence
from cloister.peers.mirror import mirror
from cloister.peers.tiles import open_source
from cloister.storage.tile_folder import TileFolder

EPILOG = """\b
Examples:
  cloister ledger export /srv/log                                       the local system's log
  cloister ledger export /srv/log                                       again: what is new since
  cloister ledger export --evidence /srv/log                            with all that an audit takes
  cloister ledger export copy --from https://log.example/ --log @log.vkey --witness @w1.vkey --quorum 1

Every entry is read and hashed, and must add up to a checkpoint that the log signed and a quorum of its witnesses
cosigned; a copy that was made before must be its beginning. The checkpoint is replaced last. Serve the folder with any
web server, or hand it on: whoever has it can do all of this again, with --from DIR. docs/formats/tiles.md has the
headers to set.
"""


@click.command(epilog=EPILOG)
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False))
@log_options
@click.option("--evidence", is_flag=True, help="And the evidence behind releases, without which no audit is whole.")
@click.option("--json", "as_json", is_flag=True, help="Print what was copied as JSON.")
def export(folder: Path, log: NamedLog, *, evidence: bool, as_json: bool) -> None:
    """Copy the log into FOLDER, or bring the copy there up to date, and examine all of it."""
    copied, lacking = asyncio.run(_copied(log, folder, evidence=evidence))
    mirrored = copied.checkpoint
    if as_json:
        say_json(
            {
                "origin": mirrored.origin,
                "size": mirrored.size,
                "root": mirrored.root.hex(),
                "cosigned_at": mirrored.cosigned_at,
                "witnesses": mirrored.witnesses,
                "evidence_lacking": lacking,
            }
        )
        return
    at = datetime.fromtimestamp(mirrored.cosigned_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    say(f"{folder} holds {mirrored.size} entries of {mirrored.origin}, root {mirrored.root.hex()},")
    say(f"cosigned by {', '.join(mirrored.witnesses)}, {at}.")
    if lacking:
        say(f"Of the evidence that its entries name, {lacking} pieces are not kept where it was copied from.")


async def _copied(log: NamedLog, folder: Path, *, evidence: bool) -> tuple[MirroredLog, int | None]:
    """The copy, and how much evidence lacks there; None where none was asked for."""
    async with open_source(log.place, authorities=log.authorities) as source:
        copy = TileFolder(folder)
        mirrored = await mirror(source, copy, log.rules)
        return mirrored, await copy_evidence(source, copy, mirrored.checkpoint.size) if evidence else None
