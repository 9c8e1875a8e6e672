"""`cloister ledger backup` and `restore`: everything that a ledger has, in one file that is verified both ways."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from cloister.cli.state_folder import StateFolder, state_option
from cloister.cli.terminal import say, say_json
from cloister.errors import UsageError
from cloister.hosting.settings import load
from cloister.ledger.backup import VerifiedBackup
from cloister.services.ledger.backup import make_backup, restore_backup
from cloister.services.ledger.settings import LedgerSettings

BACKUP_EPILOG = """\b
Examples:
  cloister ledger backup log-2026-11-21.backup                     of the local system's ledger, while it runs
  cloister ledger backup /backups/log --config /etc/cloister/ledger.toml

The backup is of one moment. Before the command ends, every entry, every root and note and the newest cosignatures in
the file are verified by the log's key and witnesses that the settings name. It has what anyone may read of the log,
and the blobs; no key and no password. docs/formats/ledger-backup.md says what is in it.
"""
RESTORE_EPILOG = """\b
Examples:
  cloister ledger restore log-2026-11-21.backup                    after cloister down, into an empty data folder
  cloister ledger restore /backups/log --config ledger.toml        from SQLite to PostgreSQL, or back

All of the backup is verified before the first row is written, and written whole or not at all; never over a log that
is there. A ledger that then starts asks its witnesses what they cosigned before it signs anything: from a backup that
is older than that it logs nothing.
"""


def _ledger_settings(config: Path | None, state: StateFolder) -> LedgerSettings:
    path = state.config / "ledger.toml" if config is None else config
    if not path.is_file():
        raise UsageError(f"there is no {path}: name the ledger's settings with --config FILE")
    environ = os.environ  # noqa: TID251 - settings are read here, once
    return load(LedgerSettings, service="ledger", config=path, environ=environ, flags={})


def _options(command: Any) -> Any:
    file = click.Path(path_type=Path, dir_okay=False)
    config = click.option(
        "--config", type=file, metavar="FILE", help="The ledger's settings.  [default: the local system's]"
    )
    as_json = click.option("--json", "as_json", is_flag=True, help="Print what the backup holds as JSON.")
    return click.argument("path", metavar="FILE", type=file)(config(state_option(as_json(command))))


@click.command(epilog=BACKUP_EPILOG)
@_options
def backup(path: Path, config: Path | None, state: StateFolder, *, as_json: bool) -> None:
    """Write a backup of the ledger into the new FILE, and verify it."""
    verified = asyncio.run(make_backup(_ledger_settings(config, state), path))
    _show(verified, path, "holds", as_json=as_json)


@click.command(epilog=RESTORE_EPILOG)
@_options
def restore(path: Path, config: Path | None, state: StateFolder, *, as_json: bool) -> None:
    """Verify the backup in FILE and write it into the ledger's database, which has to be empty."""
    verified = asyncio.run(restore_backup(_ledger_settings(config, state), path))
    _show(verified, path, "was restored:", as_json=as_json)


def _show(backup: VerifiedBackup, path: Path, did: str, *, as_json: bool) -> None:
    newest = backup.newest
    if as_json:
        found = {"entries": backup.entries, "checkpoints": backup.checkpoints, "blobs": backup.blobs}
        root = None if newest is None else newest.root.hex()
        say_json({**found, "cosigned": 0 if newest is None else newest.size, "root": root})
        return
    say(f"{path} {did} {backup.entries} entries, {backup.checkpoints} checkpoints and {backup.blobs} blobs, verified.")
    if newest is None:
        say("No checkpoint was cosigned yet.")
        return
    at = datetime.fromtimestamp(newest.cosigned_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    say(f"The newest checkpoint has {newest.size} entries, root {newest.root.hex()},")
    say(f"cosigned by {', '.join(newest.witnesses)}, {at}.")
