"""SPIFFE names of nodes (SPIFFE-ID, section 2): the contract line is the trust domain, the rest is its path.

A trust domain is a host name, whose labels end at 63 characters: so the 64 hexadecimal digits of a line's digest are
two labels, under a name that no public DNS has (`internal`, set aside by ICANN for private use).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self, cast, get_args

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.evidence import Role

SUFFIX: Final = ".contract.internal"
MAXIMUM_NAME: Final = 2048  # bytes: SPIFFE-ID, section 2.3

_NAME: Final = re.compile(
    r"spiffe://([0-9a-f]{32})\.([0-9a-f]{32})" + re.escape(SUFFIX) + r"/(0|[1-9][0-9]{0,15})/([a-z]+)/([0-9a-f]{64})"
)


def trust_domain(line: bytes) -> str:
    """The trust domain of the contract line whose first contract has this digest, 32 bytes."""
    digits = line.hex()
    return f"{digits[:32]}.{digits[32:]}{SUFFIX}"


def host_of(line: bytes, role: Role) -> str:
    """The host name under which a TLS client knows any node of this role: derived, so that nobody can choose it."""
    return f"{role}.{trust_domain(line)}"


@dataclass(frozen=True, slots=True)
class SpiffeName:
    """Which node it is, of which role, under which contract of which line."""

    line: bytes  # the digest of the first contract of the line
    contract: int  # the number of the contract in force when it was issued
    role: Role
    node: bytes  # thumbprint of the node's keys

    def __str__(self) -> str:
        return f"spiffe://{trust_domain(self.line)}/{self.contract}/{self.role}/{self.node.hex()}"

    @property
    def host(self) -> str:
        """The host name beside it."""
        return host_of(self.line, self.role)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The one spelling of a name.

        Raises:
            TooLarge: over 2,048 characters.
            MalformedInput: any other.
        """
        if len(text) > MAXIMUM_NAME:
            raise TooLarge(f"a name of {len(text)} characters, the cap is {MAXIMUM_NAME}")
        found = _NAME.fullmatch(text)
        if found is None or found[4] not in get_args(Role):
            raise MalformedInput("is no name of a node: spiffe://DOMAIN/CONTRACT/ROLE/NODE")
        line = bytes.fromhex(found[1] + found[2])
        return cls(line, int(found[3]), cast("Role", found[4]), bytes.fromhex(found[5]))
