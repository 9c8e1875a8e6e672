"""The contract that a gateway serves, from its file of signed entries, and what it makes the gateway insist on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloister.contract.amendment import first_contract, following_contract
from cloister.crypto.hpke import X_WING
from cloister.formats.appraisal_policy import named_verifiers
from cloister.formats.contract import Contract
from cloister.formats.trust_policy import TrustPolicy
from cloister.ledger.statements import open_statement
from cloister.services.gateway.security import GatewaySecurity


@dataclass(frozen=True, slots=True)
class ServedContract:
    """The contract as its own signed entries give it; whether it is in force, the witnessed log says."""

    line: bytes  # the digest of the first, 32 bytes: the contract's identity
    current: Contract


def open_contract(entries: Sequence[bytes]) -> ServedContract:
    """The last of `entries`, each of which follows the one before by the rules.

    Raises:
        AmendmentRefused: names the rule broken.
        BadSignature, MalformedInput, TooLarge: an entry is not one.
    """
    first = current = first_contract(open_statement(entries[0]))
    for entry in entries[1:]:
        current = following_contract(current, open_statement(entry))
    return ServedContract(first.digest(), current)


def trust_policy(contract: ServedContract, security: GatewaySecurity) -> TrustPolicy:
    """What the gateway insists on before it shows a KMS its evidence: the parties' choices, and no others."""
    return TrustPolicy(
        constitution=contract.current.constitution,
        contract=contract.line,
        unsafe=contract.current.appraisal.unsafe,
        kems=(X_WING,),
        maximum_state_age_seconds=security.maximum_state_age_seconds,
        maximum_clock_skew_seconds=security.maximum_clock_skew_seconds,
        verifiers=tuple(one.name for one in named_verifiers(contract.current.appraisal)),
    )
