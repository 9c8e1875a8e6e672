"""A model's registration: its owner says in the log what the model's digest is (docs/formats/model-registration.md).

Whoever meets the digest in a contract, in evidence or in a receipt finds here when its owner stood by it, under which
name, and by which signature over its files.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.canonical import Digest, Name


class ModelRegistration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Signed by a model owner of the contract."""

    version: Literal[1] = 1
    contract: Digest  # the first contract of the line
    name: Name  # the manifest's
    model: Digest  # the manifest's digest
    signature: Annotated[bytes, msgspec.Meta(max_length=32)]  # SHA-256 of its signature file; empty where there is none

    def __post_init__(self) -> None:
        """Refuse a digest of another length."""
        if len(self.signature) not in (0, 32):
            raise ValueError("the signature file's digest has 32 bytes, or there is none")


def parse_model_registration(data: bytes) -> ModelRegistration:
    """Parse the payload of a `model` statement.

    Raises:
        TooLarge, MalformedInput: it is none.
    """
    return canonical.decode(data, ModelRegistration, limit=1024)
