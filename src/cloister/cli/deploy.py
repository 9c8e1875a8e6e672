"""`cloister deploy`: what an operator has run on machines, by signed manifests; a module for each verb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import click

from cloister.cli.main import Entry
from cloister.cli.verbs import Verbs

VERBS: Final[Mapping[str, Entry]] = {
    "apply": Entry("cloister.cli.deploy_apply:apply", "Have machines run what a manifest says, node by node."),
    "status": Entry("cloister.cli.deploy_status:status", "Say what runs where, of which revision, and since when."),
    "drain": Entry("cloister.cli.deploy_drain:drain", "Let a node finish what it has, and end it."),
    "rollback": Entry("cloister.cli.deploy_rollback:rollback", "Bring back the nodes of an older revision."),
}
EPILOG: Final = """\b
From a manifest to nodes that serve:
  cloister contract party "Ops" --duty operator --folder ops      ops/party.toml has the public key of ops/sign.seed
  cloister service deployment --config deployment.toml            on each machine, with that key under operators
  cloister deploy apply manifest.toml --machine http://127.0.0.1:7100 --key ops/sign.seed --dry-run
  cloister deploy apply manifest.toml --machine http://127.0.0.1:7100 --key ops/sign.seed
  cloister deploy status --machine http://127.0.0.1:7100

Each change is a revision: numbered, signed, following the one before. A machine takes no other, and none twice. What
does not become ready is taken back by the machine itself. docs/howto/deploying.md walks through it.
"""


@click.group(cls=Verbs, verbs=VERBS, epilog=EPILOG)
def deploy() -> None:
    """Run services on an operator's machines by signed manifests: roll out, look, drain, roll back."""
