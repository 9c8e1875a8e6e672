"""Logs an entry and says whether it counts: by the log's own rules, replayed here under its witnesses' word."""

from __future__ import annotations

from cloister.cli.ledger_access import FetchedLog, LedgerAccess
from cloister.contract.fold import advance
from cloister.errors import CloisterError
from cloister.peers.ledger import LedgerClient


class NoEffect(CloisterError):
    """An entry is in the log, and its rules give it no effect there."""

    exit_code = 3


async def log_entry(ledger: LedgerAccess, client: LedgerClient, entry: bytes) -> tuple[int, FetchedLog]:
    """Where `entry` stands in the log, and the log with it, examined as a KMS examines it.

    Raises:
        NoEffect: it stands there and does nothing; the sentence names the rule.
        Refused, PeerRefused, Unavailable: the ledger does not take it, or is not the one it should be.
    """
    appended = await client.append(entry)
    log = await ledger.fetched(client)
    before = ledger.folded(log.entries[: appended.index])
    after = advance(before, log.entries[appended.index])
    if after.void > before.void:
        raise NoEffect(f"entry {appended.index} is in the log and has no effect there: {after.reason}")
    return appended.index, log
