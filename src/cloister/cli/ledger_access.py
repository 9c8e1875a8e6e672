"""The options by which a ledger is called: to write to it, or to replay it. By default the local system's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cloister.cli.state_folder import StateFolder, state_option
from cloister.cli.system_record import NotRunning, running
from cloister.contract.fold import begin, fold
from cloister.contract.replay import LogRefused, ReplayedLog, examine_first_log
from cloister.contract.state import State
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.checkpoint import parse_checkpoint, parse_note
from cloister.formats.constitution import Log, parse_constitution
from cloister.hosting.loopback import LOOPBACK
from cloister.hosting.tls import PeerTls
from cloister.ledger.checkpoints import check_log_signature
from cloister.ledger.statements import open_statement
from cloister.node.entries_file import read_entries
from cloister.peers.ledger import LedgerClient


@dataclass(frozen=True, slots=True)
class LedgerAccess:
    """Where a ledger is, how it is known, and the first constitution that its log has to begin with."""

    url: str
    peers: PeerTls | None
    genesis: bytes  # the entry
    state: StateFolder

    def client(self) -> LedgerClient:
        """A client of it, to be entered within a running event loop.

        Raises:
            UsageError: the URL is none, or of another machine without TLS.
        """
        return LedgerClient(self.url, peers=self.peers)

    def folded(self, entries: Sequence[bytes]) -> State:
        """What entries from the log's first on add up to."""
        first = parse_constitution(open_statement(self.genesis).payload)
        return fold(begin(entries[0], genesis=first.digest()), entries[1:])

    async def fetched(self, client: LedgerClient) -> FetchedLog:
        """The whole log, examined as a KMS examines it.

        Raises:
            LogRefused: names the step that the log fails.
            Unavailable: the ledger does not answer.
        """
        first = parse_constitution(open_statement(self.genesis).payload)
        note = await client.checkpoint()
        size = _announced(note, first.log)
        entries = await client.entries(0, size) if size else ()
        return FetchedLog(entries, examine_first_log(entries, note, genesis=first.digest()).require())


@dataclass(frozen=True, slots=True)
class FetchedLog:
    """A log's entries, and what they add up to under a checkpoint that its witnesses cosigned."""

    entries: tuple[bytes, ...]
    replayed: ReplayedLog


def _announced(note: bytes, log: Log) -> int:
    """The size in a note that the log signed: nothing is fetched on anyone else's word."""
    try:
        parsed = parse_note(note)
        check_log_signature(parsed, log)
        return parse_checkpoint(parsed.text).size
    except (BadSignature, MalformedInput, TooLarge) as error:
        raise LogRefused("checkpoint.signature", str(error)) from error


def ledger_access(command: Callable[..., Any]) -> Any:
    """The options that name a ledger, given to the command as `ledger`."""

    @functools.wraps(command)
    def with_ledger(
        *,
        ledger_url: str | None,
        constitution: Path | None,
        tls: tuple[Path, Path, Path] | None,
        state: StateFolder,
        **others: Any,
    ) -> Any:
        peers = None if tls is None else PeerTls(ca=tls[0], certificate=tls[1], key=tls[2])
        url = local_service(state, "ledger") if ledger_url is None else ledger_url
        return command(ledger=LedgerAccess(url, peers, _genesis(constitution, state), state), **others)

    file = click.Path(path_type=Path, dir_okay=False)
    options = (
        click.option("--ledger", "ledger_url", metavar="URL", help="The ledger.  [default: the local system's]"),
        click.option(
            "--constitution",
            type=file,
            metavar="FILE",
            help="The entries of the KMS's constitution, which its log begins with.  [default: the local system's]",
        ),
        click.option(
            "--tls",
            type=(file, file, file),
            metavar="CA CERTIFICATE KEY",
            help="For a ledger on another machine: who signs its certificate, and what it is shown, PEM.",
        ),
        state_option,
    )
    decorated: Any = with_ledger
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


def local_service(state: StateFolder, name: str) -> str:
    """Where a service of the local system is.

    Raises:
        NotRunning: no local system runs, or it has none.
    """
    for role in running(state).roles:
        if role.name == name:
            return f"http://{LOOPBACK}:{role.port}"
    raise NotRunning(f"the local system has no {name}; name one with --{name} URL")


def _genesis(path: Path | None, state: StateFolder) -> bytes:
    named = state.constitutions if path is None else path
    if path is None and not named.exists():
        raise UsageError("name the KMS by its constitution: --constitution FILE, the entries its operator gives out")
    return read_entries(named)[0]
