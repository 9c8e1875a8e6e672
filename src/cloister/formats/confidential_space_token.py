"""Attestation results of Google Cloud Attestation for Confidential Space, by their published claims.

"Confidential Space token claims" in Google's documentation names them. Claims that are not read are passed over: they
may be asked for in expressions. Nothing in it is trusted yet.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from cloister.errors import MalformedInput
from cloister.formats.canonical import Seconds

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
ImageDigest = Annotated[str, msgspec.Meta(min_length=71, max_length=71, pattern=r"^sha256:[0-9a-f]{64}\Z")]
Version = Annotated[str, msgspec.Meta(max_length=9, pattern=r"^[0-9]+\Z")]


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """The workload's container: its image, and what its starter put in the place of what is in it."""

    image_digest: ImageDigest
    env_override: dict[str, str] | None = None
    cmd_override: tuple[str, ...] | None = None


class Submodules(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of the token that are read."""

    container: Container


class ConfidentialSpaceToken(msgspec.Struct, frozen=True, kw_only=True):
    """The claims of a token."""

    iss: Text
    aud: Text  # exactly one
    iat: Seconds
    nbf: Seconds
    exp: Seconds
    eat_nonce: Text | Annotated[tuple[Text, ...], msgspec.Meta(min_length=1, max_length=6)]
    secboot: bool
    dbgstat: Text
    hwmodel: Text
    swname: Text
    swversion: Annotated[tuple[Version, ...], msgspec.Meta(min_length=1, max_length=1)]
    submods: Submodules

    @property
    def nonces(self) -> tuple[str, ...]:
        """All of them."""
        return (self.eat_nonce,) if isinstance(self.eat_nonce, str) else self.eat_nonce


def read_confidential_space_token(members: dict[str, Any]) -> ConfidentialSpaceToken:
    """The claims that are judged, of a payload that `formats.jwt` read.

    Raises:
        MalformedInput: one is missing or of another form.
    """
    try:
        return msgspec.convert(members, ConfidentialSpaceToken, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise MalformedInput(f"not a token of Confidential Space: {error}") from error
