"""How constitutions and contracts begin, and what is one that follows another: form, line and signatures.

When a successor is in force is for `contract.governed`. Rules: docs/formats/constitution.md, docs/formats/contract.md,
docs/formats/governance.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import chain
from typing import TypeVar

from cloister.contract.contract_form import require_contract_form
from cloister.errors import Refused
from cloister.formats.appraisal_policy import named_verifiers
from cloister.formats.change_rules import ChangeRules
from cloister.formats.constitution import Constitution, parse_constitution
from cloister.formats.contract import Contract, parse_contract
from cloister.ledger.statements import SignedStatement

Document = TypeVar("Document", bound=Constitution | Contract)
Voters = Mapping[str, frozenset[bytes]]  # the signing keys of each name
Following = Callable[[Document, SignedStatement], Document]


class AmendmentRefused(Refused):
    """A constitution or contract does not follow from the one before."""


def first_constitution(statement: SignedStatement) -> Constitution:
    """The genesis that `statement` says, if it is well-formed and its own amenders signed it.

    Raises:
        AmendmentRefused: `constitution.form`, `constitution.succession` or `constitution.signatures`.
        MalformedInput: the payload is no constitution.
    """
    constitution = _formed_constitution(statement)
    _require("constitution.succession", (constitution.sequence, constitution.previous) == (0, b""), "not a genesis")
    signed = names_of(statement.signers, constitution.voters) & set(constitution.changes.approvers)
    needed = constitution.changes.number
    _require("constitution.signatures", len(signed) >= needed, f"{len(signed)} of {needed} amenders signed")
    return constitution


def first_contract(statement: SignedStatement) -> Contract:
    """The first contract of a line, if it is well-formed and every party signed it.

    Raises:
        AmendmentRefused: `contract.form`, `contract.succession` or `contract.signatures`.
        MalformedInput: the payload is no contract.
    """
    contract = _formed_contract(statement)
    _require("contract.succession", (contract.sequence, contract.previous) == (0, b""), "not the first of a line")
    missing = sorted(set(contract.voters) - names_of(statement.signers, contract.voters))
    _require("contract.signatures", not missing, f"not signed by {', '.join(missing)}")
    return contract


def following_constitution(current: Constitution, statement: SignedStatement) -> Constitution:
    """What `statement` proposes to come after `current`, which it names; whoever signed it has a say in that.

    Raises:
        AmendmentRefused: names the rule broken.
        MalformedInput: the payload is no constitution.
    """
    successor = _formed_constitution(statement)
    same = (successor.name, successor.log, successor.local) == (current.name, current.log, current.local)
    _require("constitution.succession", same, "changes the name or the log, or whether it is local")
    _follows("constitution", current, successor, statement)
    return successor


def following_contract(current: Contract, statement: SignedStatement) -> Contract:
    """What `statement` proposes to come after `current`, which it names; whoever signed it has a say in that.

    Raises:
        AmendmentRefused: names the rule broken.
        MalformedInput: the payload is no contract.
    """
    successor = _formed_contract(statement)
    kept = (current.name, current.constitution, current.local)
    same = (successor.name, successor.constitution, successor.local) == kept
    _require("contract.succession", same, "changes the name or the constitution, or whether it is local")
    _follows("contract", current, successor, statement)
    return successor


def names_of(signers: Collection[bytes], voters: Voters) -> frozenset[str]:
    """The names for which one of `signers` signs."""
    return frozenset(name for name, keys in voters.items() if not keys.isdisjoint(signers))


def _follows(kind: str, current: Document, successor: Document, statement: SignedStatement) -> None:
    linked = (successor.sequence, successor.previous) == (current.sequence + 1, current.digest())
    _require(f"{kind}.succession", linked, f"does not name the {kind} before as its previous")
    owners = [(key, name) for one in (current, successor) for name, keys in one.voters.items() for key in keys]
    moved = len(dict(owners)) != len(set(owners))
    _require(f"{kind}.form", not moved, "gives a key of one name to another")
    known = set(chain(*current.voters.values(), *successor.voters.values()))
    _require(f"{kind}.signatures", statement.signers <= known, f"is signed by one who has no say in this {kind}")
    proposers = names_of(statement.signers, current.voters)
    _require(f"{kind}.signatures", bool(proposers), f"is signed by nobody of the {kind} before")


def _formed_constitution(statement: SignedStatement) -> Constitution:
    _require("constitution.form", statement.kind == "constitution", f"a {statement.kind} statement")
    parsed = parse_constitution(statement.payload)
    witnesses = len({witness.key for witness in parsed.witnesses})
    distinct = witnesses == len({witness.name for witness in parsed.witnesses}) == len(parsed.witnesses)
    post_quantum = [witness.ml_dsa for witness in parsed.witnesses if witness.ml_dsa]
    distinct = distinct and len(set(post_quantum)) == len(post_quantum)
    _require("constitution.form", distinct, "a witness is named twice")
    _require("constitution.form", parsed.quorum <= witnesses, "the quorum is larger than the witnesses")
    _require("constitution.form", parsed.kms.role == "kms", "its reference values are not for a KMS")
    raw = not named_verifiers(parsed.appraisal)
    _require("constitution.form", raw, "takes a verifier's word in place of a KMS's own evidence")
    _formed_rules("constitution.form", parsed.changes, [(one.name, one.keys) for one in parsed.amenders], parsed.local)
    # A client is shown what brought a constitution into force, by the very KMS that it names; a veto could be left out.
    _require("constitution.form", not parsed.changes.veto, "names a veto: who could object to a KMS has to approve it")
    return parsed


def _formed_contract(statement: SignedStatement) -> Contract:
    _require("contract.form", statement.kind == "contract", f"a {statement.kind} statement")
    parsed = parse_contract(statement.payload)
    _formed_rules("contract.form", parsed.changes, [(one.name, one.keys) for one in parsed.parties], parsed.local)
    require_contract_form(parsed, lambda held, shortfall: _require("contract.form", held, shortfall))
    return parsed


def _formed_rules(check: str, rules: ChangeRules, voters: list[tuple[str, tuple[bytes, ...]]], local: bool) -> None:
    names = [name for name, _ in voters]
    keys = list(chain.from_iterable(keys for _, keys in voters))
    _require(check, len(set(names)) == len(names), "two have one name")
    _require(check, len(set(keys)) == len(keys), "one key signs for two, or is named twice")
    for words, named in (("approvers", rules.approvers), ("veto", rules.veto)):
        _require(check, len(set(named)) == len(named), f"{words}: a name twice")
        strangers = sorted(set(named) - set(names))
        _require(check, not strangers, f"{words}: {', '.join(strangers)} is not named above")
    _require(check, rules.number <= len(rules.approvers), "more approvals are needed than there are approvers")
    known = rules.urgent == "none" or rules.urgent.publisher in names
    _require(check, known, "the publisher of urgent fixes is not named above")
    _require(check, local or rules.notice_seconds > 0, "only a local one may state a notice of 0")


def _require(check: str, passed: bool, shortfall: str) -> None:
    if not passed:
        raise AmendmentRefused(check, shortfall)
