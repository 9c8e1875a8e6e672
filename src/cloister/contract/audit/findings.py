"""What an audit says: of every entry what it did, and of what does not follow, how grave it is and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["fault", "warning", "note"]

AUDIT_STEPS: Final = (
    "audit.size",
    "audit.root",
    "audit.fork",
    "audit.entry",
    "audit.genesis",
    "audit.once",
    "audit.order",
    "audit.overtaken",
    "audit.notice",
    "audit.time",
    "audit.window",
    "audit.kept",
    "audit.evidence",
    "audit.node",
    "audit.checks",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not follow.

    A fault contradicts the rules of genuine code: somebody who is trusted with something did not keep to them. A
    warning is what genuine code can come to when a host delays or a party errs. A note is noise that anyone can log.
    """

    severity: Severity
    index: int | None  # of the entry; None where it is about the log as a whole
    check: str  # an id of docs/formats/checks.md or of docs/formats/audit.md, or the rule of the fold that is broken
    says: str
    entry: bytes = b""  # its SHA-256


@dataclass(frozen=True, slots=True)
class Signer:
    """Whose key signed an entry, as the log up to there names it."""

    role: Literal["instance", "amender", "party", "stranger"]
    name: str
    key: bytes  # 32 bytes

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class AuditedEntry:
    """One line of the log's history."""

    index: int
    kind: str  # empty where it is no statement
    digest: bytes  # SHA-256 of the entry
    signers: tuple[Signer, ...]
    counts: bool  # whether it had an effect
    says: str  # what it is, and what came of it
    broken: str  # the rule that leaves it without effect, if one has a name
    lacks: str  # why it has none
