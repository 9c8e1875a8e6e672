"""`cloister ledger`: the log by itself, read and proven without trust. Each verb is imported when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import click

from cloister.cli.main import Entry
from cloister.cli.verbs import Verbs

VERBS: Final[Mapping[str, Entry]] = {
    "audit": Entry("cloister.cli.ledger_audit:audit", "Replay the whole log, and say what does not follow in it."),
    "export": Entry("cloister.cli.ledger_export:export", "Copy the log into a folder that any web server serves."),
    "proof": Entry("cloister.cli.ledger_proof:proof", "Get an entry, and a proof of it that stands by itself."),
    "verify-proof": Entry("cloister.cli.ledger_proof:verify_proof", "Verify such a proof, offline."),
    "verify-receipt": Entry("cloister.cli.ledger_receipt:verify_receipt", "Verify a COSE receipt, offline."),
    "backup": Entry("cloister.cli.ledger_backup:backup", "Back the ledger up into one file, verified.", node=True),
    "restore": Entry("cloister.cli.ledger_backup:restore", "Restore one into an empty database.", node=True),
    "keys": Entry("cloister.cli.ledger_keys:keys", "Print the keys of log and witnesses, as others name them."),
}
EPILOG: Final = """\b
A log that needs no trust:
  cloister ledger audit                        everything that ever happened in it, and whether it follows
  cloister ledger keys                         the keys to hold it against; hand them out
  cloister ledger export /srv/log              a copy for any web server, all of it examined; again: what is new
  cloister ledger proof 7                      entry 7, and what proves it to whoever has the keys

All of these read the log's static files (C2SP tlog-tiles), from the ledger or from any copy: --from URL or DIR.
docs/formats/tiles.md, docs/formats/proof.md and docs/formats/audit.md say what is in them.
"""


@click.group(cls=Verbs, verbs=VERBS, epilog=EPILOG)
def ledger() -> None:
    """The log: copy it, prove what is in it, without trusting who runs it."""
