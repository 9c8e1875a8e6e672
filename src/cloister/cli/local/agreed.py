"""The contract that parties wrote and signed, which a local system serves in place of the one that it would write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from cloister.cli.local.fit import Here, misfits
from cloister.cli.state_folder import StateFolder
from cloister.client.durable import replace_file
from cloister.client.memory_file import MemoryFile
from cloister.client.trust_policy_file import read_trust_policy
from cloister.contract.amendment import first_contract
from cloister.errors import CloisterError, UsageError
from cloister.formats.contract import Contract
from cloister.formats.ledger_messages import encode_list
from cloister.formats.trust_policy import TrustPolicy, format_trust_policy
from cloister.ledger.statements import cosigned_statement, open_statement
from cloister.node.entries_file import read_entries
from cloister.services.gateway.contract import open_contract


def contract_option(command: click.decorators.FC) -> click.decorators.FC:
    """The `--contract` option: files of signed contracts."""
    return click.option(
        "--contract",
        type=click.Path(path_type=Path, dir_okay=False),
        multiple=True,
        metavar="RECORD",
        help="A contract that its parties signed, to serve in place of one of its own; again for each successor."
        "  [default: the one of last time]",
    )(command)


class ContractDoesNotFit(CloisterError):
    """Under this contract the KMS would refuse what would run here: nothing was started."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Agreed:
    """A contract line as the files of its parties have it; what is in force, the log says."""

    entries: tuple[bytes, ...]  # first to last
    line: bytes  # digest of the first, 32 bytes
    last: Contract


def read_agreed(state: StateFolder, given: Sequence[Path]) -> Agreed | None:
    """The contract in the files `given`, else the one that this folder serves already; None where it serves its own.

    Files that hold the same contract, each signed by another party, are put together; the others are its successors.

    Raises:
        UsageError: a file cannot be read.
        AmendmentRefused, BadSignature, MalformedInput: not all signed the first, or they do not follow each other.
    """
    paths = given or ((state.agreed,) if state.agreed.exists() else ())
    if not paths:
        return None
    apart = [entry for path in paths for entry in read_entries(path)]
    texts: dict[bytes, list[bytes]] = {}
    for entry in apart:
        texts.setdefault(open_statement(entry).payload, []).append(entry)
    entries = tuple(cosigned_statement(same) if len(same) > 1 else same[0] for same in texts.values())
    first_contract(open_statement(entries[0]))
    served = open_contract(entries)
    return Agreed(entries, served.line, served.current)


def require_fit(agreed: Agreed, here: Here, *, at: int) -> None:
    """Hold the contract against what would run here.

    Raises:
        ContractDoesNotFit: every part that does not fit, each with what to do.
    """
    found = list(misfits(agreed.last, here, at=at))
    if not found:
        return
    lines = "".join(f"\n  {one}" for one in found)
    later = "where a later contract is in force, give its record too: --contract FIRST --contract SUCCESSOR"
    name = f"contract {agreed.last.digest().hex()[:16]}…"
    raise ContractDoesNotFit(f"{name} does not fit what would run here:{lines}\n  {later}")


def keep_agreed(state: StateFolder, agreed: Agreed, policy: TrustPolicy, *, own: TrustPolicy, comment: str) -> None:
    """Keep the entries for the services, and have this machine's client insist on this contract.

    `own` is what `cloister up` writes for a contract of its own: that is replaced, and what a person wrote is not.

    Raises:
        UsageError: the trust policy in the folder is a person's, and insists on another contract.
    """
    if state.trust_policy.exists():
        before = read_trust_policy(state.trust_policy)
        if before == own:
            _forget_line(state, policy)
            replace_file(state.trust_policy, format_trust_policy(policy, comment=comment).encode())
        elif before.contract != agreed.line:
            raise UsageError(
                f"{state.trust_policy} insists on contract {before.contract.hex()[:16]}…, and this one begins with"
                f" {agreed.line.hex()[:16]}…: write {agreed.line.hex()} there, or take another --state folder"
            )
    else:
        replace_file(state.trust_policy, format_trust_policy(policy, comment=comment).encode())
    replace_file(state.agreed, encode_list(agreed.entries))


def _forget_line(state: StateFolder, policy: TrustPolicy) -> None:
    """Contract and epoch of before are another line's; that the log only grows stays remembered."""
    for path in (state.memory, state.trust_policy.with_name("party-memory")):
        if path.exists():
            memory = MemoryFile(path, genesis=policy.constitution)
            with memory.locked() as remembered:
                memory.store(msgspec.structs.replace(remembered, epoch=0, contract=b""))
