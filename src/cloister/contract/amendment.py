"""How constitutions and contracts begin and change: only by the rules that the one in force states.

Rules: docs/formats/constitution.md and docs/formats/contract.md. In this version of the formats only a local
constitution or contract, with a notice of 0, can be amended; a notice above 0 admits no successor yet.
"""

from __future__ import annotations

from cloister.errors import Refused
from cloister.formats.constitution import Constitution, parse_constitution
from cloister.formats.contract import Contract, parse_contract
from cloister.ledger.statements import SignedStatement


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
    _signed_by_amenders(constitution, statement)
    return constitution


def next_constitution(current: Constitution, statement: SignedStatement) -> Constitution:
    """The successor of `current` that `statement` says, by the rules of `current`.

    Raises:
        AmendmentRefused: names the rule broken.
        MalformedInput: the payload is no constitution.
    """
    successor = _formed_constitution(statement)
    linked = (successor.sequence, successor.previous) == (current.sequence + 1, current.digest())
    _require("constitution.succession", linked, "does not name the constitution before as its previous")
    same = (successor.name, successor.log) == (current.name, current.log)
    _require("constitution.succession", same, "changes the name or the log")
    _signed_by_amenders(current, statement)
    _notice("constitution.notice", current.notice_seconds, local=current.local and successor.local)
    return successor


def first_contract(statement: SignedStatement) -> Contract:
    """The first contract of a line, if it is well-formed and every party signed it.

    Raises:
        AmendmentRefused: `contract.form`, `contract.succession` or `contract.signatures`.
        MalformedInput: the payload is no contract.
    """
    contract = _formed_contract(statement)
    _require("contract.succession", (contract.sequence, contract.previous) == (0, b""), "not the first of a line")
    _signed_by_parties(contract, statement)
    return contract


def next_contract(current: Contract, statement: SignedStatement) -> Contract:
    """The successor of `current` that `statement` says: every party of both signed it.

    Raises:
        AmendmentRefused: names the rule broken.
        MalformedInput: the payload is no contract.
    """
    successor = _formed_contract(statement)
    linked = (successor.sequence, successor.previous) == (current.sequence + 1, current.digest())
    _require("contract.succession", linked, "does not name the contract before as its previous")
    same = (successor.name, successor.constitution) == (current.name, current.constitution)
    _require("contract.succession", same, "changes the name or the constitution")
    _signed_by_parties(current, statement)
    _signed_by_parties(successor, statement)
    _notice("contract.notice", current.notice_seconds, local=current.local and successor.local)
    return successor


def _formed_constitution(statement: SignedStatement) -> Constitution:
    _require("constitution.form", statement.kind == "constitution", f"a {statement.kind} statement")
    parsed = parse_constitution(statement.payload)
    witnesses = len({witness.key for witness in parsed.witnesses})
    distinct = witnesses == len({witness.name for witness in parsed.witnesses}) == len(parsed.witnesses)
    post_quantum = [witness.ml_dsa for witness in parsed.witnesses if witness.ml_dsa]
    distinct = distinct and len(set(post_quantum)) == len(post_quantum)
    _require("constitution.form", distinct, "a witness is named twice")
    _require("constitution.form", parsed.quorum <= witnesses, "the quorum is larger than the witnesses")
    amenders = len(set(parsed.amenders))
    _require("constitution.form", amenders == len(parsed.amenders), "an amender is named twice")
    _require("constitution.form", parsed.threshold <= amenders, "the threshold is larger than the amenders")
    _require("constitution.form", parsed.kms.role == "kms", "its reference values are not for a KMS")
    _require("constitution.form", parsed.local or parsed.notice_seconds > 0, "only a local one may state a notice of 0")
    return parsed


def _formed_contract(statement: SignedStatement) -> Contract:
    _require("contract.form", statement.kind == "contract", f"a {statement.kind} statement")
    parsed = parse_contract(statement.payload)
    duties = {party.duty for party in parsed.parties}
    _require("contract.form", duties == {"model-owner", "operator"}, "needs a model owner and an operator")
    keys = {party.key for party in parsed.parties}
    _require("contract.form", len(keys) == len(parsed.parties), "one key signs for two parties")
    roles = [reference.role for reference in parsed.roles]
    _require("contract.form", len(set(roles)) == len(roles), "a role is named twice")
    _require("contract.form", parsed.not_before < parsed.not_after, "ends before it begins")
    _require("contract.form", parsed.local or parsed.notice_seconds > 0, "only a local one may state a notice of 0")
    return parsed


def _signed_by_amenders(rules: Constitution, statement: SignedStatement) -> None:
    count = len(statement.signers & set(rules.amenders))
    _require("constitution.signatures", count >= rules.threshold, f"{count} of {rules.threshold} amenders signed")


def _signed_by_parties(rules: Contract, statement: SignedStatement) -> None:
    missing = [party.name for party in rules.parties if party.key not in statement.signers]
    _require("contract.signatures", not missing, f"not signed by {', '.join(missing)}")


def _notice(check: str, seconds: int, *, local: bool) -> None:
    _require(check, local and seconds == 0, f"a notice of {seconds} s stands before any successor")


def _require(check: str, passed: bool, shortfall: str) -> None:
    if not passed:
        raise AmendmentRefused(check, shortfall)
