"""The options of an audit: which log, against what, and what of it is new to whoever asks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cloister.cli.client_options import policy_option, read_policy
from cloister.cli.log_options import place_of, place_options
from cloister.cli.state_folder import StateFolder, state_option
from cloister.client.durable import read_at_most
from cloister.contract.audit.notes import ShownNote
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.checkpoint import MAXIMUM_NOTE, parse_checkpoint, parse_note
from cloister.formats.constitution import parse_constitution
from cloister.ledger.statements import open_statement
from cloister.node.entries_file import read_entries


@dataclass(frozen=True, slots=True)
class AskedAudit:
    """What is to be audited, and against what."""

    place: str  # a URL or a folder
    authorities: Path | None
    evidence: str | None  # where it is, if not beside the entries
    without_evidence: bool
    genesis: bytes
    since: int
    before: ShownNote | None


_OPTIONS = (
    place_options,
    click.option("--evidence", metavar="URL|DIR", help="Where the evidence is.  [default: where the entries are]"),
    click.option("--without-evidence", is_flag=True, help="Examine no release again; the report says so."),
    policy_option,
    click.option(
        "--constitution",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="The constitution's entries, in place of a trust policy: the log must begin with the first.",
    ),
    click.option(
        "--since",
        metavar="SIZE|FILE",
        help="Tell of entries from there on; with a kept checkpoint, hold the log against it.",
    ),
    state_option,
)


def audit_options(command: Callable[..., Any]) -> Any:
    """The options that say what to audit, given to the command as `asked`."""

    @functools.wraps(command)
    def with_asked(
        *, policy: Path | None, constitution: Path | None, since: str | None, state: StateFolder, **others: Any
    ) -> Any:
        named = {name: others.pop(name) for name in ("authorities", "evidence", "without_evidence")}
        size, before = _since(since)
        genesis = _genesis(policy, constitution, state)
        place = place_of(others.pop("place"), state)
        return command(asked=AskedAudit(place=place, genesis=genesis, since=size, before=before, **named), **others)

    decorated: Any = with_asked
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def _genesis(policy: Path | None, constitution: Path | None, state: StateFolder) -> bytes:
    """The digest of the constitution that the log has to begin with.

    Raises:
        UsageError: both are given, or what is given cannot be read.
    """
    if constitution is None:
        return read_policy(policy, state)[0].constitution
    if policy is not None:
        raise UsageError("--policy and --constitution say the same thing: which constitution the log begins with")
    try:
        return parse_constitution(open_statement(read_entries(constitution)[0]).payload).digest()
    except (MalformedInput, TooLarge) as error:
        raise UsageError(f"{constitution} does not begin with a constitution: {error}") from error


def _since(given: str | None) -> tuple[int, ShownNote | None]:
    """From which entry on there is something to tell, and the checkpoint that the log has to continue."""
    if given is None:
        return 0, None
    if given.isascii() and given.isdigit():
        return int(given), None
    try:
        note = read_at_most(Path(given), MAXIMUM_NOTE)
        size = parse_checkpoint(parse_note(note).text).size
    except OSError as error:
        raise UsageError(f"--since {given} is no number of entries, and no file: {error.strerror}") from error
    except (MalformedInput, TooLarge) as error:
        raise UsageError(f"--since {given} is no checkpoint: {error}") from error
    return size, ShownNote(note, f"the checkpoint in {given}", before=True)
