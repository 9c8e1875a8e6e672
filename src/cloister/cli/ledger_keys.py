"""`cloister ledger keys`: the verifier keys of the local system's log and witnesses, for whoever reads the log."""

from __future__ import annotations

import click

from cloister.cli.log_options import read_rules
from cloister.cli.state_folder import StateFolder, state_option
from cloister.cli.terminal import say_json, say_result
from cloister.formats.checkpoint import ED25519, format_vkey
from cloister.ledger.cosignatures import verifier_keys

EPILOG = """\b
Examples:
  cloister ledger keys
  cloister ledger keys --json | jq -r .log >log.vkey

As the constitution in the state folder has them, in C2SP's form of verifier keys. Hand them to whoever is to read the
log, by a way that they trust: all that a copy or a proof shows is worth as much as these keys.
"""


@click.command(epilog=EPILOG)
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def keys(state: StateFolder, *, as_json: bool) -> None:
    """Print the keys of the local system's log and witnesses, and its quorum, as other commands take them."""
    rules = read_rules(None, (), None, state)
    log = format_vkey(rules.log.origin, rules.log.key, kind=ED25519)
    witnesses = [key for witness in rules.witnesses for key in verifier_keys(witness)]
    if as_json:
        say_json({"log": log, "witnesses": witnesses, "quorum": rules.quorum})
        return
    for line in (f"--log {log}", *(f"--witness {one}" for one in witnesses), f"--quorum {rules.quorum}"):
        say_result(line)
