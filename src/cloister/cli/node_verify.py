"""`cloister node verify`: a certificate against the witnessed log, as an auditor or a stranger to the KMS sees it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, get_args

import click

from cloister.cli.chain import console, numbered, show_steps
from cloister.cli.ledger_access import FetchedLog
from cloister.cli.line_access import LineAccess, line_access
from cloister.cli.node_certificate import shown_certificate
from cloister.cli.terminal import say_json
from cloister.contract.fold import advance, begin
from cloister.formats.evidence import Role
from cloister.formats.identity import Identity, parse_identity
from cloister.formats.statement import parse_statement
from cloister.trust.identity import examine_logged_peer

EPILOG: Final = """\b
Examples:
  cloister node verify /dev/shm/identity/certificate.pem --role service
  cloister node verify 10.0.0.7:5432 --host service.0123….contract.internal
  cloister node verify old.pem --at 2026-11-21T12:00:00Z --json

The log is fetched whole and examined as a KMS examines it: its authorities of the contract that the trust policy pins
are who may have signed, and the certificate must be one that was logged before it was made. Nobody else is asked.
Exit code 3 when a step failed; each id is explained in docs/formats/checks.md.
"""
ROLES: Final = get_args(Role)


@click.command(epilog=EPILOG)
@click.argument("source", metavar="FILE|HOST:PORT")
@click.option("--host", metavar="NAME", help="The host name that the server is asked for.")
@click.option(
    "--role", "roles", type=click.Choice(ROLES), multiple=True, help="A role that it may have.  [default: any]"
)
@click.option(
    "--at",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ"]),
    metavar="TIME",
    help="Judge as of then, as 2026-11-21T12:00:00Z.  [default: now]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the steps as JSON.")
@line_access
def verify(
    line: LineAccess, source: str, *, host: str | None, roles: tuple[Role, ...], at: datetime | None, as_json: bool
) -> None:
    """Examine the certificate of a node against the ledger, step by step."""
    now = int(time.time()) if at is None else int(at.replace(tzinfo=UTC).timestamp())  # noqa: TID251 - a person's clock
    data = shown_certificate(source, host=host)
    log = line.fetched()
    held = line.of(log.replayed.state)
    authorities = [one.certificate for one in held.identities.trusted(held.custody)]
    examination = examine_logged_peer(
        data, authorities, tuple(_issued(line, log)), line=line.digest, roles=roles or ROLES, at=now
    )
    steps = numbered(examination.steps)
    if as_json:
        say_json({"passed": not examination.failed, "steps": steps})
    else:
        show_steps(console(), steps)
    examination.require()


def _issued(line: LineAccess, log: FetchedLog) -> Iterator[Identity]:
    """Every identity that took effect, entry by entry: the state keeps the newest alone."""
    state = begin(log.entries[0], genesis=line.policy.constitution)
    for entry in log.entries[1:]:
        after = advance(state, entry)
        if after.void == state.void and (statement := parse_statement(entry)).kind == "identity":
            yield parse_identity(statement.payload)
        state = after
