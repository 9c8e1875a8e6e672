"""What the `section` commands read and write: sections in the clear, their owner's alone; sealed ones; contracts."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.custody import Deposit, parse_deposit
from cloister.formats.custody_messages import MAXIMUM_CARRIED, CarriedDeposit, parse_carried_deposit
from cloister.formats.section import Section
from cloister.formats.section_file import MAXIMUM_SECTION_FILE, parse_section_file
from cloister.ledger.statements import SignedStatement, open_statement
from cloister.storage.key_file import read_secret

PLAIN = "section"  # what a file in the clear is called in messages


def read_section(path: Path) -> Section:
    """The section in a TOML file.

    Raises:
        UsageError: it cannot be read, or others may read it.
        TooLarge, MalformedInput: it is none; the key and its line are named, and no value.
    """
    try:
        return parse_section_file(read_secret(path, limit=MAXIMUM_SECTION_FILE, what=PLAIN))
    except (MalformedInput, TooLarge) as error:
        raise type(error)(f"{path}: {error}") from error


def read_sealed(path: Path) -> tuple[CarriedDeposit, Deposit, SignedStatement]:
    """A sealed section, its terms, and who signed them; the signature holds, and the sealed bytes are the signed ones.

    Raises:
        UsageError: it cannot be read.
        TooLarge, MalformedInput: it is none, or was changed.
        BadSignature: a signature does not hold.
    """
    try:
        return _opened(parse_carried_deposit(read_file(path, limit=MAXIMUM_CARRIED)))
    except (MalformedInput, TooLarge, BadSignature) as error:
        raise type(error)(f"{path}: {error}") from error


def _opened(carried: CarriedDeposit) -> tuple[CarriedDeposit, Deposit, SignedStatement]:
    statement = open_statement(carried.entry)
    if statement.kind != "deposit":
        raise MalformedInput(f"is a signed {statement.kind}, not a deposit")
    deposit = parse_deposit(statement.payload)
    if hashlib.sha256(carried.blob).digest() != deposit.blob:
        raise MalformedInput("the sealed bytes are not those that were signed")
    return carried, deposit, statement


def read_file(path: Path, *, limit: int) -> bytes:
    """The bytes of a file; of a longer one `limit` and one more.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def is_sealed(path: Path) -> bool:
    """Whether a file holds CBOR, as sealed sections do; a section in the clear is text."""
    return read_file(path, limit=0)[:1] >= b"\x80"
