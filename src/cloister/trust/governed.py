"""The client's steps on constitutions and contracts: from what the trust policy pins to what is in force."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cloister.contract.amendment import Document
from cloister.contract.placed import Placed
from cloister.contract.walk import Chain, walk_constitutions, walk_contracts
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Steps
from cloister.formats.constitution import Constitution
from cloister.formats.contract import Contract
from cloister.formats.key_bundle import KeyBundle, LoggedEntry
from cloister.formats.trust_policy import TrustPolicy
from cloister.ledger.statements import entry_digest
from cloister.trust.memory import Memory

CONSTITUTION_STEPS = (
    "constitution.genesis",
    "constitution.form",
    "constitution.signatures",
    "constitution.succession",
    "constitution.notice",
    "constitution.rollback",
)

CONTRACT_STEPS = (
    "contract.pin",
    "contract.form",
    "contract.signatures",
    "contract.succession",
    "contract.notice",
    "contract.rollback",
    "contract.constitution",
    "contract.validity",
)


def check_constitutions(
    steps: Steps, bundle: KeyBundle, policy: TrustPolicy, memory: Memory
) -> Chain[Constitution] | None:
    """Walk from the genesis to the constitution in force; None where a step failed."""
    chain = _walk(steps, "constitution", bundle.constitutions, walk_constitutions)
    if chain is None:
        return None
    # The genesis is the log's first entry and the one pinned: a second genuine KMS is a stranger.
    genesis = chain[0].digest
    pinned = genesis == policy.constitution and bundle.constitutions[0].index == 0
    steps.check("constitution.genesis", pinned, f"is {genesis.hex()[:16]}…, not the one pinned", found="as pinned")
    _check_memory(steps, "constitution.rollback", chain, memory.constitution)
    return chain


def check_contracts(
    steps: Steps,
    bundle: KeyBundle,
    constitutions: Chain[Constitution],
    policy: TrustPolicy,
    memory: Memory,
    *,
    at: int,
) -> Contract | None:
    """Walk from the first contract of the line to the one in force; None where a step failed."""
    chain = _walk(steps, "contract", bundle.contracts, lambda entries: walk_contracts(entries, constitutions))
    if chain is None:
        return None
    first, contract = chain[0].digest, chain[-1].current
    steps.check(
        "contract.pin", first == policy.contract, f"is {first.hex()[:16]}…, not the one pinned", found="as pinned"
    )
    _check_memory(steps, "contract.rollback", chain, memory.contract)
    named = contract.constitution == policy.constitution
    steps.check("contract.constitution", named, "names another KMS", found="names this KMS")
    skew = policy.maximum_clock_skew_seconds
    valid = contract.not_before - skew <= at < contract.not_after + skew
    steps.check("contract.validity", valid, f"holds from {contract.not_before} to {contract.not_after}, it is {at}")
    return contract


def _check_memory(steps: Steps, step: str, chain: Chain[Document], before: bytes) -> None:
    """What was in force when this client last looked is still in the chain: nothing that followed was left out.

    An old KMS, perhaps one that was replaced because it is broken, would show no more than what made it one.
    """
    known = not before or any(one.digest == before for one in chain)
    shortfall = f"leaves out {before.hex()[:16]}…, which was in force before"
    steps.check(step, known, shortfall, found="as before, or after it" if before else "seen for the first time")


def _walk(
    steps: Steps,
    prefix: str,
    entries: Sequence[LoggedEntry],
    walk: Callable[[Sequence[Placed]], Chain[Document]],
) -> Chain[Document] | None:
    """Apply the rules of amendment in order; the rule broken is the step that fails, and then nothing is in force."""
    rules = [f"{prefix}.{rule}" for rule in ("form", "signatures", "succession", "notice")]
    try:
        chain = walk([Placed(shown.index, shown.entry, entry_digest(shown.entry)) for shown in entries])
    except Refused as refusal:
        steps.check(_step(refusal.check, prefix, rules), False, f"{refusal.shortfall} (of entries {_places(entries)})")
    except BadSignature as error:
        steps.check(f"{prefix}.signatures", False, str(error))
    except (MalformedInput, TooLarge) as error:
        steps.check(f"{prefix}.form", False, str(error))
    else:
        for rule in rules:
            steps.check(rule, True, "", found=f"{len(chain)} in line")
        return chain
    return None


def _step(rule: str, prefix: str, rules: Sequence[str]) -> str:
    """The step that a rule of the log belongs to: what is wrong with a vote, or with the word on the time."""
    if rule in rules:
        return rule
    return f"{prefix}.notice" if rule.startswith(("time.", "checkpoint.")) else f"{prefix}.signatures"


def _places(entries: Sequence[LoggedEntry]) -> str:
    return ", ".join(str(shown.index) for shown in entries[-3:])
