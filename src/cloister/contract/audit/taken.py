"""One entry at its place, with the state before and after it: what every rule of the audit looks at."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from cloister.contract.audit.findings import Finding, Severity, Signer
from cloister.contract.state import State
from cloister.ledger.statements import SignedStatement


@dataclass(frozen=True, slots=True)
class Taken:
    """An entry whose signatures hold."""

    index: int
    entry: bytes
    statement: SignedStatement
    record: msgspec.Struct | None  # what its payload says; None where that cannot be read
    signers: tuple[Signer, ...]
    before: State
    after: State

    @property
    def counts(self) -> bool:
        """Whether it had an effect."""
        return not self.after.reason

    def signed_by(self, *roles: str) -> bool:
        """Whether anyone in one of these roles signed it."""
        return any(signer.role in roles for signer in self.signers)

    def finding(self, severity: Severity, check: str, says: str) -> Finding:
        """A finding at this entry."""
        return Finding(severity, self.index, check, says, self.statement.digest)
