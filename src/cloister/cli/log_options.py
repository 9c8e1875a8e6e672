"""The options by which a log is named: where its files are, and whose word counts on it; by default the local one's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cloister.cli.at_file import TextOrFile
from cloister.cli.state_folder import StateFolder, state_option
from cloister.cli.system_record import NotRunning, running
from cloister.errors import UsageError
from cloister.formats.constitution import parse_constitution
from cloister.hosting.loopback import LOOPBACK
from cloister.ledger.log_rules import LogRules, named_rules, rules_of
from cloister.ledger.statements import open_statement
from cloister.node.entries_file import read_entries


@dataclass(frozen=True, slots=True)
class NamedLog:
    """A log: where its files are, and whose word counts on it."""

    place: str  # a URL or a folder
    authorities: Path | None  # who may sign the server's certificate
    rules: LogRules


_PLACE = (
    click.option("--from", "place", metavar="URL|DIR", help="The log's files.  [default: the local system's ledger]"),
    click.option(
        "--ca",
        "authorities",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Who may sign the server's certificate, PEM.  [default: this machine's list]",
    ),
)
_RULES = (
    click.option("--log", "log_key", type=TextOrFile(), metavar="VKEY", help="The log's verifier key."),
    click.option(
        "--witness",
        "witness_keys",
        type=TextOrFile(),
        multiple=True,
        metavar="VKEY",
        help="A witness's verifier key; again for each, and for a second key of one.",
    ),
    click.option("--quorum", type=click.IntRange(min=1), metavar="N", help="How many witnesses must have cosigned."),
)


def log_options(command: Callable[..., Any]) -> Any:
    """The options that name a log, given to the command as `log`."""

    @functools.wraps(command)
    def with_log(*, place: str | None, authorities: Path | None, state: StateFolder, **others: Any) -> Any:
        rules = _taken(others, state)
        return command(log=NamedLog(place_of(place, state), authorities, rules), **others)

    return _decorated(with_log, (*_PLACE, *_RULES))


def place_options(command: Callable[..., Any]) -> Any:
    """The options that say where a log's files are, given to the command as `place` and `authorities`."""
    for option in reversed(_PLACE):
        command = option(command)
    return command


def rules_options(command: Callable[..., Any]) -> Any:
    """The options that say whose word counts, given to the command as `rules`."""

    @functools.wraps(command)
    def with_rules(*, state: StateFolder, **others: Any) -> Any:
        return command(rules=_taken(others, state), **others)

    return _decorated(with_rules, _RULES)


def read_rules(log_key: str | None, witness_keys: tuple[str, ...], quorum: int | None, state: StateFolder) -> LogRules:
    """The rules that the options name; of no option, those of the local system's constitution.

    Raises:
        UsageError: some are given and not all, or they make no sense; or there is no local system.
    """
    if log_key is None and not witness_keys and quorum is None:
        return rules_of(parse_constitution(open_statement(_local_constitution(state)).payload))
    if log_key is None or not witness_keys or quorum is None:
        raise UsageError("--log, --witness and --quorum are given together: whose word counts is never left open")
    return named_rules(log_key, witness_keys, quorum)


def _taken(given: dict[str, Any], state: StateFolder) -> LogRules:
    return read_rules(given.pop("log_key"), given.pop("witness_keys"), given.pop("quorum"), state)


def _decorated(command: Callable[..., Any], options: Sequence[Callable[[Any], Any]]) -> Any:
    command = state_option(command)
    for option in reversed(options):
        command = option(command)
    return command


def place_of(place: str | None, state: StateFolder) -> str:
    """Where the log's files are.

    Raises:
        NotRunning: no place is named, and no local system runs.
    """
    if place is not None:
        return place
    for role in running(state).roles:
        if role.name == "ledger":
            return f"http://{LOOPBACK}:{role.port}"
    raise NotRunning("the local system has no ledger; name the log's files with --from URL or DIR")


def _local_constitution(state: StateFolder) -> bytes:
    if not state.constitutions.exists():
        raise UsageError(
            "whose word counts? Give --log, --witness and --quorum (cloister ledger keys prints them where the log"
            f" runs); there is no local system in {state.root}"
        )
    return read_entries(state.constitutions)[-1]
