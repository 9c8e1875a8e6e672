"""The client's steps on constitutions and contracts: from what the trust policy pins to what is in force."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from cloister.contract.amendment import (
    AmendmentRefused,
    first_constitution,
    first_contract,
    next_constitution,
    next_contract,
)
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, TooLarge
from cloister.examination import Steps
from cloister.formats.constitution import Constitution
from cloister.formats.contract import Contract
from cloister.formats.key_bundle import KeyBundle, LoggedEntry
from cloister.formats.trust_policy import TrustPolicy
from cloister.ledger.statements import SignedStatement, open_statement

Governed = TypeVar("Governed", Constitution, Contract)

CONSTITUTION_STEPS = (
    "constitution.genesis",
    "constitution.form",
    "constitution.signatures",
    "constitution.succession",
    "constitution.notice",
)

CONTRACT_STEPS = (
    "contract.pin",
    "contract.form",
    "contract.signatures",
    "contract.succession",
    "contract.notice",
    "contract.constitution",
    "contract.validity",
)


def check_constitutions(steps: Steps, bundle: KeyBundle, policy: TrustPolicy) -> Constitution | None:
    """Walk from the genesis to the constitution in force; None where a step failed."""
    chain = _walk(steps, "constitution", bundle.constitutions, first_constitution, next_constitution)
    if chain is None:
        return None
    # The genesis is the log's first entry and the one pinned: a second genuine KMS is a stranger.
    genesis = chain[0].digest()
    pinned = genesis == policy.constitution and bundle.constitutions[0].index == 0
    steps.check("constitution.genesis", pinned, f"is {genesis.hex()[:16]}…, not the one pinned", found="as pinned")
    return chain[-1]


def check_contracts(steps: Steps, bundle: KeyBundle, policy: TrustPolicy, *, at: int) -> Contract | None:
    """Walk from the first contract of the line to the one in force; None where a step failed."""
    chain = _walk(steps, "contract", bundle.contracts, first_contract, next_contract)
    if chain is None:
        return None
    first, contract = chain[0].digest(), chain[-1]
    steps.check(
        "contract.pin", first == policy.contract, f"is {first.hex()[:16]}…, not the one pinned", found="as pinned"
    )
    named = contract.constitution == policy.constitution
    steps.check("contract.constitution", named, "names another KMS", found="names this KMS")
    skew = policy.maximum_clock_skew_seconds
    valid = contract.not_before - skew <= at < contract.not_after + skew
    steps.check("contract.validity", valid, f"holds from {contract.not_before} to {contract.not_after}, it is {at}")
    return contract


def _walk(
    steps: Steps,
    prefix: str,
    entries: Sequence[LoggedEntry],
    first: Callable[[SignedStatement], Governed],
    following: Callable[[Governed, SignedStatement], Governed],
) -> list[Governed] | None:
    """Apply the rules of amendment in order; the rule broken is the step that fails, and then nothing is in force."""
    rules = [f"{prefix}.{rule}" for rule in ("form", "signatures", "succession", "notice")]
    chain: list[Governed] = []
    try:
        for entry in entries:
            statement = open_statement(entry.entry)
            chain.append(following(chain[-1], statement) if chain else first(statement))
    except AmendmentRefused as refusal:
        steps.check(refusal.check, False, f"{refusal.shortfall} (entry {entries[len(chain)].index})")
    except BadSignature as error:
        steps.check(f"{prefix}.signatures", False, str(error))
    except (MalformedInput, TooLarge) as error:
        steps.check(f"{prefix}.form", False, str(error))
    else:
        for rule in rules:
            steps.check(rule, True, "", found=f"{len(chain)} in line")
        return chain
    return None
