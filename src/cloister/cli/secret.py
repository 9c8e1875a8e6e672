"""`cloister secret`: what owners give into custody, and to whom; a module for each verb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import click

from cloister.cli.main import Entry
from cloister.cli.verbs import Verbs

VERBS: Final[Mapping[str, Entry]] = {
    "put": Entry("cloister.cli.secret_put:put", "Seal a secret to the examined KMS, and log that."),
    "grant": Entry("cloister.cli.secret_grant:grant", "Print the successor of a contract that grants a secret."),
    "list": Entry("cloister.cli.secret_list:list_", "Say what is deposited, granted and used, by the log."),
    "revoke": Entry("cloister.cli.secret_revoke:revoke", "Take a secret back: no node is given it again."),
}
EPILOG: Final = """\b
From a secret to the nodes that may have it:
  cloister secret grant contract.signed --asset api-token --owner "The Hospital" --uses 100 >next.toml
  cloister contract sign next.toml --key hospital/sign.seed      and so on, until it is in force
  cloister secret put token.txt --asset api-token --key hospital/sign.seed
  cloister secret list

A secret leaves this machine only encrypted to a KMS whose whole chain was examined; the operator never sees it.
docs/howto/secrets-and-recovery.md walks through it.
"""


@click.group(cls=Verbs, verbs=VERBS, epilog=EPILOG)
def secret() -> None:
    """Secrets and asset keys: give them into custody under a contract, see who used them, take them back."""
