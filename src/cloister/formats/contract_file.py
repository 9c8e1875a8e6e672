"""Contracts as people write them: TOML, with a table for each party, asset, task, grant (docs/formats/contract.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Final

import msgspec

from cloister.formats.contract import Contract, Party
from cloister.formats.record_file import format_record_file, parse_record_file

MAXIMUM_CONTRACT_FILE: Final = 512 * 1024  # bytes; hexadecimal digits take twice the room


class PartyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a party sends the others: its own part of the contract, to be copied into theirs as it stands."""

    parties: Annotated[tuple[Party, ...], msgspec.Meta(min_length=1, max_length=16)]


def parse_contract_file(data: bytes) -> Contract:
    """Parse a contract file, at most 512 KiB of TOML.

    Raises:
        TooLarge: over the cap; nothing was parsed.
        MalformedInput: no contract; the sentence names the key, and the line where it or its table begins.
    """
    return parse_record_file(data, Contract, "a contract", limit=MAXIMUM_CONTRACT_FILE)


def format_contract_file(contract: Contract, *, comment: Callable[[Sequence[str]], str]) -> str:
    """The TOML of `contract`; `comment` gives the words above a key by its path, tables' numbers left out, or none."""
    return format_record_file(contract, comment=comment)


def parse_party_file(data: bytes) -> PartyFile:
    """Parse a file of parties; raises as `parse_contract_file`."""
    return parse_record_file(data, PartyFile, "a party's file", limit=MAXIMUM_CONTRACT_FILE)
