"""What the `contract` commands read: a contract in TOML, a signed one, or the entries of a whole line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from cloister.contract.amendment import AmendmentRefused
from cloister.contract.contract_form import require_contract_form
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.contract import Contract, parse_contract
from cloister.formats.contract_file import MAXIMUM_CONTRACT_FILE, parse_contract_file
from cloister.formats.ledger_messages import parse_entries
from cloister.ledger.statements import SignedStatement, open_statement

_ARRAY, _MAP = b"\x80", b"\xa0"  # how CBOR begins: entries are a list, an entry is a map; TOML is text

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class ReadContract:
    """A contract, and what of it is signed: nothing of a TOML file."""

    contract: Contract
    entry: bytes | None = None
    signed: SignedStatement | None = None

    @property
    def unsigned(self) -> list[str]:
        """The parties of its own that have not signed it."""
        signers = frozenset() if self.signed is None else self.signed.signers
        return [name for name, keys in self.contract.voters.items() if keys.isdisjoint(signers)]


def contract_argument(command: Command) -> Command:
    """The CONTRACT argument: a path."""
    return click.argument("path", metavar="CONTRACT", type=click.Path(path_type=Path, dir_okay=False))(command)


def read_contract(path: Path) -> ReadContract:
    """The contract in a file: TOML, an entry, or the last contract of a list of entries.

    Raises:
        UsageError: it cannot be read.
        TooLarge, MalformedInput: it is none; the file is named, and of TOML the key and its line.
        BadSignature: a signature does not hold.
    """
    data = read_file(path)
    try:
        return _signed(data) if data[:1] >= _ARRAY else ReadContract(parse_contract_file(data))
    except (MalformedInput, TooLarge, BadSignature) as error:
        raise type(error)(f"{path}: {error}") from error


def read_file(path: Path) -> bytes:
    """The bytes of a contract's file.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAXIMUM_CONTRACT_FILE + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def read_entry(path: Path) -> bytes:
    """A signed contract's entry, every signature of which holds; raises as `read_contract`."""
    found = read_contract(path)
    if found.entry is None:
        raise UsageError(f"{path} is not signed: cloister contract sign {path} --key KEY")
    return found.entry


def require_form(contract: Contract) -> None:
    """Hold a contract against the rules of its form.

    Raises:
        AmendmentRefused: `contract.form`, with what is wrong.
    """

    def rule(held: bool, shortfall: str) -> None:
        if not held:
            raise AmendmentRefused("contract.form", shortfall)

    require_contract_form(contract, rule)


def _signed(data: bytes) -> ReadContract:
    """An entry, or the last contract among entries."""
    if data[:1] >= _MAP:
        statement = _contract_of(data)
        return ReadContract(parse_contract(statement.payload), data, statement)
    for entry in reversed(parse_entries(data)):
        statement = open_statement(entry)
        if statement.kind == "contract":
            return ReadContract(parse_contract(statement.payload), entry, statement)
    raise MalformedInput("holds no contract")


def _contract_of(entry: bytes) -> SignedStatement:
    statement = open_statement(entry)
    if statement.kind != "contract":
        raise MalformedInput(f"is a signed {statement.kind}, not a contract")
    return statement
