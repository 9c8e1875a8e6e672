"""`cloister node show`: what a certificate says of itself, believed or not."""

from __future__ import annotations

from typing import Final

import click
import msgspec

from cloister.cli.explained.contract_words import moment
from cloister.cli.node_certificate import shown_certificate
from cloister.cli.terminal import say, say_json
from cloister.contract.identity_certificate import read_identity
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.spiffe import SpiffeName

EPILOG: Final = """\b
Examples:
  cloister node show /dev/shm/identity/certificate.pem
  cloister node show 10.0.0.7:5432 --host service.0123….contract.internal --json

It is read, and neither believed nor examined: `cloister node verify` does that.
"""


class ShownCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    names: tuple[str, ...]
    hosts: tuple[str, ...]
    contract: str | None  # digest of the first contract of the line
    number: int | None  # of the contract
    role: str | None
    node: str | None  # thumbprint of its keys
    serial: str
    not_before: int
    not_after: int
    issuer: str
    for_tls_alone: bool


@click.command(epilog=EPILOG)
@click.argument("source", metavar="FILE|HOST:PORT")
@click.option("--host", metavar="NAME", help="The host name that the server is asked for.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show(source: str, *, host: str | None, as_json: bool) -> None:
    """Say what the certificate of a node says: who, under which contract, in which role, until when."""
    shown = _shown(source, host)
    if as_json:
        say_json(shown)
        return
    if shown.contract is None:
        say(f"names: {', '.join((*shown.names, *shown.hosts)) or 'none'} (no name of a node)")
    else:
        say(f"contract: {shown.contract}, number {shown.number}")
        say(f"role: {shown.role}")
        say(f"node: {shown.node}")
        say(f"host name: {', '.join(shown.hosts)}")
    say(f"valid: {moment(shown.not_before)} to {moment(shown.not_after)}")
    say(f"issued by: {shown.issuer}")
    say(f"serial number: {shown.serial}")
    if not shown.for_tls_alone:
        say("it is of another form than a node's: it may be used for other things than TLS")


def _shown(source: str, host: str | None) -> ShownCertificate:
    """What the certificate says.

    Raises:
        UsageError, Unavailable, MalformedInput, TooLarge: there is none.
    """
    read = read_identity(shown_certificate(source, host=host))
    name = _name(read.uris)
    return ShownCertificate(
        names=read.uris,
        hosts=read.hosts,
        contract=None if name is None else name.line.hex(),
        number=None if name is None else name.contract,
        role=None if name is None else name.role,
        node=None if name is None else name.node.hex(),
        serial=f"{read.certificate.serial_number:032x}",
        not_before=read.window.not_before,
        not_after=read.window.not_after,
        issuer=read.certificate.issuer.rfc4514_string(),
        for_tls_alone=read.speaks,
    )


def _name(uris: tuple[str, ...]) -> SpiffeName | None:
    try:
        return SpiffeName.parse(uris[0]) if len(uris) == 1 else None
    except (MalformedInput, TooLarge):
        return None
