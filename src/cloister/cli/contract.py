"""`cloister contract`: what organisations agree on, written, signed, logged, changed; a module for each verb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import click

from cloister.cli.main import Entry
from cloister.cli.verbs import Verbs

VERBS: Final[Mapping[str, Entry]] = {
    "party": Entry("cloister.cli.contract_party:party", "Make a party's keys, and what it sends to the others."),
    "new": Entry("cloister.cli.contract_new:new", "Print a contract to begin from."),
    "fill": Entry("cloister.cli.contract_fill:fill", "Write what was measured into a contract."),
    "check": Entry("cloister.cli.contract_show:check", "Check that one is well-formed; say what it leaves open."),
    "show": Entry("cloister.cli.contract_show:show", "Say in sentences what a contract says."),
    "sign": Entry("cloister.cli.contract_sign:sign", "Sign a contract for a party."),
    "submit": Entry("cloister.cli.contract_log:submit", "Put a signed contract into the log."),
    "amend": Entry("cloister.cli.contract_new:amend", "Print the successor of a contract, to be changed and signed."),
    "vote": Entry("cloister.cli.contract_log:vote", "Approve or veto a proposal."),
    "revoke": Entry("cloister.cli.contract_log:revoke", "End a contract, an epoch, a release or a node."),
    "status": Entry("cloister.cli.contract_status:status", "Say what is in force and what is proposed, by the log."),
}
EPILOG: Final = """\b
From nothing to a contract in force:
  cloister contract party "The Hospital" --duty data-provider --folder hospital    each party, on its own machine
  cloister contract new --party hospital/party.toml --party vendor/party.toml >contract.toml
  cloister contract fill contract.toml                                             the operator: what is to run
  cloister contract check contract.toml
  cloister contract sign contract.toml --key hospital/sign.seed                    each party; adds to contract.signed
  cloister contract submit contract.signed

\b
And to change it:
  cloister contract amend contract.signed >next.toml
  cloister contract sign next.toml --key vendor/sign.seed && cloister contract submit next.signed
  cloister contract vote PROPOSAL --approve --key hospital/sign.seed
  cloister contract status

docs/howto/two-organisations.md walks two organisations through all of it; docs/formats/contract.md has every field.
"""


@click.group(cls=Verbs, verbs=VERBS, epilog=EPILOG)
def contract() -> None:
    """Contracts: who lets which code use what of theirs, where, for whom, and how that may change."""
